package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"text/template"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/davecgh/go-spew/spew"
	"github.com/stretchr/testify/assert"

	"github.com/latchkey/latchkey/shared/secret"
)

const canary = "CNRY7f3a91c04be2d856"

// planted is the obvious wrong way to hide a secret: a string kind with the
// same methods. The detector is worth nothing unless it catches it.
type planted string

func (planted) String() string               { return secret.Mask }
func (planted) GoString() string             { return secret.Mask }
func (planted) Format(s fmt.State, _ rune)   { fmt.Fprint(s, secret.Mask) }
func (planted) LogValue() slog.Value         { return slog.StringValue(secret.Mask) }
func (planted) MarshalJSON() ([]byte, error) { return nil, secret.ErrMarshal }
func (planted) MarshalText() ([]byte, error) { return nil, secret.ErrMarshal }

type hidden[T any] struct {
	id int
	s  T
}

type shown[T any] struct {
	ID int
	S  T
}

type nested[T any] struct{ inner *hidden[T] }

// shapes are the ways in which code may hold a secret and then pass the holder
// to something that prints.
func shapes[T any](v T) map[string]any {
	return map[string]any{
		"direct":                   v,
		"pointer":                  &v,
		"unexported, by value":     hidden[T]{1, v},
		"unexported, by pointer":   &hidden[T]{1, v},
		"exported, by value":       shown[T]{1, v},
		"exported, by pointer":     &shown[T]{1, v},
		"unexported, two levels":   nested[T]{&hidden[T]{1, v}},
		"map value":                map[string]T{"k": v},
		"map of unexported holder": map[string]hidden[T]{"k": {1, v}},
		"slice":                    []T{v},
		"array":                    [1]T{v},
		"interface slice":          []any{v, hidden[T]{1, v}},
		"map key, by pointer":      map[*T]int{&v: 1},
	}
}

// wrapVerb is a variable, because vet refuses a constant %w of a non-error.
var wrapVerb = "%w"

// sinks print or marshal a value in every way this code base could; an error
// counts as output, because errors are logged.
func sinks() map[string]func(v any) string {
	out := map[string]func(v any) string{
		"slog json": func(v any) string {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).With("w", v).Info("m", "v", v, slog.Group("g", "v", v))
			return b.String()
		},
		"slog text": func(v any) string {
			var b bytes.Buffer
			slog.New(slog.NewTextHandler(&b, nil)).With("w", v).Info("m", "v", v, slog.Group("g", "v", v))
			return b.String()
		},
		"log": func(v any) string {
			var b bytes.Buffer
			log.New(&b, "", 0).Println(v)
			return b.String()
		},
		"print":  func(v any) string { return fmt.Sprint(v) + fmt.Sprintln(v) + string(fmt.Append(nil, v)) },
		"errorf": func(v any) string { return fmt.Errorf("%w %v", errors.New("x"), v).Error() },
		"join":   func(v any) string { return errors.Join(fmt.Errorf("a %+v", v), fmt.Errorf(wrapVerb, v)).Error() },
		"json":   func(v any) string { b, err := json.Marshal(v); return string(b) + fmt.Sprint(err) },
		"xml":    func(v any) string { b, err := xml.Marshal(v); return string(b) + fmt.Sprint(err) },
		"gob": func(v any) string {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.String() + fmt.Sprint(err)
		},
		"text/template": func(v any) string {
			var b bytes.Buffer
			err := template.Must(template.New("t").Parse(`{{.}} {{printf "%s %q" . .}}`)).Execute(&b, v)
			return b.String() + fmt.Sprint(err)
		},
		"html/template": func(v any) string {
			var b bytes.Buffer
			err := htmltemplate.Must(htmltemplate.New("t").Parse(`<a>{{.}}</a><script>x={{.}}</script>`)).Execute(&b, v)
			return b.String() + fmt.Sprint(err)
		},
		"attributevalue.Marshal": func(v any) string {
			av, err := attributevalue.Marshal(v)
			return dump(av) + fmt.Sprint(err)
		},
		"attributevalue.MarshalMap": func(v any) string {
			m, err := attributevalue.MarshalMap(map[string]any{"v": v})
			return dump(&types.AttributeValueMemberM{Value: m}) + fmt.Sprint(err)
		},
		"attributevalue with text marshalers": func(v any) string {
			m, err := attributevalue.MarshalMapWithOptions(map[string]any{"v": v},
				func(o *attributevalue.EncoderOptions) { o.UseEncodingMarshalers = true })
			return dump(&types.AttributeValueMemberM{Value: m}) + fmt.Sprint(err)
		},
		"spew": func(v any) string {
			// Test tools turn the methods off, see testify's diff.
			raw := spew.ConfigState{DisableMethods: true, SortKeys: true, SpewKeys: true}
			return spew.Sdump(v) + spew.Sprintf("%v %+v %#v", v, v, v) + raw.Sdump(v)
		},
		"testify diff": func(v any) string {
			r := new(recorder)
			assert.Equal(r, "something else", v)
			assert.Contains(r, []int{1}, v)
			assert.Nil(r, v)
			assert.IsType(r, 1, v)
			assert.ElementsMatch(r, []any{1}, []any{v})
			return r.String()
		},
		"recovered panic": func(v any) (s string) {
			defer func() { s = fmt.Sprint(recover()) }()
			panic(v)
		},
		"recovered wrapped panic": func(v any) (s string) {
			defer func() { s = fmt.Sprint(recover()) }()
			panic(fmt.Errorf("failed with %v", v))
		},
	}
	for _, verb := range strings.Split("v +v #v s q x X # x d p t b c o U e g w T", " ") {
		out["fmt %"+verb] = func(v any) string { return fmt.Sprintf("%"+verb, v) }
	}
	return out
}

// dump prints an attribute value with the content of byte members in clear.
func dump(av types.AttributeValue) string {
	switch v := av.(type) {
	case *types.AttributeValueMemberM:
		var b strings.Builder
		for k, e := range v.Value {
			b.WriteString(k + "=" + dump(e) + ";")
		}
		return "{" + b.String() + "}"
	case *types.AttributeValueMemberL:
		var b strings.Builder
		for _, e := range v.Value {
			b.WriteString(dump(e) + ",")
		}
		return b.String()
	case *types.AttributeValueMemberB:
		return string(v.Value)
	case *types.AttributeValueMemberS:
		return v.Value
	}
	return fmt.Sprintf("%T", av)
}

type recorder struct{ bytes.Buffer }

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(r, format, args...) }

// leak searches out for the canary in the encodings that printing code uses; a
// window of 8 bytes is enough, because a truncated secret is a leaked one.
func leak(out string) (encoding string, found bool) {
	lower := strings.ToLower(out)
	for i := 0; i+8 <= len(canary); i++ {
		w := canary[i : i+8]
		var list, hexList []string
		for _, c := range []byte(w) {
			list = append(list, fmt.Sprint(c))
			hexList = append(hexList, fmt.Sprintf("0x%x", c))
		}
		for name, form := range map[string]string{
			"raw": w, "hex": hex.EncodeToString([]byte(w)), "spaced hex": strings.ReplaceAll(fmt.Sprintf("% x", w), "0x", ""),
			"decimal": strings.Join(list, " "), "comma decimal": strings.Join(list, ","),
			"go bytes": strings.Join(hexList, ", "), "url": url.QueryEscape(w),
		} {
			if strings.Contains(lower, strings.ToLower(form)) {
				return name, true
			}
		}
		for shift := range 3 {
			enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("\x00", shift) + w))
			if strings.Contains(out, enc[(shift*8+5)/6:len(enc)-3]) {
				return "base64", true
			}
		}
	}
	return "", false
}

func TestNothingPrintsASecret(t *testing.T) {
	for sink, print := range sinks() {
		for shape, v := range shapes(secret.FromString(canary)) {
			out := print(v)
			if enc, found := leak(out); found {
				t.Errorf("%s of %s leaks (%s): %q", sink, shape, enc, out)
			}
		}
	}
}

// Every sink must show at least one shape of the planted type, and every shape
// must show in at least one sink: otherwise the test above proves nothing.
func TestTheDetectorCanFail(t *testing.T) {
	// A type name shows no value; encoding/xml knows no maps and skips unexported
	// fields, and the last one asks MarshalText even for map keys.
	blind := map[string]bool{"fmt %T": true, "xml": true, "attributevalue with text marshalers": true}
	all := shapes(planted(canary))
	all["map key"] = map[planted]int{planted(canary): 1}
	byShape := map[string]bool{}
	for sink, print := range sinks() {
		seen := false
		for shape, v := range all {
			if _, found := leak(print(v)); found {
				seen, byShape[shape] = true, true
			}
		}
		if seen == blind[sink] {
			t.Errorf("%s: shows the planted secret = %v", sink, seen)
		}
	}
	for shape := range all {
		if !byShape[shape] {
			t.Errorf("no sink shows the planted secret in shape %q", shape)
		}
	}
}

// A Text cannot be a map key: it is not comparable, so map[secret.Text]T does
// not compile and an interface key panics without showing the value.
func TestMapKeyIsRefused(t *testing.T) {
	defer func() {
		out := fmt.Sprint(recover())
		if !strings.Contains(out, "unhashable") {
			t.Errorf("a secret was accepted as a map key: %s", out)
		}
		if _, found := leak(out); found {
			t.Errorf("panic text leaks: %s", out)
		}
	}()
	m := map[any]int{}
	m[secret.FromString(canary)] = 1
}

// The SDK's marshaller cannot be told to refuse (see the package comment), so
// this pins what it does: no bytes, and the value is lost.
func TestAttributeValueDropsASecret(t *testing.T) {
	m, err := attributevalue.MarshalMap(shown[secret.Text]{1, secret.FromString(canary)})
	if err != nil {
		return // a future version that refuses is welcome
	}
	got, ok := m["S"].(*types.AttributeValueMemberM)
	if !ok || len(got.Value) != 0 {
		t.Errorf("got %s, want an empty map", dump(m["S"]))
	}
}

func TestStructuredMarshalersFailLoudly(t *testing.T) {
	v := shown[secret.Text]{1, secret.FromString(canary)}
	if _, err := json.Marshal(v); !errors.Is(err, secret.ErrMarshal) {
		t.Errorf("json: %v", err)
	}
	if _, err := xml.Marshal(v); !errors.Is(err, secret.ErrMarshal) {
		t.Errorf("xml: %v", err)
	}
	if err := gob.NewEncoder(new(bytes.Buffer)).Encode(v); !errors.Is(err, secret.ErrMarshal) {
		t.Errorf("gob: %v", err)
	}
}

// A crash prints the panic value and the goroutine's argument words. The child
// is this test binary.
func TestCrashOutput(t *testing.T) {
	const mode = "SECRET_TEST_CRASH"
	switch os.Getenv(mode) {
	case "text":
		crash(secret.FromString(canary), secret.FromString(canary))
	case "holder":
		crash(hidden[secret.Text]{1, secret.FromString(canary)}, secret.FromString(canary))
	case "planted":
		crash(errors.New("bad key "+canary), secret.Text{})
	}
	for _, c := range []struct {
		mode string
		want bool
	}{{"text", false}, {"holder", false}, {"planted", true}} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashOutput$")
		cmd.Env = append(os.Environ(), mode+"="+c.mode, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		if err == nil {
			t.Fatalf("%s: the child did not crash", c.mode)
		}
		if _, found := leak(string(out)); found != c.want {
			t.Errorf("%s: leak = %v, want %v\n%s", c.mode, found, c.want, out)
		}
	}
}

func crash(v any, s secret.Text) {
	if s.Len() >= 0 {
		panic(v)
	}
}
