package opaque

import (
	"testing"

	"github.com/latchkey/latchkey/shared/model"
)

// FuzzOpen: what clients send back is opened as packed or taken as native, never
// both, and what was opened packs to what opens the same.
func FuzzOpen(f *testing.F) {
	f.Add("latchkey:b3RoZXI:c2ln")
	f.Add("latchkey-data::")
	f.Add("latchkey-call:Y2FsbF8x:thought")
	f.Add("latchkey:!:x")
	f.Fuzz(func(t *testing.T, s string) {
		if r := OpenSignature(s, "native"); r.Signature != "" && r.Format != "" && r.Format != "native" {
			if again := OpenSignature(Signature(r, "native"), "native"); *again != *r {
				t.Fatalf("%q: %+v, then %+v", s, r, again)
			}
		}
		if r := OpenData(s, "native"); r.Data != "" && r.Format != "" && r.Format != "native" {
			if again := OpenData(Data(r, "native"), "native"); *again != *r {
				t.Fatalf("%q: %+v, then %+v", s, r, again)
			}
		}
		if id, signature, ok := OpenCall(s); ok {
			if id2, signature2, ok := OpenCall(Call(id, signature)); !ok || id2 != id || signature2 != signature {
				t.Fatalf("%q: %q %q", s, id2, signature2)
			}
		}
		for _, packed := range []string{AsData(&model.Reasoned{Signature: s, Format: "other"}, "native"), AsSignature(&model.Reasoned{Data: s, Format: "other"}, "native")} {
			if r, ok := open(packed); s != "" && (!ok || r.Signature+r.Data != s || r.Format != "other") {
				t.Fatalf("%q packed as %q opens as %+v", s, packed, r)
			}
		}
	})
}
