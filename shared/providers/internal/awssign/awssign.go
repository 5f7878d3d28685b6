// Package awssign sends requests to AWS services with a key of the organisation:
// one string ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION, from which each request is
// signed with Signature Version 4. The string itself is never sent.
//
// A region becomes part of a host name only after it was found in a fixed list, so
// no key and no base URL can aim a request at another host ([Aim]). Regions of the
// partitions for China and for governments are not in it.
//
// The signer is the SDK's. It holds derived keys, so each request gets a new one
// and nothing outlives the call. Session tokens are not supported: they expire
// within hours, so they are no credential to store.
//
// Sources: docs.aws.amazon.com, Signature Version 4 and the regional endpoints of
// Polly, Transcribe and Bedrock; the regions of partition aws in botocore 1.44.5;
// read 2026-11.
package awssign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/internal/wire"
	"github.com/latchkey/latchkey/shared/secret"
)

// Key is the key field of a vendor that is called with signed requests.
func Key() providers.KeyField {
	return providers.KeyField{Header: "Authorization", Scheme: "AWS4-HMAC-SHA256", MinLen: 16, MaxLen: 256, Signed: true,
		Form: "ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION", Match: func(key []byte) bool { _, ok := parse(string(key)); return ok }}
}

// DefaultRegion is the region of a vendor's default base URL.
const DefaultRegion = "us-east-1"

// BaseURL is a service's endpoint in a region.
func BaseURL(service, region string) string { return "https://" + host(service, region) }

const domain = ".amazonaws.com"

func host(service, region string) string { return service + "." + region + domain }

// Hosts are a service's endpoints in all regions.
func Hosts(service string) []string {
	list := make([]string, len(regions))
	for i, r := range regions {
		list[i] = host(service, r)
	}
	return list
}

var regions = []string{
	"us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2",
	"ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4",
	"ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2",
	"eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1", "me-south-1",
	"me-west-1", "mx-central-1", "sa-east-1", "sa-west-1",
}

type credential struct {
	id, region string
	secret     secret.Text
}

// parse takes the three parts apart. The alphabets are those of IAM: an ID of
// upper-case letters and digits, a secret in base64.
func parse(s string) (c credential, ok bool) {
	parts := strings.Split(s, ":")
	if len(parts) != 3 {
		return c, false
	}
	c = credential{id: parts[0], region: parts[2], secret: secret.FromString(parts[1])}
	return c, len(c.id) >= 16 && strings.Trim(c.id, upper) == "" && c.secret.Len() >= 16 && strings.Trim(parts[1], base64) == "" &&
		slices.Contains(regions, c.region)
}

// Form says what a key is.
type Form uint8

// Forms of keys. A bearer key has no colon, so it cannot be taken for a
// credential, nor a mistyped credential for a bearer key and be sent.
const (
	Malformed Form = iota
	Credential
	Bearer
)

// FormOf says what a key is by its form; an empty key is Malformed.
func FormOf(key secret.Text) (f Form) {
	_ = key.Use(func(b []byte) error {
		if _, ok := parse(string(b)); ok {
			f = Credential
		} else if len(b) > 0 && bytes.IndexByte(b, ':') < 0 {
			f = Bearer
		}
		return nil
	})
	return f
}

// Service is what requests are signed for. Label is the first label of its hosts,
// Name its name in signatures.
type Service struct{ Label, Name string }

// Aim returns t with the base URL of service label in the region that applies: that
// of a credential, else the one that the base URL names. A base URL names a region
// as the host of one of labels in it; fallback is the one that stands for no choice.
// A base URL outside AWS stays as it is: who may use one is decided before the call.
//
// It fails with invalid_request and param base_url if credential and base URL name
// two regions, or if the base URL is another host of AWS.
func Aim(v *wire.Vendor, op string, t model.Target, label string, labels []string, fallback string) (model.Target, error) {
	u, err := url.Parse(t.BaseURL)
	if err != nil {
		return t, nil
	}
	named, ok := strings.CutSuffix(strings.ToLower(u.Hostname()), domain)
	if !ok {
		return t, nil
	}
	first, region, _ := strings.Cut(named, ".")
	if !slices.Contains(labels, first) || !slices.Contains(regions, region) {
		return t, v.Refuse(op, fault.InvalidRequest, "base_url", "the base URL is no endpoint of this provider, leave it out or use "+fallback)
	}
	_ = t.Key.Use(func(b []byte) error {
		if c, ok := parse(string(b)); ok && c.region != region {
			if t.BaseURL != fallback {
				err = v.Refuse(op, fault.InvalidRequest, "base_url", "the key is for region "+c.region+" and the base URL for "+region+"; leave the base URL out")
			}
			region = c.region
		}
		return nil
	})
	t.BaseURL = BaseURL(label, region)
	return t, err
}

const (
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	base64 = upper + "abcdefghijklmnopqrstuvwxyz+/="
)

// Sign returns the signing step of a request ([wire.Request.Sign]) to a service.
// It fails with invalid_request if the key is for another region than the host,
// with internal if the target has no time, and with provider_key_invalid if the
// key is no credential.
func Sign(v *wire.Vendor, op, service string, t model.Target) func(*http.Request, secret.Text) error {
	return SignFor(v, op, Service{service, service}, t)
}

// SignFor is [Sign] for a service whose hosts have another name than its
// signatures.
func SignFor(v *wire.Vendor, op string, service Service, t model.Target) func(*http.Request, secret.Text) error {
	return func(req *http.Request, key secret.Text) error {
		if t.Now.IsZero() {
			return v.Refuse(op, fault.Internal, "", "internal error, try again later")
		}
		return key.Use(func(b []byte) error {
			c, ok := parse(string(b))
			if !ok {
				return v.Refuse(op, fault.ProviderKeyInvalid, "api_key", "the key must be written ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION, replace it")
			}
			if h := req.URL.Hostname(); strings.HasSuffix(h, domain) && h != host(service.Label, c.region) {
				return v.Refuse(op, fault.InvalidRequest, "base_url", "the key is for region "+c.region+"; set the connection's base URL to "+BaseURL(service.Label, c.region))
			}
			return sign(req, c, service.Name, t.Now)
		})
	}
}

func sign(req *http.Request, c credential, service string, now time.Time) error {
	hash := sha256.New()
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return err
		}
		hash.Write(body)
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return c.secret.Use(func(b []byte) error {
		return v4.NewSigner().SignHTTP(context.WithoutCancel(req.Context()), aws.Credentials{AccessKeyID: c.id, SecretAccessKey: string(b)}, req,
			hex.EncodeToString(hash.Sum(nil)), service, c.region, now.UTC())
	})
}

// Errors maps what the services' front end answers (Common errors of the API
// references, read 2026-11); the type stands in a header or in the body. Throttling and refused
// access can come as 400.
func Errors() wire.Errors {
	return wire.Errors{
		{Code: "unrecognizedclientexception", Fault: fault.ProviderKeyInvalid},
		{Code: "invalidclienttokenid", Fault: fault.ProviderKeyInvalid},
		{Code: "invalidsignatureexception", Fault: fault.ProviderKeyInvalid},
		{Code: "signaturedoesnotmatch", Fault: fault.ProviderKeyInvalid},
		{Code: "accessdeniedexception", Fault: fault.ProviderKeyInvalid},
		{Code: "optinrequired", Fault: fault.ProviderKeyInvalid},
		{Code: "throttlingexception", Fault: fault.ProviderRateLimited},
		{Code: "limitexceededexception", Fault: fault.ProviderRateLimited},
		{Code: "servicequotaexceededexception", Fault: fault.ProviderQuotaExhausted},
		{Code: "serviceunavailableexception", Fault: fault.ProviderOverloaded},
	}
}
