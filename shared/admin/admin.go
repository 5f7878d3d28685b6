// Package admin is the admin JSON API under /api/: organisations, keys,
// connections, agents, channel installs, credits and the operator's own
// resources.
//
// [API.Serve] takes one request that the function's handler has translated from
// its event: find the route, authenticate the key, check scope and organisation,
// decode the body strictly, call the handler, write JSON. The route table in
// routes.go is the single list of what exists; the OpenAPI document served at
// /api/openapi.json is made from it by a test and compared byte for byte.
//
// Guarantees: the organisation of a request comes from the verified key; another
// organisation's id answers 404 exactly as an unknown one, and leaves an audit
// row. All bad keys get one byte-identical 401. Bodies are bounded (1 MiB, 32
// levels), must be valid UTF-8 and JSON without duplicate or unknown fields; an
// error names the field and never repeats a value. Secrets go in only. Every
// change writes its audit row in the transaction that makes it, whichever table
// it changes; a route that changes several things leaves a row for each. No
// answer may be cached.
//
// Limits: lists return at most 200 items a page; an unknown query parameter is
// ignored.
package admin

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/latchkey/latchkey/shared/agent"
	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/commercial"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/legacytokens"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/redact"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/session"
)

// Request is one HTTP request.
type Request struct {
	Method string
	Path   string
	Query  url.Values
	// Header returns all values of a header by its lower-case name.
	Header func(name string) []string
	Body   []byte
	ID     string    // shown as x-request-id
	Now    time.Time // of the event
}

// Response is one HTTP answer. Body is empty with status 204.
type Response struct {
	Status int
	Header map[string]string
	Body   []byte
}

// Services are what the handlers call. All but OnError, Redact and Payments are required.
type Services struct {
	Orgs        *org.Service
	Connections *connection.Service
	Agents      *agent.Service
	Tools       *tool.Service
	Approvals   *approval.Service
	Handoffs    *handoff.Service
	Installs    *install.Service
	Consent     Consents
	// Integrations opens nothing.
	Integrations *integration.Service
	Sessions     session.Reader
	Audit        audit.Store
	Credits      Credits
	Ledger       Ledger
	Alerts       alert.Settings
	Commercial   *commercial.Service
	Books        Books
	Rebuild      Rebuilder
	LegacyTokens *legacytokens.Service
	Prices       Prices
	Rollout      *rollout.Service
	Rotations    *rotation.Service
	Routes       Routes
	Offers       Offers
	// Models says which providers can be called.
	Models ModelSupply
	// Payments is nil in functions that sell nothing; the routes of billing are
	// not there then.
	Payments Payments
	// Replenish keeps standing orders; it is there where Payments is.
	Replenish StandingOrders
	// PaymentKeys stores the platform's access to the payment vendor.
	PaymentKeys PaymentKeys
	// Fields says what can be connected and what of it is shown.
	Fields *credential.Registry
	// NewID makes ids of 1 to 40 lower-case letters and digits.
	NewID func(now time.Time) string
	// OnError is told of every answer above 499, for the log; nil means no log.
	OnError func(ctx context.Context, requestID string, f *fault.Error)
	// Redact gets the caller's key and masks error texts; nil masks nothing.
	Redact *redact.Set
}

// API serves the admin API. It is safe for concurrent use.
type API struct {
	s      Services
	routes []route
}

// New returns the API over its services.
func New(s Services) *API {
	a := &API{s: s}
	for _, r := range routes() {
		if !r.sells || s.Payments != nil {
			a.routes = append(a.routes, r)
		}
	}
	return a
}

// NewBilling returns an API that has the routes of billing only. Of the services
// it needs Orgs, Audit, Payments and NewID.
func NewBilling(s Services) *API { return &API{s: s, routes: billingRoutes()} }

// maxBody bounds a request body.
const maxBody = 1 << 20

// call is one authenticated request on its way through a handler.
type call struct {
	context.Context
	*Services
	req    Request
	route  *route
	params map[string]string
	who    principal
	org    org.Org // of organisation routes
	op     audit.Op
}

// Serve answers one request. It never fails: whatever goes wrong is an answer.
func (a *API) Serve(ctx context.Context, req Request) Response {
	resp, err := a.serve(ctx, req)
	if err != nil {
		resp = failure(a.s.Redact.Fault(fault.As(err)), req.ID)
		if resp.Status >= 500 && a.s.OnError != nil {
			a.s.OnError(ctx, req.ID, fault.As(err))
		}
	}
	finish(&resp, req.ID)
	return resp
}

func (a *API) serve(ctx context.Context, req Request) (Response, error) {
	r, params, allowed := a.match(req.Method, req.Path)
	if r != nil && r.access == public {
		return r.public()
	}
	c := &call{Context: ctx, Services: &a.s, req: req, route: r, params: params}
	if err := c.authenticate(); err != nil {
		return Response{}, err
	}
	if r == nil && allowed != "" {
		resp := failure(fault.New(fault.MethodNotAllowed, "admin.Serve", "this path does not have this method; it has "+allowed), req.ID)
		resp.Header["allow"] = allowed
		return resp, nil
	}
	if r == nil {
		return Response{}, noSuchPath()
	}
	if err := c.authorize(); err != nil {
		return Response{}, err
	}
	if len(req.Body) > maxBody {
		return Response{}, fault.New(fault.TooLarge, "admin.Serve", "the body is larger than 1 MiB")
	}
	result, err := r.handle(c)
	if err != nil {
		return Response{}, err
	}
	return success(r.status, result)
}

func noSuchPath() error {
	return fault.New(fault.NotFound, "admin.Serve", "there is nothing at this path; /api/openapi.json lists what exists")
}

// success writes a result as JSON.
func success(status int, result any) (Response, error) {
	if status == http.StatusNoContent {
		return Response{Status: status}, nil
	}
	body, err := encode(result)
	if err != nil {
		return Response{}, fault.Wrap(fault.Internal, "admin.success", "internal error, try again later", err)
	}
	return Response{Status: status, Header: jsonHeader(), Body: body}, nil
}

func jsonHeader() map[string]string { return map[string]string{"content-type": "application/json"} }
