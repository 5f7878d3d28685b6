package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// HMACList is the scheme of vendors that send time and several MACs in one
// header, "t=<unix seconds>,v1=<hex>,v1=<hex>": SHA-256 over time, "." and body,
// keyed with the text of the secret. Several MACs mean that the vendor is rolling
// its secret; one that matches one live secret suffices. MACs of other versions
// are passed over, so that a vendor can add one.
type HMACList struct {
	Profile string // verification profile's name
	Header  string
	Version string // tag of the MACs that count
	// Tolerance bounds the timestamp in both directions, inclusive.
	Tolerance time.Duration
}

const (
	// maxList bounds the header; eight MACs and a time fit.
	maxList = 1024
	// maxMACs bounds the work that one request can cause.
	maxMACs = 8
)

// Name is the profile's name.
func (h HMACList) Name() string { return h.Profile }

// NeedsSecret is true.
func (h HMACList) NeedsSecret() bool { return true }

// Check compares every MAC under every secret before it looks at the clock. The
// header's value may hold commas, so a second header is only told from one by its
// second time: more than one is refused.
func (h HMACList) Check(in Input, secrets []secret.Text, now time.Time) (Result, *Refusal) {
	values := in.Header.Values(h.Header)
	switch {
	case len(values) == 0 || len(values) == 1 && values[0] == "":
		return Result{}, &Refusal{SigMissing}
	case len(values) > 1:
		return Result{}, &Refusal{HeaderDuplicate}
	}
	stamp, macs, why := h.parse(values[0])
	if why != "" {
		return Result{}, &Refusal{why}
	}
	at, ok := parseTime(UnixSeconds, stamp)
	if !ok {
		return Result{}, &Refusal{SigFormat}
	}
	match := -1
	for i, k := range secrets {
		want, err := h.mac(stamp, in.Body, k)
		if err != nil {
			return Result{}, &Refusal{NoSecret}
		}
		for _, got := range macs {
			if hmac.Equal(want, got) && match < 0 {
				match = i
			}
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	switch age := now.Sub(at); {
	case age > h.Tolerance:
		return Result{}, &Refusal{Stale}
	case age < -h.Tolerance:
		return Result{}, &Refusal{Future}
	}
	return Result{SecretIndex: match, SignedAt: at, BodySigned: true}, nil
}

// parse takes the header apart.
func (h HMACList) parse(text string) (stamp string, macs [][]byte, why Reason) {
	if len(text) > maxList {
		return "", nil, SigFormat
	}
	others := false
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		switch {
		case !ok || name == "" || value == "":
			return "", nil, SigFormat
		case name == "t" && stamp != "":
			return "", nil, HeaderDuplicate
		case name == "t":
			stamp = value
		case name == h.Version:
			mac, err := hex.DecodeString(value)
			if err != nil || len(mac) != sha256.Size || len(macs) == maxMACs {
				return "", nil, SigFormat
			}
			macs = append(macs, mac)
		default:
			others = true
		}
	}
	switch {
	case stamp == "":
		return "", nil, SigFormat
	case len(macs) == 0 && others:
		return "", nil, AlgRefused
	case len(macs) == 0:
		return "", nil, SigMissing
	}
	return stamp, macs, ""
}

// Sign adds the header to in.
func (h HMACList) Sign(in *Input, key secret.Text, now time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	mac, err := h.mac(stamp, in.Body, key)
	if err != nil {
		return err
	}
	if in.Header == nil {
		in.Header = Header{}
	}
	in.Header.Add(h.Header, "t="+stamp+","+h.Version+"="+hex.EncodeToString(mac))
	return nil
}

func (h HMACList) mac(stamp string, body []byte, k secret.Text) (sum []byte, err error) {
	err = k.Use(func(key []byte) error {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(stamp))
		m.Write([]byte{'.'})
		m.Write(body)
		sum = m.Sum(nil)
		return nil
	})
	return sum, err
}
