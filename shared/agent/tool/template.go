package tool

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// plainURL is a template with each {name} replaced by a word, which is a URL.
func plainURL(template string) string {
	out, _ := expand(template, func(string, bool) (string, bool) { return "x", true })
	return strings.SplitN(out, "?", 2)[0]
}

// expand replaces every {name}; query says that it stands behind the question
// mark. ok is false where value says so, or for braces that are no placeholder.
func expand(template string, value func(name string, query bool) (string, bool)) (out string, ok bool) {
	var b strings.Builder
	query := false
	for template != "" {
		i := strings.IndexAny(template, "{}?")
		if i < 0 {
			break
		}
		b.WriteString(template[:i])
		if template[i] == '?' {
			query = true
			b.WriteByte('?')
			template = template[i+1:]
			continue
		}
		end := strings.IndexByte(template[i:], '}')
		if template[i] != '{' || end < 2 {
			return "", false
		}
		v, fine := value(template[i+1:i+end], query)
		if !fine {
			return "", false
		}
		b.WriteString(v)
		template = template[i+end+1:]
	}
	b.WriteString(template)
	return b.String(), true
}

// checkTemplate refuses a URL in which an argument could change where the request
// goes, and one that names what the schema does not require.
func checkTemplate(template string, s *Schema) error {
	rest, _ := strings.CutPrefix(strings.ToLower(template), "https://")
	host, _, _ := strings.Cut(rest, "/")
	if len(template) > maxURL || strings.ContainsAny(host, "{}?#@") || strings.ContainsAny(template, "#\\ \t\r\n") {
		return invalid("url", "the URL must look like https://host/path/{name}?key={name}, with {name} behind the host only")
	}
	_, ok := expand(template, func(name string, _ bool) (string, bool) {
		p := s.Properties[name]
		return "x", p != nil && slices.Contains(s.Required, name) && len(p.Types) == 1 && slices.Contains([]string{"string", "integer", "number", "boolean"}, p.Types[0])
	})
	if !ok {
		return invalid("url", "each {name} of the URL is a required parameter of type string, integer, number or boolean")
	}
	return nil
}

// request is the URL and the body of a call. ok is false for an argument that
// would change the path: empty, "." or "..".
func (t Tool) request(args map[string]any) (link string, body []byte, ok bool) {
	used := map[string]bool{}
	link, ok = expand(t.URL, func(name string, query bool) (string, bool) {
		used[name] = true
		v := scalarText(args[name])
		if query {
			return url.QueryEscape(v), true
		}
		return url.PathEscape(v), v != "" && v != "." && v != ".."
	})
	if !ok {
		return "", nil, false
	}
	rest := map[string]any{}
	for name, v := range args {
		if !used[name] {
			rest[name] = v
		}
	}
	if t.hasBody() {
		body, err := json.Marshal(rest)
		return link, body, err == nil
	}
	for _, name := range sorted(rest) {
		separator := "?"
		if strings.Contains(link, "?") {
			separator = "&"
		}
		link += separator + url.QueryEscape(name) + "=" + url.QueryEscape(scalarText(rest[name]))
	}
	return link, nil, len(link) <= 2*maxURL
}

// scalarText is a value as it stands in a URL.
func scalarText(v any) string {
	switch x := v.(type) {
	case string:
		return x
	case json.Number:
		return x.String()
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
