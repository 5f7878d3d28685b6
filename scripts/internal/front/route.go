package front

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strings"
)

// Kind says which AWS service a route stands for.
type Kind string

// The kinds of routes.
const (
	HTTPAPI Kind = "httpapi" // buffered, payload with routeKey and pathParameters
	URL     Kind = "url"     // streamed, payload of a function URL
)

// Route sends requests to a function. Path is made of literal segments, {name}
// for one segment and a last {name+} for one or more. Method "" or "ANY" is
// every method.
type Route struct {
	Method   string
	Path     string
	Function string
	Kind     Kind
}

type segmentClass int

const (
	literal segmentClass = iota // sorts first: most specific
	parameter
	greedy
)

type segment struct {
	class segmentClass
	text  string // the literal, or the parameter's name
}

type compiledRoute struct {
	Route
	segments []segment
	key      string // "POST /webhooks/{provider}"
}

var (
	parameterName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	methodName    = regexp.MustCompile(`^[A-Z]+$`)
)

// compile checks the routes and sorts them by precedence: at the first segment
// in which two paths differ a literal beats {name}, which beats {name+}; of the
// same path a method beats ANY.
func compile(routes []Route) ([]compiledRoute, error) {
	out := make([]compiledRoute, 0, len(routes))
	seen := map[string]bool{}
	for _, r := range routes {
		c, err := compileRoute(r)
		if err != nil {
			return nil, err
		}
		shape := c.shape()
		if seen[shape] {
			return nil, fmt.Errorf("front: route %s is given twice", c.key)
		}
		seen[shape] = true
		out = append(out, c)
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].before(&out[j]) })
	return out, nil
}

func compileRoute(r Route) (compiledRoute, error) {
	if r.Method == "" {
		r.Method = "ANY"
	}
	c := compiledRoute{Route: r, key: r.Method + " " + r.Path}
	fail := func(why string) (compiledRoute, error) {
		return c, fmt.Errorf("front: route %s: %s", c.key, why)
	}
	switch {
	case !methodName.MatchString(r.Method):
		return fail("the method is not in capital letters")
	case r.Kind != HTTPAPI && r.Kind != URL:
		return fail(fmt.Sprintf("unknown kind %q", r.Kind))
	case r.Function == "":
		return fail("no function")
	case !strings.HasPrefix(r.Path, "/"):
		return fail("the path does not begin with /")
	case r.Path == localPrefix || strings.HasPrefix(r.Path, localPrefix):
		return fail("paths below " + localPrefix + " belong to the stack")
	}
	names := map[string]bool{}
	parts := strings.Split(r.Path[1:], "/")
	for i, part := range parts {
		s := segment{class: literal, text: part}
		if inner, ok := strings.CutPrefix(part, "{"); ok {
			inner, closed := strings.CutSuffix(inner, "}")
			name, plus := strings.CutSuffix(inner, "+")
			if !closed || !parameterName.MatchString(name) || names[name] {
				return fail("bad or repeated parameter " + part)
			}
			if plus && i != len(parts)-1 {
				return fail(part + " is only possible at the end")
			}
			names[name] = true
			s = segment{class: parameter, text: name}
			if plus {
				s.class = greedy
			}
		} else if strings.ContainsAny(part, "{}") {
			return fail("a parameter is a whole segment, unlike " + part)
		}
		c.segments = append(c.segments, s)
	}
	return c, nil
}

// shape is equal for routes that match the same requests.
func (c *compiledRoute) shape() string {
	var b strings.Builder
	b.WriteString(c.Method)
	for _, s := range c.segments {
		b.WriteByte('/')
		switch s.class {
		case literal:
			b.WriteString(s.text)
		case parameter:
			b.WriteString("{}")
		case greedy:
			b.WriteString("{+}")
		}
	}
	return b.String()
}

func (c *compiledRoute) before(d *compiledRoute) bool {
	for i := 0; i < len(c.segments) && i < len(d.segments); i++ {
		if c.segments[i].class != d.segments[i].class {
			return c.segments[i].class < d.segments[i].class
		}
	}
	if len(c.segments) != len(d.segments) {
		return len(c.segments) > len(d.segments)
	}
	return c.Method != "ANY" && d.Method == "ANY"
}

// match returns the path parameters, decoded, when the route fits.
func (c *compiledRoute) match(method string, parts []string) (map[string]string, bool) {
	if c.Method != "ANY" && c.Method != method {
		return nil, false
	}
	n := len(c.segments)
	endless := c.segments[n-1].class == greedy
	if len(parts) < n || len(parts) > n && !endless {
		return nil, false
	}
	var params map[string]string
	for i, s := range c.segments {
		value := parts[i]
		switch s.class {
		case literal:
			if decoded(value) != s.text {
				return nil, false
			}
			continue
		case greedy:
			value = strings.Join(parts[i:], "/")
		}
		if value == "" {
			return nil, false
		}
		if params == nil {
			params = make(map[string]string, n)
		}
		params[s.text] = decoded(value)
	}
	return params, true
}

// find returns the route of a request, or nil.
func find(routes []compiledRoute, method, rawPath string) (*compiledRoute, map[string]string) {
	parts := strings.Split(strings.TrimPrefix(rawPath, "/"), "/")
	for i := range routes {
		if params, ok := routes[i].match(method, parts); ok {
			return &routes[i], params
		}
	}
	return nil, nil
}

// decoded leaves an invalid escape as it stands.
func decoded(s string) string {
	if d, err := url.PathUnescape(s); err == nil {
		return d
	}
	return s
}

// rawTarget splits the request target as it was sent. Only the origin form says
// anything about the path; the others fall back on what net/http parsed.
func rawTarget(r *http.Request) (path, query string) {
	if !strings.HasPrefix(r.RequestURI, "/") {
		path = r.URL.EscapedPath()
		if path == "" {
			path = "/"
		}
		return path, r.URL.RawQuery
	}
	path, query, _ = strings.Cut(r.RequestURI, "?")
	return path, query
}
