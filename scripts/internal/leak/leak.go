// Package leak finds planted secrets in what a run of the system left behind.
//
// A canary is a text that a test puts into a secret and that stands nowhere else.
// It should have ten bytes or more: shorter ones are found by chance in encoded
// bytes. It is looked for as it is, as URL, JSON and hex, and in the three
// alignments of base64; not found is what was encrypted, compressed or cut to less
// than the canary.
package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Forms are the encodings that a canary might leak in, by their names, each text
// once.
func Forms(canary string) map[string]string {
	quoted, _ := json.Marshal(canary)
	digits := hex.EncodeToString([]byte(canary))
	out := map[string]string{"raw": canary, "hex": digits, "HEX": strings.ToUpper(digits)}
	for form, text := range map[string]string{"url": url.QueryEscape(canary), "json": strings.Trim(string(quoted), `"`)} {
		if text != canary {
			out[form] = text
		}
	}
	// Base64 has three alignments; the inner part of each is stable.
	for shift := range 3 {
		enc := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary))
		out["base64/"+string(rune('0'+shift))] = enc[2+shift : len(enc)-2]
	}
	return out
}

// In lists which canaries, by their names, stand in b, and in which forms.
func In(b []byte, canaries map[string]string) []string {
	var out []string
	for name, c := range canaries {
		for form, text := range Forms(c) {
			if bytes.Contains(b, []byte(text)) {
				out = append(out, name+" ("+form+")")
			}
		}
	}
	slices.Sort(out)
	return out
}

// Flatten writes all names and values of an item, binary ones as they are.
func Flatten(it map[string]types.AttributeValue) []byte {
	var b bytes.Buffer
	var walk func(v types.AttributeValue)
	walk = func(v types.AttributeValue) {
		b.WriteByte(' ')
		switch x := v.(type) {
		case *types.AttributeValueMemberS:
			b.WriteString(x.Value)
		case *types.AttributeValueMemberN:
			b.WriteString(x.Value)
		case *types.AttributeValueMemberB:
			b.Write(x.Value)
		case *types.AttributeValueMemberM:
			for k, e := range x.Value {
				b.WriteString(k)
				walk(e)
			}
		case *types.AttributeValueMemberL:
			for _, e := range x.Value {
				walk(e)
			}
		case *types.AttributeValueMemberSS:
			b.WriteString(strings.Join(x.Value, " "))
		}
	}
	for k, v := range it {
		b.WriteString(k)
		walk(v)
	}
	return b.Bytes()
}
