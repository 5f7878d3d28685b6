package localkms

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// stored is a blob of the present format. It is a constant because blobs written
// by earlier runs lie in developers' state directories, and because the workers
// of a fuzz run must agree on it.
const stored = "6c6b6d010123456789ab8cde8f0123456789abcd000102030405060708090a0b" +
	"0c0d0e0f101112131415161718191a1b1c1d1e1fa377aa94c3c3681589ea1f88" +
	"d7181fdd57ee7d66bfe5b3b8b34a3bca1154303dc9ffb9220f"

// FuzzBlob: no input makes parsing or opening panic, what parses is made of its
// parts again, and only the untouched blob opens.
func FuzzBlob(f *testing.F) {
	m := material{ID: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", Key: bytes.Repeat([]byte{7}, 32)}
	context := map[string]string{"org": "acme", "cls": "ai_key"}
	sealed, err := hex.DecodeString(stored)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:len(sealed)-1])
	f.Add([]byte("lkm\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := parseBlob(in)
		if err != nil {
			return
		}
		if !bytes.Equal(append(blobHeader(b.keyID, b.materialID), b.sealed...), in) {
			t.Fatal("the parts do not make the blob")
		}
		plaintext, err := open(b, m, context)
		if (err == nil) != bytes.Equal(in, sealed) || err == nil && string(plaintext) != "plaintext" {
			t.Fatalf("opened: %v, plaintext %q", err, plaintext)
		}
	})
}
