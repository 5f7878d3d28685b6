// Package awssign sends requests to AWS services with a key of the organisation:
// one string ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION, from which each request is
// signed with Signature Version 4. The string itself is never sent.
//
// The signer is the SDK's. It holds derived keys, so each request gets a new one
// and nothing outlives the call. Session tokens are not supported: they expire
// within hours, so they are no credential to store.
//
// Sources: docs.aws.amazon.com, Signature Version 4 and the regional endpoints of
// Polly, Transcribe and Bedrock; read 2026-11.
package awssign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
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

func host(service, region string) string { return service + "." + region + ".amazonaws.com" }

// Hosts are a service's endpoints in all regions that accounts can use without
// opting in, and the opt-in ones that are common.
func Hosts(service string) []string {
	list := regions()
	for i, r := range list {
		list[i] = host(service, r)
	}
	return list
}

func regions() []string {
	return []string{"us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-northeast-1", "ap-northeast-2",
		"ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ca-central-1",
		"ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3",
		"il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1"}
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
		slices.Contains(regions(), c.region)
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
	return func(req *http.Request, key secret.Text) error {
		if t.Now.IsZero() {
			return v.Refuse(op, fault.Internal, "", "internal error, try again later")
		}
		return key.Use(func(b []byte) error {
			c, ok := parse(string(b))
			if !ok {
				return v.Refuse(op, fault.ProviderKeyInvalid, "api_key", "the key must be written ACCESS_KEY_ID:SECRET_ACCESS_KEY:REGION, replace it")
			}
			if h := req.URL.Hostname(); strings.HasSuffix(h, ".amazonaws.com") && h != host(service, c.region) {
				return v.Refuse(op, fault.InvalidRequest, "base_url", "the key is for region "+c.region+"; set the connection's base URL to "+BaseURL(service, c.region))
			}
			return sign(req, c, service, t.Now)
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
