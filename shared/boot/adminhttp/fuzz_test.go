package adminhttp

import (
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"

	"github.com/latchkey/latchkey/shared/fault"
)

// FuzzRequest: whatever a client sends becomes a request or a refusal of ours.
func FuzzRequest(f *testing.F) {
	f.Add("a=1&b=%zz", "/api/orgs/o", "e30=", true, int64(1))
	f.Add("limit=100&cursor=", "/api//", "{}", false, int64(1_700_000_000_000))
	f.Add("a;b", "", "=", true, int64(-1))
	f.Fuzz(func(t *testing.T, query, path, body string, encoded bool, epoch int64) {
		e := events.APIGatewayV2HTTPRequest{RawPath: path, RawQueryString: query, Body: body, IsBase64Encoded: encoded, Headers: map[string]string{"a": query}}
		e.RequestContext.RequestID, e.RequestContext.TimeEpoch = "r", epoch
		req, err := Request(e, time.UnixMilli(epoch))
		if err != nil {
			if c := fault.CodeOf(err); c != fault.InvalidRequest && c != fault.Internal {
				t.Fatal(err)
			}
			return
		}
		if epoch <= 0 || req.Path != path || !encoded && string(req.Body) != body || len(req.Body) > len(body) || len(req.Header("b")) != 0 {
			t.Fatalf("%+v", req)
		}
	})
}
