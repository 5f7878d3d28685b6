package awswire_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
)

func TestPrincipal(t *testing.T) {
	for auth, want := range map[string]string{
		"AWS4-HMAC-SHA256 Credential=AKIDINVOKE/20261121/us-east-1/kms/aws4_request, SignedHeaders=host, Signature=00": "AKIDINVOKE",
		"AWS4-HMAC-SHA256 SignedHeaders=host, Credential=A_b-1/2/3":                                                    "A_b-1",
		"": "", "Bearer Credential=A/": "", "AWS4-HMAC-SHA256": "", "AWS4-HMAC-SHA256 Credential=": "",
		"AWS4-HMAC-SHA256 Credential=/x":                                "",
		"AWS4-HMAC-SHA256 Credential=A B/x":                             "",
		"AWS4-HMAC-SHA256 Credential=AKID":                              "",
		"AWS4-HMAC-SHA256 Credential=" + strings.Repeat("A", 129) + "/": "",
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Authorization", auth)
		require.Equal(t, want, awswire.Principal(r), auth)
	}
}

func TestTarget(t *testing.T) {
	for header, want := range map[string][2]string{
		"TrentService.Decrypt": {"TrentService", "Decrypt"}, "DynamoDB_20120810.GetItem": {"DynamoDB_20120810", "GetItem"},
		"": {}, "Decrypt": {}, ".Decrypt": {}, "X.": {}, "X.a b": {},
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("X-Amz-Target", header)
		service, operation := awswire.Target(r)
		require.Equal(t, want, [2]string{service, operation}, header)
	}
}

func TestBodiesAreBounded(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		for n, want := range map[int]string{10: "", 11: "RequestEntityTooLarge"} {
			r := httptest.NewRequest("POST", "/", strings.NewReader(strings.Repeat("x", n)))
			if chunked {
				r.ContentLength = -1
			}
			body, err := awswire.ReadBody(r, 10)
			if want == "" {
				require.NoError(t, err)
				require.Len(t, body, n)
				continue
			}
			require.Equal(t, want, awswire.AsError(err).Code)
			require.Equal(t, 413, awswire.AsError(err).HTTPStatus())
		}
	}
	short := httptest.NewRequest("POST", "/", strings.NewReader("abc"))
	short.ContentLength = 5
	_, err := awswire.ReadBody(short, 10)
	require.Equal(t, "IncompleteBody", awswire.AsError(err).Code)
}

func TestErrorAnswers(t *testing.T) {
	rec := httptest.NewRecorder()
	awswire.WriteError(rec, awswire.JSON10, &awswire.Error{Code: "QueueDoesNotExist", QueryCode: "AWS.SimpleQueueService.NonExistentQueue", Message: "m"})
	require.Equal(t, 400, rec.Code)
	require.Equal(t, "QueueDoesNotExist", rec.Header().Get("X-Amzn-Errortype"))
	require.Equal(t, "AWS.SimpleQueueService.NonExistentQueue;Sender", rec.Header().Get("X-Amzn-Query-Error"))
	require.Equal(t, "application/x-amz-json-1.0", rec.Header().Get("Content-Type"))
	require.NotEmpty(t, rec.Header().Get("X-Amzn-Requestid"))
	require.JSONEq(t, `{"__type":"QueueDoesNotExist","message":"m","Message":"m"}`, rec.Body.String())

	internal := awswire.AsError(errors.New("open someone-secret.json: denied"))
	require.Equal(t, http.StatusInternalServerError, internal.HTTPStatus())
	require.NotContains(t, internal.Message, "someone", "internal texts do not leave")
}

func TestIDs(t *testing.T) {
	require.Regexp(t, "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$", awswire.NewID())
	require.NotEqual(t, awswire.NewID(), awswire.NewID())
}

func TestAllow(t *testing.T) {
	var none awswire.Allow
	require.True(t, none.Permits("a", "t", "op"), "nil enforces nothing")
	require.True(t, none.PermitsAnywhere("a", "op"))
	empty := awswire.Allow{}
	require.False(t, empty.Permits("a", "t", "op"), "empty denies everything")
	some := awswire.Allow{"a": {"t": {"op"}}}
	require.True(t, some.Permits("a", "t", "op"))
	require.False(t, some.Permits("a", "t", "other"))
	require.False(t, some.Permits("a", "u", "op"))
	require.False(t, some.Permits("", "t", "op"))
	require.True(t, some.PermitsAnywhere("a", "op"))
	require.False(t, some.PermitsAnywhere("b", "op"))
}
