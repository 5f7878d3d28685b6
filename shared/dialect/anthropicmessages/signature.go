package anthropicmessages

import (
	"encoding/base64"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
)

// nativeFormat is the [model.Reasoned] format of thinking that a vendor of this
// dialect made, as OpenRouter names it (its reasoning documentation, 2026-11).
const nativeFormat = "anthropic-claude-v1"

// Values of ours inside the dialect's opaque fields. A vendor's own value never
// begins like this: it is base64.
const (
	foreignMark = "latchkey:"
	callMark    = "latchkey-call:"
)

func pack(mark, name, value string) string {
	return mark + base64.RawURLEncoding.EncodeToString([]byte(name)) + ":" + value
}

func unpack(mark, s string) (name, value string, ok bool) {
	rest, ok := strings.CutPrefix(s, mark)
	if !ok {
		return "", "", false
	}
	head, value, ok := strings.Cut(rest, ":")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	return string(raw), value, ok && err == nil
}

// closeSignature is the signature as the client gets it.
func closeSignature(r *model.Reasoned) string {
	if r.Signature == "" || r.Format == "" || r.Format == nativeFormat {
		return r.Signature
	}
	return pack(foreignMark, r.Format, r.Signature)
}

func openSignature(s string) *model.Reasoned {
	if format, signature, ok := unpack(foreignMark, s); ok {
		return &model.Reasoned{Signature: signature, Format: format}
	}
	if s == "" {
		return &model.Reasoned{}
	}
	return &model.Reasoned{Signature: s, Format: nativeFormat}
}

func closeData(r *model.Reasoned) string {
	if r.Format == "" || r.Format == nativeFormat {
		return r.Data
	}
	return pack(foreignMark, r.Format, r.Data)
}

func openData(s string) *model.Reasoned {
	if format, data, ok := unpack(foreignMark, s); ok {
		return &model.Reasoned{Data: data, Format: format}
	}
	return &model.Reasoned{Data: s, Format: nativeFormat}
}

// callSignature puts the signature of a tool call into a block of its own.
func callSignature(callID, signature string) string { return pack(callMark, callID, signature) }

func cutCallSignature(data string) (callID, signature string, ok bool) {
	return unpack(callMark, data)
}
