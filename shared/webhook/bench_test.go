package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// BenchmarkSignature compares verification with the MAC alone, over the same bytes.
func BenchmarkSignature(b *testing.B) {
	const key, prefix = "a signing secret of 32 bytes, or", "v0:1772600767:"
	at := time.Unix(1772600767, 0)
	scheme := HMAC{Profile: "bench", Header: "X-Signature", Prefix: "v0=", TimeHeader: "X-Timestamp", Tolerance: 5 * time.Minute,
		Message: []Part{Literal("v0:"), TimeText(), Literal(":"), RawBody()}}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"1KiB", 1 << 10}, {"16KiB", 16 << 10}} {
		body := make([]byte, size.bytes)
		in := Input{Method: "POST", Header: Header{}, Body: body}
		if err := scheme.Sign(&in, secret.FromString(key), at); err != nil {
			b.Fatal(err)
		}
		secrets := []secret.Text{secret.FromString(key)}
		b.Run("hmac_"+size.name, func(b *testing.B) {
			text := in.Header.Values("X-Signature")[0]
			b.ReportAllocs()
			for b.Loop() {
				m := hmac.New(sha256.New, []byte(key))
				m.Write([]byte(prefix))
				m.Write(body)
				got, err := hex.DecodeString(text[len("v0="):])
				if err != nil || !hmac.Equal(m.Sum(nil), got) {
					b.Fatal("the MAC differs")
				}
			}
		})
		b.Run("verify_"+size.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, refusal := Verify(scheme, in, secrets, at); refusal != nil {
					b.Fatal(refusal.Reason)
				}
			}
		})
	}
}
