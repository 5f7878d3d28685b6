package bedrock

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"
)

// shape is a shape of an AWS service model.
type shape struct {
	Type     string
	Required []string
	Members  map[string]struct {
		Shape    string
		Location string
	}
	Member   struct{ Shape string }
	Value    struct{ Shape string }
	Union    bool
	Document bool
	Enum     []string
	Min, Max *float64
	Pattern  string
}

// serviceModel is the description of the service that AWS's own SDK for Python has.
// ./scripts/test installs it.
func serviceModel(t *testing.T) map[string]shape {
	t.Helper()
	found, _ := filepath.Glob("../../../build/tools/python/lib/python3*/site-packages/botocore/data/bedrock-runtime/2023-09-30/service-2.json.gz")
	if len(found) == 0 {
		t.Skip("botocore is not installed; ./scripts/test installs it")
	}
	f, err := os.Open(found[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var in struct{ Shapes map[string]shape }
	if err := json.NewDecoder(z).Decode(&in); err != nil {
		t.Fatal(err)
	}
	return in.Shapes
}

// check lists what is wrong with a value of a shape.
func check(shapes map[string]shape, name, at string, v any, bad func(string)) {
	s := shapes[name]
	if s.Document {
		return
	}
	length := 0.0
	switch s.Type {
	case "structure":
		m, ok := v.(map[string]any)
		if !ok {
			bad(at + " is no object")
			return
		}
		for key, value := range m {
			member, ok := s.Members[key]
			if !ok || member.Location != "" {
				bad(at + " has no member " + key)
				continue
			}
			check(shapes, member.Shape, at+"."+key, value, bad)
		}
		for _, key := range s.Required {
			if _, ok := m[key]; !ok && s.Members[key].Location == "" {
				bad(at + " lacks " + key)
			}
		}
		if s.Union && len(m) != 1 {
			bad(fmt.Sprintf("%s is a union with %d members", at, len(m)))
		}
		return
	case "list":
		list, ok := v.([]any)
		if !ok {
			bad(at + " is no list")
			return
		}
		for i, value := range list {
			check(shapes, s.Member.Shape, fmt.Sprintf("%s[%d]", at, i), value, bad)
		}
		length = float64(len(list))
	case "string", "blob":
		text, ok := v.(string)
		if !ok {
			bad(at + " is no string")
			return
		}
		length = float64(utf8.RuneCountInString(text))
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, text) {
			bad(at + " is " + text)
		}
		if s.Pattern != "" && s.Type == "string" && !regexp.MustCompile("^(?:"+s.Pattern+")$").MatchString(text) {
			bad(at + " does not match: " + text)
		}
	case "integer", "long", "float", "double":
		n, ok := v.(float64)
		if !ok {
			bad(at + " is no number")
			return
		}
		length = n
	case "boolean":
		if _, ok := v.(bool); !ok {
			bad(at + " is no boolean")
		}
		return
	default:
		bad(at + " has type " + s.Type)
		return
	}
	if s.Min != nil && length < *s.Min || s.Max != nil && length > *s.Max {
		bad(at + " is out of bounds")
	}
}

// TestServiceModel: every request of the golden files is one that AWS's description
// of the service admits, model name included.
func TestServiceModel(t *testing.T) {
	shapes := serviceModel(t)
	files, err := filepath.Glob("testdata/chat/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	tables, err := filepath.Glob("testdata/translate/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, tables...) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(data).Files {
			if f.Name != "wire-request.http" && !strings.HasSuffix(f.Name, ".sent") && !strings.HasSuffix(f.Name, ".sent_stream") {
				continue
			}
			n++
			head, body, _ := bytes.Cut(f.Data, []byte("\n\n"))
			where := path + " " + f.Name
			bad := func(what string) { t.Errorf("%s: %s", where, what) }
			line, _, _ := strings.Cut(string(head), "\n")
			segments := strings.Split(strings.TrimPrefix(line, "POST "), "/")
			if len(segments) != 5 {
				t.Fatalf("%s: %s", where, line)
			}
			id, err := url.PathUnescape(segments[3])
			if err != nil {
				t.Fatal(err)
			}
			check(shapes, "ConversationalModelId", "modelId", id, bad)
			var v any
			if err := json.Unmarshal(body, &v); err != nil {
				t.Fatalf("%s: %v", where, err)
			}
			check(shapes, "ConverseRequest", "body", v, bad)
			alternate(v, bad)
		}
	}
	if n < 500 {
		t.Errorf("%d requests", n)
	}
	for what, body := range map[string]string{"no member x": `{"x":1}`, "lacks content": `{"messages":[{"role":"user"}]}`, "is narrator": `{"messages":[{"role":"narrator","content":[]}]}`,
		"union with 2": `{"messages":[{"role":"user","content":[{"text":"a","image":{"format":"png","source":{"bytes":"x"}}}]}]}`, "out of bounds": `{"inferenceConfig":{"topP":2}}`,
		"not match": `{"toolConfig":{"tools":[{"toolSpec":{"name":"a.b","inputSchema":{"json":{}}}}]}}`} {
		var v any
		_ = json.Unmarshal([]byte(body), &v)
		seen := ""
		check(shapes, "ConverseRequest", "body", v, func(s string) { seen += s })
		if !strings.Contains(seen, what) {
			t.Errorf("the check does not see %q in %s: %q", what, body, seen)
		}
	}
}

// alternate verifies what the description says in words only: the user begins,
// roles alternate, no text is blank, tool blocks need toolConfig, a document needs a
// text, documents have names of their own.
func alternate(v any, bad func(string)) {
	b, _ := json.Marshal(v)
	var in struct {
		Messages []struct {
			Role    string
			Content []struct {
				Text       *string
				ToolUse    *struct{}
				ToolResult *struct{}
				Document   *struct{ Name string }
			}
		}
		ToolConfig *struct{}
	}
	_ = json.Unmarshal(b, &in)
	names := map[string]bool{}
	for i, m := range in.Messages {
		if (i%2 == 0) != (m.Role == "user") || len(m.Content) == 0 {
			bad(fmt.Sprintf("message %d is %s's", i, m.Role))
		}
		text, document := false, false
		for _, c := range m.Content {
			if c.Text != nil && strings.TrimSpace(*c.Text) == "" {
				bad("a text is blank")
			}
			text, document = text || c.Text != nil, document || c.Document != nil
			if (c.ToolUse != nil || c.ToolResult != nil) && in.ToolConfig == nil {
				bad("tool blocks without toolConfig")
			}
			if c.Document != nil {
				if names[c.Document.Name] {
					bad("two documents have one name")
				}
				names[c.Document.Name] = true
			}
		}
		if document && !text {
			bad("a document without text")
		}
	}
}
