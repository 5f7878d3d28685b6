package wire

import (
	"net/http"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

func TestRetryAfter(t *testing.T) {
	const date = "Sat, 21 Nov 2026 10:00:00 GMT"
	tests := []struct {
		h    map[string]string
		want time.Duration
	}{
		{map[string]string{"Retry-After": "17"}, 17 * time.Second},
		{map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		{map[string]string{"Retry-After-Ms": "1500", "Retry-After": "9"}, 1500 * time.Millisecond},
		{map[string]string{"Retry-After": "Sat, 21 Nov 2026 10:00:05 GMT", "Date": date}, 5 * time.Second},
		{map[string]string{"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": date}, 0},
		{map[string]string{"Retry-After": "Sat, 21 Nov 2026 10:00:05 GMT"}, 0},
		{map[string]string{"Retry-After": "-1"}, 0},
		{map[string]string{"Retry-After": "NaN"}, 0},
		{map[string]string{"Retry-After": "1e300"}, 24 * time.Hour},
		{map[string]string{"Retry-After": "soon"}, 0},
		{nil, 0},
	}
	for _, tt := range tests {
		h := http.Header{}
		for k, v := range tt.h {
			h.Set(k, v)
		}
		if got := RetryAfter(h); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.h, got, tt.want)
		}
	}
}

func TestCleanParam(t *testing.T) {
	for p, want := range map[string]string{
		"messages[0].content": "messages[0].content", "temperature": "temperature", "tools[1].function.parameters": "tools[1].function.parameters",
		"api_key": "", "sk-or-v1-abc": "", "model sk": "", "messages.<script>": "", "": "", "messages.ABC": "",
		"model" + string(make([]byte, 80)): "",
	} {
		if got := cleanParam(p); got != want {
			t.Errorf("%q: %q", p, got)
		}
	}
}

func TestStatuses(t *testing.T) {
	v := &Vendor{ID: "test"}
	for status, want := range map[int]fault.Code{
		400: fault.InvalidRequest, 401: fault.ProviderKeyInvalid, 402: fault.ProviderQuotaExhausted, 403: fault.ProviderKeyInvalid,
		404: fault.InvalidRequest, 408: fault.ProviderTimeout, 409: fault.ProviderError, 413: fault.TooLarge,
		415: fault.UnsupportedMedia, 422: fault.InvalidRequest, 429: fault.ProviderRateLimited, 500: fault.ProviderError,
		502: fault.ProviderError, 503: fault.ProviderOverloaded, 504: fault.ProviderTimeout, 524: fault.ProviderTimeout,
		529: fault.ProviderOverloaded, 599: fault.ProviderError, 101: fault.ProviderError,
	} {
		err := v.Decide("test.Op", status, nil, []byte("not json"))
		if f := fault.As(err); f.Code != want || f.Message == "" {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// TestErrorShapes: what vendors say is found wherever they say it.
func TestErrorShapes(t *testing.T) {
	v := &Vendor{ID: "test", Errors: Errors{{Status: 400, Contains: "incorrect api key", Fault: fault.ProviderKeyInvalid},
		{Code: "no_capacity", Fault: fault.ProviderOverloaded}}}
	for body, want := range map[string]struct {
		code  fault.Code
		param string
	}{
		`{"code":"invalid-argument","error":"Incorrect API key provided: x"}`:                                                      {fault.ProviderKeyInvalid, ""},
		`{"code":"no_capacity","error":"later"}`:                                                                                   {fault.ProviderOverloaded, ""},
		`{"detail":[{"type":"extra_forbidden","loc":["body","user"],"msg":"Extra inputs are not permitted","input":1}]}`:           {fault.InvalidRequest, "user"},
		`{"object":"error","message":{"detail":[{"type":"missing","loc":["body","messages",0,"content"],"msg":"m"}]},"code":null}`: {fault.InvalidRequest, "messages.0.content"},
		`{"detail":[{"type":"no_capacity","loc":["body",{"x":1}],"msg":1}]}`:                                                       {fault.InvalidRequest, ""},
		`{"detail":[{"type":"no_capacity","loc":["header","x"],"msg":"m"}]}`:                                                       {fault.ProviderOverloaded, ""},
		`{"detail":[]}`: {fault.InvalidRequest, ""}, `{"detail":{"a":1},"message":[1]}`: {fault.InvalidRequest, ""},
		`{"detail":"Incorrect API key"}`: {fault.ProviderKeyInvalid, ""},
	} {
		if f := fault.As(v.Decide("test.Op", 400, nil, []byte(body))); f.Code != want.code || f.Param != want.param {
			t.Errorf("%s: %s %q", body, f.Code, f.Param)
		}
	}
}

// FuzzDecide: no body makes it fail, and nothing of the body is shown.
func FuzzDecide(f *testing.F) {
	f.Add(400, []byte(`{"error":{"message":"m","param":"messages","code":5,"metadata":[]}}`))
	f.Add(429, []byte(`{"detail":[{"loc":["body","messages",0],"type":"x","msg":"y"}]}`))
	f.Add(422, []byte(`{"message":{"detail":[{"loc":[null]}]}}`))
	f.Add(500, []byte(`{"error":"overloaded"}`))
	v := &Vendor{ID: "test", Errors: Errors{{Contains: "overloaded", Fault: fault.ProviderOverloaded}}}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := fault.As(v.Decide("test.Op", status, http.Header{}, body))
		if e.Message != messages[e.Code] || e.Err != nil || e.Param != cleanParam(e.Param) {
			t.Fatalf("%+v", e)
		}
	})
}

// TestDetails: the details of an error decide and delay like its code and its
// headers.
func TestDetails(t *testing.T) {
	v := &Vendor{ID: "test", Errors: Errors{{Code: "api_key_invalid", Fault: fault.ProviderKeyInvalid}, {Code: "spend_limit", Fault: fault.ProviderQuotaExhausted},
		{Code: "resource_exhausted", Status: 400, Fault: fault.ProviderRateLimited}}}
	for body, want := range map[string]struct {
		code fault.Code
		wait time.Duration
	}{
		`{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`:   {fault.ProviderKeyInvalid, 0},
		`[{"error":{"code":400,"details":[{"a":1},{"reason":"API_KEY_INVALID"}]}}]`:                     {fault.ProviderKeyInvalid, 0},
		`{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34.5s"}]}}`:                  {fault.ProviderRateLimited, 34500 * time.Millisecond},
		`{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"34"},{"retryDelay":"xs"}]}}`: {fault.ProviderRateLimited, 0},
		`{"error":{"type":"e","details":{"error_code":"spend_limit"}}}`:                                 {fault.ProviderQuotaExhausted, 0},
		`{"error":{"details":"spend_limit"}}`:                                                           {fault.InvalidRequest, 0},
		`{"error":{"details":[1,null,{"reason":7},{"reason":"API_KEY_INVALID"}]}}`:                      {fault.ProviderKeyInvalid, 0},
	} {
		f := fault.As(v.Decide("test.Op", 400, http.Header{}, []byte(body)))
		if f.Code != want.code || f.RetryAfter != want.wait {
			t.Errorf("%s: %s after %v", body, f.Code, f.RetryAfter)
		}
	}
	h := http.Header{"Retry-After": {"3"}}
	if f := fault.As(v.Decide("test.Op", 429, h, []byte(`{"error":{"details":[{"retryDelay":"34s"}]}}`))); f.RetryAfter != 3*time.Second {
		t.Errorf("the header gives way: %v", f.RetryAfter)
	}
}

// TestAmazonErrors: the exception is found in the header and in the body.
func TestAmazonErrors(t *testing.T) {
	v := &Vendor{ID: "test", Errors: Errors{{Code: "throttlingexception", Fault: fault.ProviderRateLimited}}}
	for _, tt := range []struct{ header, body string }{{"ThrottlingException:http://internal.amazon.com/x/", `{}`}, {"", `{"__type":"com.amazon.coral#ThrottlingException"}`},
		{"", `{"__type":"ThrottlingException","message":"Rate exceeded"}`}, {"a.b#ThrottlingException", `x`}} {
		if err := v.Decide("test.Op", 400, http.Header{"X-Amzn-Errortype": {tt.header}}, []byte(tt.body)); fault.CodeOf(err) != fault.ProviderRateLimited {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	if err := v.Decide("test.Op", 400, nil, []byte(`{"__type":7}`)); fault.CodeOf(err) != fault.InvalidRequest {
		t.Error(err)
	}
}
