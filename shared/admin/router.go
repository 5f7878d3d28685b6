package admin

import (
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/table"
)

// route is one line of the API. body and result are zero values of the wire
// types, from which the OpenAPI document is made; they are not used to serve.
type route struct {
	method  string
	path    string // "/api/orgs/{org}"
	access  access
	status  int // of success
	summary string
	body    any // nil: no body
	result  any // nil: no content; of lists one item
	list    bool
	query   []param
	sells   bool // served by the function that sells credits
	handle  func(*call) (any, error)
	public  func() (Response, error)
}

// param is a query parameter.
type param struct{ name, about string }

// match finds the route of a method and path, and the path's parameters. Without
// a route, allowed lists the methods the path has, empty if there is no such
// path.
func (a *API) match(method, path string) (found *route, params map[string]string, allowed string) {
	var methods []string
	for i := range a.routes {
		p, ok := matchPath(a.routes[i].path, path)
		if !ok {
			continue
		}
		if a.routes[i].method == method {
			return &a.routes[i], p, ""
		}
		methods = append(methods, a.routes[i].method)
	}
	slices.Sort(methods)
	return nil, nil, strings.Join(slices.Compact(methods), ", ")
}

// matchPath compares segment by segment. A parameter takes a valid id only, so
// nothing else ever reaches a key.
func matchPath(pattern, path string) (map[string]string, bool) {
	var params map[string]string
	for {
		want, restPattern, more := strings.Cut(pattern, "/")
		got, restPath, moreGot := strings.Cut(path, "/")
		if more != moreGot {
			return nil, false
		}
		if strings.HasPrefix(want, "{") {
			if !table.ValidID(got) {
				return nil, false
			}
			if params == nil {
				params = make(map[string]string, 2)
			}
			params[want[1:len(want)-1]] = got
		} else if want != got {
			return nil, false
		}
		if !more {
			return params, true
		}
		pattern, path = restPattern, restPath
	}
}
