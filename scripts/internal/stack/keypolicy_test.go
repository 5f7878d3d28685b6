package stack

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/localkms"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// keyService is the local key service with the policy of the real stack.
type keyService struct {
	*testing.T
	server        *localkms.Server
	vault, vault2 string // those of the policy
	mac, second   string
}

func newKeyService(t *testing.T) *keyService {
	t.Helper()
	s, err := localkms.New(localkms.Config{Admin: AdminKey})
	if err != nil {
		t.Fatal(err)
	}
	k := &keyService{T: t, server: s}
	for name, key := range map[string]*string{"alias/vault": &k.vault, "alias/vault2": &k.vault2, "alias/second": &k.second} {
		if *key, err = s.EnsureKey(name, localkms.Symmetric); err != nil {
			t.Fatal(err)
		}
	}
	if k.mac, err = s.EnsureKey("alias/mac", localkms.HMAC256); err != nil {
		t.Fatal(err)
	}
	s.SetPolicy(keyPolicy([]string{k.vault, k.vault2}, k.mac))
	return k
}

// call returns the error type of an operation, empty for success, and its answer.
func (k *keyService) call(principal, operation string, body map[string]any) (string, map[string]any) {
	k.Helper()
	doc, err := json.Marshal(body)
	if err != nil {
		k.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(string(doc)))
	r.Header.Set("X-Amz-Target", "TrentService."+operation)
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+principal+"/20261122/us-east-1/kms/aws4_request")
	w := httptest.NewRecorder()
	k.server.ServeHTTP(w, r)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		k.Fatalf("%s: %d %s", operation, w.Code, w.Body)
	}
	if w.Code == http.StatusOK {
		return "", out
	}
	kind, _ := out["__type"].(string)
	return kind[strings.LastIndexByte(kind, '#')+1:], out
}

func contextOf(class taxonomy.CredentialClass) map[string]string {
	return map[string]string{"app": topology.App, "stage": stage, "org": "acme", "provider": "vendor", "cred": "c1", "cls": string(class)}
}

// operations are the ways to use a vault key, with the permissions each needs.
var operations = map[string][]string{
	"Decrypt":                         {"Decrypt"},
	"Encrypt":                         {"Encrypt"},
	"GenerateDataKey":                 {"GenerateDataKey"},
	"GenerateDataKeyWithoutPlaintext": {"GenerateDataKeyWithoutPlaintext"},
	"ReEncrypt":                       {"ReEncryptFrom", "ReEncryptTo"},
	"DescribeKey":                     {"DescribeKey"},
	"DisableKey":                      {"DisableKey"},
	"ScheduleKeyDeletion":             {"ScheduleKeyDeletion"},
	"RotateKeyOnDemand":               {"RotateKeyOnDemand"},
}

// body is a valid request of an operation with a context.
func (k *keyService) body(operation, key string, context map[string]string) map[string]any {
	k.Helper()
	b := map[string]any{"KeyId": key, "EncryptionContext": context}
	if operation == "Decrypt" || operation == "ReEncrypt" {
		if refused, made := k.call(AdminKey, "GenerateDataKey", map[string]any{"KeyId": key, "KeySpec": "AES_256", "EncryptionContext": context}); refused == "" {
			b["CiphertextBlob"] = made["CiphertextBlob"]
		} else {
			k.Fatal(refused)
		}
	}
	switch operation {
	case "Encrypt":
		b["Plaintext"] = []byte("x")
	case "GenerateDataKey", "GenerateDataKeyWithoutPlaintext":
		b["KeySpec"] = "AES_256"
	case "ReEncrypt":
		b = map[string]any{"CiphertextBlob": b["CiphertextBlob"], "SourceKeyId": key, "DestinationKeyId": key,
			"SourceEncryptionContext": context, "DestinationEncryptionContext": context}
	case "DescribeKey", "DisableKey", "ScheduleKeyDeletion", "RotateKeyOnDemand":
		b = map[string]any{"KeyId": key}
	}
	return b
}

// may says what the topology allows.
func may(f topology.Function, class taxonomy.CredentialClass, permissions []string) bool {
	return !slices.ContainsFunc(permissions, func(p string) bool {
		return !slices.ContainsFunc(f.KMS, func(a topology.KeyAccess) bool {
			return slices.Contains(a.Actions, p) && slices.Contains(a.Classes, class)
		})
	})
}

const denied = "AccessDeniedException"

// TestKeyMatrix: every function, every class, every operation is allowed or
// refused as the topology says, and whatever is allowed is refused in any other
// context or under any other key.
func TestKeyMatrix(t *testing.T) {
	k := newKeyService(t)
	allowed := 0
	for _, f := range append(topology.Functions(), topology.Function{Name: "nobody"}) {
		for _, class := range append(taxonomy.CredentialClasses(), "other") {
			for _, operation := range slices.Sorted(maps.Keys(operations)) {
				want := denied
				if may(f, class, operations[operation]) {
					want = ""
					allowed++
				}
				for _, key := range []string{k.vault, k.vault2} {
					if got, _ := k.call(accessKey(f.Name), operation, k.body(operation, key, contextOf(class))); got != want {
						t.Errorf("%s %s of %s under %s: %q, want %q", f.Name, operation, class, key, got, want)
					}
				}
				if want == "" {
					k.wrongPlaces(f.Name, operation, class)
				}
			}
		}
	}
	if allowed < 14 {
		t.Errorf("%d combinations are allowed: the matrix proves nothing", allowed)
	}
}

// wrongPlaces tries what is allowed with everything changed that IAM binds.
func (k *keyService) wrongPlaces(function, operation string, class taxonomy.CredentialClass) {
	k.Helper()
	for what, change := range map[string]func(map[string]string){
		"app": func(c map[string]string) { c["app"] = "other" }, "no app": func(c map[string]string) { delete(c, "app") },
		"stage": func(c map[string]string) { c["stage"] = "prod" }, "no stage": func(c map[string]string) { delete(c, "stage") },
		"no org": func(c map[string]string) { delete(c, "org") }, "no class": func(c map[string]string) { delete(c, "cls") },
		"a further key": func(c map[string]string) { c["more"] = "x" }, "nothing": func(c map[string]string) { clear(c) },
	} {
		context := contextOf(class)
		change(context)
		for _, key := range []string{k.vault, k.vault2} {
			if got, _ := k.call(accessKey(function), operation, k.body(operation, key, context)); got != denied {
				k.Errorf("%s %s of %s with another context (%s) under %s: %q", function, operation, class, what, key, got)
			}
		}
	}
	if got, _ := k.call(accessKey(function), operation, k.body(operation, k.second, contextOf(class))); got != denied {
		k.Errorf("%s %s of %s under another key: %q", function, operation, class, got)
	}
}

// TestMACMatrix: fingerprints are made by those whom the topology lets, and
// nobody can check one against a guess.
func TestMACMatrix(t *testing.T) {
	k := newKeyService(t)
	for _, f := range topology.Functions() {
		want := denied
		if slices.ContainsFunc(f.KMS, func(a topology.KeyAccess) bool {
			return len(a.Classes) == 0 && slices.Contains(a.Actions, "GenerateMac")
		}) {
			want = ""
		}
		body := map[string]any{"KeyId": k.mac, "Message": []byte("x"), "MacAlgorithm": "HMAC_SHA_256"}
		if got, _ := k.call(accessKey(f.Name), "GenerateMac", body); got != want {
			t.Errorf("%s GenerateMac: %q, want %q", f.Name, got, want)
		}
		body["Mac"] = make([]byte, 32)
		if got, _ := k.call(accessKey(f.Name), "VerifyMac", body); got != denied {
			t.Errorf("%s VerifyMac: %q", f.Name, got)
		}
	}
}

// TestTheMatrixIsTheDesigns: the rows that the security promises name, spelled
// out, so that a change of the topology alone does not pass.
func TestTheMatrixIsTheDesigns(t *testing.T) {
	k := newKeyService(t)
	for function, classes := range map[string][]taxonomy.CredentialClass{
		topology.Invoke:  {taxonomy.AIKey},
		topology.STT:     {taxonomy.AIKey, taxonomy.VoiceKey},
		topology.TTS:     {taxonomy.AIKey, taxonomy.VoiceKey},
		topology.Turn:    {taxonomy.AIKey, taxonomy.VoiceKey, taxonomy.ChannelSend, taxonomy.Tool},
		topology.Webhook: {taxonomy.ChannelVerify},
		topology.Billing: {taxonomy.Payment},
		topology.Conform: {taxonomy.AIKey, taxonomy.VoiceKey, taxonomy.ChannelApp},
		topology.Rotate:  taxonomy.CredentialClasses(),
		topology.Console: nil, topology.Settle: nil, topology.Sweep: nil,
	} {
		for _, class := range taxonomy.CredentialClasses() {
			got, _ := k.call(accessKey(function), "Decrypt", k.body("Decrypt", k.vault, contextOf(class)))
			if opened := got == ""; opened != slices.Contains(classes, class) || !opened && got != denied {
				t.Errorf("%s opens %s: %q", function, class, got)
			}
			if slices.Contains(credential.Decryptors(class), function) != (got == "") {
				t.Errorf("%s and %s: the documentation says otherwise", function, class)
			}
		}
	}
}
