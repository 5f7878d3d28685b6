package boot

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/latchkey/latchkey/shared/fault"
)

// sqsAnswers gives the next answer of a script, the last for ever.
type sqsAnswers struct {
	script []func() (int, string)
	sent   []*http.Request
	bodies []string
}

func (a *sqsAnswers) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.sent, a.bodies = append(a.sent, r), append(a.bodies, string(body))
	next := a.script[0]
	if len(a.script) > 1 {
		a.script = a.script[1:]
	}
	status, text := next()
	if status == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}}, Body: io.NopCloser(strings.NewReader(text)),
		ContentLength: int64(len(text)), Request: r}, nil
}

func (a *sqsAnswers) client() *sqs.Client {
	return sqs.New(sqs.Options{Region: "eu-west-1", HTTPClient: a, Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", "session"),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxBackoff = time.Microsecond })})
}

const queueURL = "https://sqs.eu-west-1.amazonaws.com/123456789012/turns.fifo"

func took(body string) func() (int, string) {
	sum := md5.Sum([]byte(body))
	return func() (int, string) {
		return 200, `{"MessageId":"m","SequenceNumber":"1","MD5OfMessageBody":"` + hex.EncodeToString(sum[:]) + `"}`
	}
}

// TestSendIsWhatTheClientSends: the service cannot tell the two apart but by headers
// about the SDK itself.
func TestSendIsWhatTheClientSends(t *testing.T) {
	const body = `{"text":"größer 😀"}`
	a := &sqsAnswers{script: []func() (int, string){took(body)}}
	c := a.client()
	_, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String(queueURL), MessageBody: aws.String(body), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d")})
	if err := errors.Join(err, newTurnQueue(c, queueURL).Send(t.Context(), "g", "d", []byte(body))); err != nil || len(a.sent) != 2 {
		t.Fatalf("%v, %d sent", err, len(a.sent))
	}
	scope := regexp.MustCompile(`Credential=AKID/\d{8}/eu-west-1/sqs/aws4_request, SignedHeaders=[^,]*host[^,]*x-amz-date;x-amz-security-token;x-amz-target[^,]*, Signature=[0-9a-f]{64}$`)
	if got := a.sent[1].Header.Get("Authorization"); !scope.MatchString(got) {
		t.Error(got)
	}
	about := regexp.MustCompile(`^(Amz-Sdk-.*|User-Agent|Accept-Encoding|Authorization|X-Amz-Date|Content-Length)$`)
	for _, r := range a.sent {
		for k := range r.Header {
			if about.MatchString(k) {
				delete(r.Header, k)
			}
		}
	}
	var want, got any
	if err := errors.Join(json.Unmarshal([]byte(a.bodies[0]), &want), json.Unmarshal([]byte(a.bodies[1]), &got)); err != nil {
		t.Fatal(err)
	}
	if w, g := a.sent[0], a.sent[1]; w.URL.String() != g.URL.String() || !reflect.DeepEqual(w.Header, g.Header) || !reflect.DeepEqual(want, got) {
		t.Errorf("sent %s %v %v\nthe client sends %s %v %v", g.URL, g.Header, got, w.URL, w.Header, want)
	}
}

// TestSendInsists: what the SDK repeats is repeated under the same id; what was not
// taken as it was sent is an error.
func TestSendInsists(t *testing.T) {
	lost := func() (int, string) { return 0, "" }
	busy := func() (int, string) { return 503, `{"__type":"com.amazonaws.sqs#ServiceUnavailable"}` }
	slow := func() (int, string) { return 400, `{"__type":"com.amazonaws.sqs#RequestThrottled","message":"x"}` }
	no := func() (int, string) { return 400, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"x"}` }
	for name, c := range map[string]struct {
		script []func() (int, string)
		sent   int
		taken  bool
	}{
		"fine":     {[]func() (int, string){took("b")}, 1, true},
		"lost":     {[]func() (int, string){lost, took("b")}, 2, true},
		"busy":     {[]func() (int, string){busy, took("b")}, 2, true},
		"slow":     {[]func() (int, string){slow, slow, took("b")}, 3, true},
		"for ever": {[]func() (int, string){busy}, 3, false},
		"no queue": {[]func() (int, string){no}, 1, false},
		"other":    {[]func() (int, string){took("c")}, 1, false},
		"no sum":   {[]func() (int, string){func() (int, string) { return 200, `{"MessageId":"m"}` }}, 1, false},
	} {
		a := &sqsAnswers{script: c.script}
		err := newTurnQueue(a.client(), queueURL).Send(t.Context(), "g", "d", []byte("b"))
		if len(a.sent) != c.sent || (err == nil) != c.taken || err != nil && fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%s: %d sent, %v", name, len(a.sent), err)
		}
		for _, b := range a.bodies {
			if b != a.bodies[0] {
				t.Errorf("%s: sent %s after %s", name, b, a.bodies[0])
			}
		}
	}
}
