package e2e

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
)

// TestAWrongFunctionCannotOpenAKey takes the wrapped data key of a stored
// credential to the running key service as every function in turn. Only the
// functions of its class open it, and they only where it belongs.
func TestAWrongFunctionCannotOpenAKey(t *testing.T) {
	x := newTenant(t, "enterprise", 0)
	c := x.connect(byokKey+"K", nil)
	db, err := dynamo.New(world.Dynamo, world.Tables)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := dynamo.NewVault(db).Load(t.Context(), x.ID, taxonomy.AIKey, c.ID)
	if err != nil || len(stored.Versions) != 1 {
		t.Fatal(len(stored.Versions), err)
	}
	version := stored.Versions[0]
	var openers []string
	for _, f := range topology.Functions() {
		switch code := decryptAs(t, f.Name, version, nil); code {
		case "":
			openers = append(openers, f.Name)
			if code := decryptAs(t, f.Name, version, map[string]string{"org": "another"}); code != "InvalidCiphertextException" {
				t.Errorf("%s for another organisation: %q", f.Name, code)
			}
			want := "AccessDeniedException"
			if f.Name == topology.Rotate { // may open every class, each in its own place
				want = "InvalidCiphertextException"
			}
			if code := decryptAs(t, f.Name, version, map[string]string{"cls": string(taxonomy.Integration)}); code != want {
				t.Errorf("%s for another class: %q", f.Name, code)
			}
		case "AccessDeniedException":
		default:
			t.Errorf("%s: %q", f.Name, code)
		}
	}
	if want := credential.Decryptors(taxonomy.AIKey); !slices.Equal(openers, want) || !slices.Contains(openers, topology.Invoke) ||
		slices.ContainsFunc(openers, func(f string) bool {
			return f == topology.Console || f == topology.Webhook || f == topology.Settle || f == topology.Sweep
		}) {
		t.Errorf("opened by %v, want %v", openers, want)
	}
}

// decryptAs returns the error code of opening the data key as a function, with
// parts of the context changed.
func decryptAs(t *testing.T, function string, v vault.Version, change map[string]string) string {
	t.Helper()
	context := map[string]string{}
	for name, value := range v.Context {
		context[name] = value
	}
	for name, value := range change {
		context[name] = value
	}
	client := kms.New(kms.Options{Region: "us-east-1", BaseEndpoint: aws.String(world.KMSURL),
		Credentials: credentials.NewStaticCredentialsProvider("LOCAL"+strings.ToUpper(function), "local", "")})
	out, err := client.Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: v.Key.Blob, KeyId: &v.Key.KEK, EncryptionContext: context})
	if err == nil {
		clear(out.Plaintext)
		return ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("%s: %v", function, err)
	}
	return api.ErrorCode()
}
