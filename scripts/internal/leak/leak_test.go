package leak_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/leak"
)

var canaries = map[string]string{"one": "LEAK7b1e09", "two": "LEAK\"22c4f8"}

// TestIn: every form is found wherever it stands, and nothing else is.
func TestIn(t *testing.T) {
	for name, c := range canaries {
		for form, text := range leak.Forms(c) {
			found := leak.In([]byte("prefix "+text+" suffix"), canaries)
			if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, name+" (") }) {
				t.Errorf("%s as %s is not found: %v", name, form, found)
			}
		}
		for shift := range 6 {
			enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", shift) + c + "tail"))
			if found := leak.In([]byte(enc), canaries); len(found) == 0 {
				t.Errorf("%s in base64 behind %d bytes is not found", name, shift)
			}
		}
	}
	if found := leak.In([]byte("LEAK7b1e0 LEAK22c4f8"), canaries); len(found) > 0 {
		t.Errorf("found %v", found)
	}
}

// TestFlatten: every kind of value that the tables hold is looked through.
func TestFlatten(t *testing.T) {
	const c = "LEAK7b1e09"
	for name, v := range map[string]types.AttributeValue{
		"text":   &types.AttributeValueMemberS{Value: c},
		"bytes":  &types.AttributeValueMemberB{Value: []byte(c)},
		"set":    &types.AttributeValueMemberSS{Value: []string{"a", c}},
		"list":   &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberS{Value: c}}},
		"map":    &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"x": &types.AttributeValueMemberB{Value: []byte(c)}}},
		"a name": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{c: &types.AttributeValueMemberN{Value: "1"}}},
	} {
		if found := leak.In(leak.Flatten(map[string]types.AttributeValue{"v": v}), canaries); len(found) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}
