package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxDetails bounds how many details of an error are looked at.
const maxDetails = 16

// details is what an error says beyond its message: the details of Anthropic and
// of google.rpc.Status, the exception of AWS.
type details struct {
	// Reasons are machine-readable words, lower case.
	Reasons []string
	// Wait is how long the vendor asks to wait, zero if it does not.
	Wait time.Duration
}

func (d *details) has(reason string) bool { return reason != "" && slices.Contains(d.Reasons, reason) }

// parseDetails reads Anthropic's object {"error_code"} and Google's list of typed
// messages, of which ErrorInfo has a reason and RetryInfo a delay such as "34s"
// (cloud.google.com/apis/design/errors, read 2026-11). Anything else is nothing.
func parseDetails(raw json.RawMessage) (d details) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return d
	}
	type detail struct {
		ErrorCode  string `json:"error_code"`
		Reason     string `json:"reason"`
		RetryDelay string `json:"retryDelay"`
	}
	var list []json.RawMessage
	if raw[0] == '{' {
		list = []json.RawMessage{raw}
	} else if json.Unmarshal(raw, &list) != nil {
		return d
	}
	for _, item := range list[:min(len(list), maxDetails)] {
		var in detail
		if json.Unmarshal(item, &in) != nil {
			continue
		}
		for _, word := range []string{in.ErrorCode, in.Reason} {
			if word != "" && len(word) <= 128 {
				d.Reasons = append(d.Reasons, strings.ToLower(word))
			}
		}
		if n, ok := strings.CutSuffix(in.RetryDelay, "s"); ok && d.Wait == 0 {
			if s, err := strconv.ParseFloat(n, 64); err == nil {
				d.Wait = bounded(s)
			}
		}
	}
	return d
}

// amazon adds the name of an AWS exception, which stands in a header or in
// __type, between a namespace and a URL (smithy.io, AWS JSON and REST JSON
// protocols, read 2026-11).
func (d *details) amazon(h http.Header, body []byte) {
	name := h.Get("X-Amzn-Errortype")
	if name == "" {
		var in struct {
			Type string `json:"__type"`
		}
		if json.Unmarshal(body, &in) != nil {
			return
		}
		name = in.Type
	}
	name, _, _ = strings.Cut(name, ":")
	name = name[strings.LastIndexByte(name, '#')+1:]
	if name != "" && len(name) <= 128 {
		d.Reasons = append(d.Reasons, strings.ToLower(name))
	}
}
