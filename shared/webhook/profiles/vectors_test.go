package profiles_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// input is a request to a URL as configured at the vendor.
func input(publicURL, body string, headers ...string) webhook.Input {
	in := webhook.Input{Method: "POST", PublicURL: publicURL, Body: []byte(body), Header: webhook.Header{}, Config: webhook.Config{}}
	if u, err := url.Parse(publicURL); err == nil {
		in.RawQuery = u.RawQuery
	}
	for i := 0; i < len(headers); i += 2 {
		in.Header.Add(headers[i], headers[i+1])
	}
	return in
}

func scheme(t *testing.T, name taxonomy.Profile) webhook.Scheme {
	t.Helper()
	p, ok := profiles.Find(name)
	if !ok {
		t.Fatalf("no profile %s", name)
	}
	return p.Scheme
}

func reason(s webhook.Scheme, in webhook.Input, now time.Time, secrets ...secret.Text) webhook.Reason {
	if _, r := webhook.Verify(s, in, secrets, now); r != nil {
		return r.Reason
	}
	return ""
}

// TestPublishedVectors: values that vendors have published.
func TestPublishedVectors(t *testing.T) {
	const (
		where   = "https://mycompany.com/myapp.php?foo=1&bar=2"
		form    = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212"
		json    = `{"property": "value", "boolean": true}`
		hash    = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
		twilio  = "X-Twilio-Signature"
		spec    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		specID  = "msg_p5jXN8AQM9LWM0D4loKWxJek"
		specSig = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	standard := func(prefix, sig string) webhook.Input {
		return input("", `{"test": 2432232314}`, prefix+"-id", specID, prefix+"-timestamp", "1614265330", prefix+"-signature", sig)
	}
	for _, c := range []struct {
		name   string
		from   taxonomy.Profile
		secret string
		in     webhook.Input
		want   webhook.Reason
	}{
		// docs.github.com, "Validating webhook deliveries".
		{"GitHub", taxonomy.ProfileGitHub, "It's a Secret to Everybody", input("", "Hello, World!",
			"X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), ""},
		// developers.line.biz/en/docs/messaging-api/verify-webhook-signature, read 2026-11.
		{"LINE", taxonomy.ProfileLINE, "8c570fa6dd201bb328f1c1eac23a96d8", input("", `{"destination":"U8e742f61d673b39c7fff3cecb7536ef0","events":[]}`,
			"X-Line-Signature", "GhRKmvmHys4Pi8DxkF4+EayaH0OqtJtaZxgTD9fMDLs="), ""},
		// www.twilio.com/docs/usage/webhooks/webhooks-security.
		{"Twilio form", taxonomy.ProfileTwilio, "12345", input(where, form, twilio, "RSOYDt4T1cUTdK1PDd93/VVr8B8="), ""},
		{"Twilio form, fragment configured", taxonomy.ProfileTwilio, "12345", input(where+"#rc=2&rt=1000", form, twilio, "RSOYDt4T1cUTdK1PDd93/VVr8B8="), ""},
		// twilio-go client/request_validator_test.go: a name that begins with another.
		{"Twilio names with a common beginning", taxonomy.ProfileTwilio, "12345",
			input(where, form+"&ReasonConferenceEnded=test&Reason=Participant", twilio, "vOEb5UThFn24KEfnOFLQY2AE5FY="), ""},
		// twilio-python tests/unit/test_request_validator.py, twilio-php RequestValidatorTest.php.
		{"Twilio repeated name", taxonomy.ProfileTwilio, "12345", input(where, "Sid=CA123&SidAccount=AC123&Digits=5678&Digits=1234&Digits=1234", twilio, "IK+Dwps556ElfBT0I3Rgjkr1wJU="), ""},
		{"Twilio JSON", taxonomy.ProfileTwilio, "12345", input(where+"&bodySHA256="+hash, json, twilio, "a9nBmqA0ju/hNViExpshrM61xv4="), ""},
		{"Twilio JSON, another body", taxonomy.ProfileTwilio, "12345", input(where+"&bodySHA256="+hash, json+" ", twilio, "a9nBmqA0ju/hNViExpshrM61xv4="), webhook.SigMismatch},
		// Standard Webhooks reference libraries, webhook_test.
		{"Standard Webhooks", taxonomy.ProfileStandardWebhooks, spec, standard("webhook", specSig), ""},
		{"Standard Webhooks, key without prefix", taxonomy.ProfileStandardWebhooks, spec[6:], standard("webhook", specSig), ""},
		{"Standard Webhooks, several", taxonomy.ProfileStandardWebhooks, spec, standard("webhook",
			"v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= "+specSig), ""},
		{"Svix's own headers", taxonomy.ProfileSvix, spec, standard("svix", specSig), ""},
		{"Svix with plain headers", taxonomy.ProfileSvix, spec, standard("webhook", specSig), ""},
		{"OpenAI", taxonomy.ProfileOpenAI, spec, standard("webhook", specSig), ""},
		{"Replicate", taxonomy.ProfileReplicate, spec, standard("webhook", specSig), ""},
		{"Svix's headers elsewhere", taxonomy.ProfileOpenAI, spec, standard("svix", specSig), webhook.SigMissing},
		{"other version only", taxonomy.ProfileOpenAI, spec, standard("webhook", "v1a,"+specSig[3:]), webhook.AlgRefused},
		{"cut short", taxonomy.ProfileOpenAI, spec, standard("webhook", specSig[:20]), webhook.SigFormat},
		{"joined by a gateway", taxonomy.ProfileOpenAI, spec, standard("webhook", specSig+","+specSig), webhook.SigFormat},
		{"key that is no base64", taxonomy.ProfileOpenAI, "whsec_%", standard("webhook", specSig), webhook.NoSecret},
		{"prefix without key", taxonomy.ProfileOpenAI, "whsec_", standard("webhook", specSig), webhook.NoSecret},
	} {
		if got := reason(scheme(t, c.from), c.in, time.Unix(1614265330, 0), secret.FromString(c.secret)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
