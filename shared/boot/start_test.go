package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"github.com/latchkey/latchkey/shared/redact"
)

const canary = "sk-CNRYstart0123456789"

func environment(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestLoggerMasksInBothFormatsAndNamesTheInvocation(t *testing.T) {
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "req-7"})
	for format, want := range map[string]string{
		"JSON": `"level":"ERROR","message":"failed","body":"echo [secret]","requestId":"req-7"}`,
		"TEXT": `level=ERROR message=failed body="echo [secret]" requestId=req-7`,
	} {
		var out bytes.Buffer
		var secrets redact.Set
		secrets.Add([]byte(canary))
		l := newLogger(&out, &secrets, environment(map[string]string{logFormatVar: format}))
		l.DebugContext(ctx, "not at this level")
		l.ErrorContext(ctx, "failed", "body", "echo "+canary)
		if !strings.Contains(out.String(), want) || strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "timestamp") {
			t.Errorf("%s: %s", format, &out)
		}
		out.Reset()
		l.With("k", canary).WithGroup("g").InfoContext(ctx, "m", "v", canary)
		if strings.Contains(out.String(), canary) || strings.Count(out.String(), "[secret]") != 2 || !strings.Contains(out.String(), "req-7") {
			t.Errorf("%s: %s", format, &out)
		}
	}
}

func TestLogLevel(t *testing.T) {
	for level, want := range map[string]string{"": "IWE", "DEBUG": "DIWE", "INFO": "IWE", "WARN": "WE", "ERROR": "E", "nonsense": "IWE"} {
		var out bytes.Buffer
		l := newLogger(&out, nil, environment(map[string]string{logLevelVar: level}))
		l.Debug("=D")
		l.Info("=I")
		l.Warn("=W")
		l.Error("=E")
		got := ""
		for _, c := range "DIWE" {
			if strings.Contains(out.String(), "=="+string(c)) || strings.Contains(out.String(), `"=`+string(c)) {
				got += string(c)
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s\n%s", level, got, want, &out)
		}
	}
}

func TestStandardLogIsMaskedAndDoesNotQuoteVendors(t *testing.T) {
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	var out bytes.Buffer
	var secrets redact.Set
	secrets.Add([]byte(canary))
	captureStandardLog(&out, &secrets)
	log.Printf("%s", `{"errorMessage":"echo `+canary+`"}`)
	// As net/http prints it; the key in it is not in the set any more.
	log.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v", "HTTP/1.1 408 sk-old-CNRY", nil)
	if got := out.String(); strings.Contains(got, canary) || strings.Contains(got, "sk-old") || !strings.Contains(got, "idle HTTP channel\n") || strings.Count(got, "\n") != 2 {
		t.Errorf("%s", got)
	}
}

func TestAnInvocationEndsWithoutSecrets(t *testing.T) {
	var secrets redact.Set
	secrets.Keep([]byte("platform-key-of-the-process"))
	held := func() bool { return secrets.String(canary) != canary }
	for name, h := range map[string]func(context.Context, string) (string, error){
		"success": func(context.Context, string) (string, error) { secrets.Add([]byte(canary)); return "ok", nil },
		"error":   func(context.Context, string) (string, error) { secrets.Add([]byte(canary)); return "", errors.New("x") },
		"panic":   func(context.Context, string) (string, error) { secrets.Add([]byte(canary)); panic(canary) },
	} {
		_, _ = invocation(&secrets, newLogger(new(bytes.Buffer), &secrets, environment(nil)), h)(t.Context(), "")
		if held() {
			t.Errorf("%s: the secret is still in the set", name)
		}
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		secrets.Add([]byte(canary))
		w.WriteHeader(http.StatusTeapot)
	})
	w := httptest.NewRecorder()
	request(&secrets, newLogger(new(bytes.Buffer), &secrets, environment(nil)), h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusTeapot || held() {
		t.Errorf("%d, still held: %v", w.Code, held())
	}
	if secrets.String("platform-key-of-the-process") != "[secret]" {
		t.Error("what the process keeps was forgotten")
	}
}

// TestWhatTheLambdaLibraryReports goes through the library's own handler.
func TestWhatTheLambdaLibraryReports(t *testing.T) {
	type typed struct{ error }
	for name, c := range map[string]struct {
		h    func(context.Context, any) (any, error)
		want messages.InvokeResponse_Error
	}{
		"plain error": {func(context.Context, any) (any, error) { return nil, errors.New("nothing secret") },
			messages.InvokeResponse_Error{Message: "nothing secret"}},
		"error with a secret": {func(context.Context, any) (any, error) { return nil, typed{fmt.Errorf("echo %s", canary)} },
			messages.InvokeResponse_Error{Message: "echo [secret]", Type: "boot.typed"}},
		"panic": {func(context.Context, any) (any, error) { panic(typed{errors.New(canary)}) },
			messages.InvokeResponse_Error{Message: "the function panicked", Type: "boot.typed", ShouldExit: true}},
	} {
		var out bytes.Buffer
		var secrets redact.Set
		wrapped := invocation(&secrets, newLogger(&out, &secrets, environment(nil)), func(ctx context.Context, in any) (any, error) {
			secrets.Add([]byte(canary))
			return c.h(ctx, in)
		})
		_, err := lambda.NewHandler(wrapped).Invoke(t.Context(), []byte(`{}`))
		var got messages.InvokeResponse_Error
		if name == "plain error" {
			if err == nil || err.Error() != c.want.Message {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.As(err, &got) || got.Message != c.want.Message || got.Type != c.want.Type || got.ShouldExit != c.want.ShouldExit {
			t.Errorf("%s: %#v", name, err)
		}
		if strings.Contains(out.String(), canary) {
			t.Errorf("%s: %s", name, &out)
		}
		if name == "panic" && (!strings.Contains(out.String(), "TestWhatTheLambdaLibraryReports") || !strings.Contains(out.String(), "message=panic")) {
			t.Errorf("the place is not named: %s", &out)
		}
	}
}

func TestPanicOfARequestIsA500AndNamesNoValue(t *testing.T) {
	var out bytes.Buffer
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(canary) })
	w := httptest.NewRecorder()
	request(nil, newLogger(&out, nil, environment(nil)), h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusInternalServerError || strings.Contains(out.String(), canary) || !strings.Contains(out.String(), "type=string") {
		t.Errorf("%d %s", w.Code, &out)
	}
}
