package main

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// FuzzTranslate: the bytes that are verified are the bytes that were sent, and a path
// names an install only in one form.
func FuzzTranslate(f *testing.F) {
	f.Add("/webhooks/slack/i1", "$default", "eyJ9", true, "203.0.113.9")
	f.Add("/prod/webhooks/slack/i1", "prod", "{}", false, "2001:db8::1")
	f.Add("/webhooks//", "", "=", true, "")
	f.Fuzz(func(t *testing.T, path, stage, body string, encoded bool, ip string) {
		e := events.APIGatewayV2HTTPRequest{RawPath: path, Body: body, IsBase64Encoded: encoded}
		e.RequestContext.Stage, e.RequestContext.HTTP.SourceIP = stage, ip
		r := translate(e, time.Unix(0, 0))
		if strings.Contains(r.Provider+r.Install, "/") || r.Provider != "" && !strings.HasSuffix(path, "/webhooks/"+r.Provider+"/"+r.Install) {
			t.Fatalf("%q names %q %q", path, r.Provider, r.Install)
		}
		switch got := string(r.Input.Body); {
		case !encoded && got != body:
			t.Fatalf("%q became %q", body, got)
		case encoded && !r.Undecodable && !r.TooLarge:
			if want, err := base64.StdEncoding.DecodeString(body); err != nil || got != string(want) {
				t.Fatalf("%q became %q, %v", body, got, err)
			}
		case encoded && got != "":
			t.Fatalf("%q became %q", body, got)
		}
	})
}
