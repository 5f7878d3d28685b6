// Package opaque carries a vendor's opaque values through dialects that have no
// place for them: signatures of thinking and of tool calls that must come back
// unchanged. A dialect puts the packed value into an opaque field of its own;
// the client sends it back without looking.
//
// Vendors' own values never begin with a mark of ours: they are base64. What
// comes back is a stranger's text: it is only ever sent to a vendor whose format
// it names, never trusted.
package opaque

import (
	"encoding/base64"
	"strings"

	"github.com/latchkey/latchkey/shared/model"
)

const (
	signatureMark = "latchkey:"
	dataMark      = "latchkey-data:"
	callMark      = "latchkey-call:"
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

// Signature is r's signature for a client whose dialect's vendors make the
// native format.
func Signature(r *model.Reasoned, native string) string {
	if r.Signature == "" || r.Format == "" || r.Format == native {
		return r.Signature
	}
	return pack(signatureMark, r.Format, r.Signature)
}

// Data is r's encrypted thinking, as [Signature].
func Data(r *model.Reasoned, native string) string {
	if r.Data == "" || r.Format == "" || r.Format == native {
		return r.Data
	}
	return pack(dataMark, r.Format, r.Data)
}

// AsData packs whichever r has into a field of encrypted thinking. A native
// signature is packed too, so that it is not taken for data.
func AsData(r *model.Reasoned, native string) string {
	if r.Data != "" || r.Signature == "" {
		return Data(r, native)
	}
	return pack(signatureMark, r.Format, r.Signature)
}

// AsSignature packs whichever r has into a field of signatures.
func AsSignature(r *model.Reasoned, native string) string {
	if r.Signature != "" || r.Data == "" {
		return Signature(r, native)
	}
	return pack(dataMark, r.Format, r.Data)
}

// OpenSignature reads what came back in a field of signatures: what was packed,
// or a native signature.
func OpenSignature(s, native string) *model.Reasoned {
	if r, ok := open(s); ok || s == "" {
		return r
	}
	return &model.Reasoned{Signature: s, Format: native}
}

// OpenData reads what came back in a field of encrypted thinking: what was
// packed, or native data.
func OpenData(s, native string) *model.Reasoned {
	if r, ok := open(s); ok || s == "" {
		return r
	}
	return &model.Reasoned{Data: s, Format: native}
}

func open(s string) (*model.Reasoned, bool) {
	if format, value, ok := unpack(signatureMark, s); ok {
		return &model.Reasoned{Signature: value, Format: format}, true
	}
	if format, value, ok := unpack(dataMark, s); ok {
		return &model.Reasoned{Data: value, Format: format}, true
	}
	return &model.Reasoned{}, false
}

// Call packs the signature of a tool call with the call's id.
func Call(callID, signature string) string { return pack(callMark, callID, signature) }

// OpenCall reads what [Call] packed.
func OpenCall(s string) (callID, signature string, ok bool) { return unpack(callMark, s) }
