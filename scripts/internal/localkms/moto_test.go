package localkms_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/localkms"
)

// env is what a contract case works with: two symmetric keys, an HMAC key, and a
// fresh blob of "hello" under the first with encctx.
type env struct {
	c         *kms.Client
	ctx       context.Context
	a, b, mac string
	blob      []byte
}

func (e env) decrypt(keyID string, m map[string]string) string {
	in := &kms.DecryptInput{CiphertextBlob: e.blob, EncryptionContext: m}
	if keyID != "" {
		in.KeyId = &keyID
	}
	out, err := e.c.Decrypt(e.ctx, in)
	if err == nil && string(out.Plaintext) != "hello" {
		return "wrong plaintext"
	}
	return code(err)
}

func (e env) encrypt(keyID string, n int) string {
	_, err := e.c.Encrypt(e.ctx, &kms.EncryptInput{KeyId: &keyID, Plaintext: bytes.Repeat([]byte("x"), n)})
	return code(err)
}

func (e env) generateMac(keyID string, n int) string {
	_, err := e.c.GenerateMac(e.ctx, &kms.GenerateMacInput{KeyId: &keyID, Message: bytes.Repeat([]byte("x"), n), MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	return code(err)
}

func (e env) reEncrypt(to string, source, destination map[string]string) (*kms.ReEncryptOutput, string) {
	out, err := e.c.ReEncrypt(e.ctx, &kms.ReEncryptInput{
		CiphertextBlob: e.blob, SourceKeyId: &e.a, DestinationKeyId: &to,
		SourceEncryptionContext: source, DestinationEncryptionContext: destination,
	})
	return out, code(err)
}

func (e env) disable() {
	_, _ = e.c.DisableKey(e.ctx, &kms.DisableKeyInput{KeyId: &e.a}) // the case shows whether it worked
}

func (e env) scheduleDeletion() {
	_, _ = e.c.ScheduleKeyDeletion(e.ctx, &kms.ScheduleKeyDeletionInput{KeyId: &e.a, PendingWindowInDays: aws.Int32(7)})
}

// contract is the behaviour both services are held to. want follows the AWS
// documentation; moto, when set, is what moto 5.2.1 does instead, and why says
// what that means.
var contract = []struct {
	name, want, moto, why string
	run                   func(env) string
	own                   bool // changes its key, so it gets one of its own
}{
	{name: "decrypt without key id", want: "ok", run: func(e env) string { return e.decrypt("", encctx) }},
	{name: "decrypt with key id", want: "ok", run: func(e env) string { return e.decrypt(e.a, encctx) }},
	{name: "decrypt, context missing", want: "InvalidCiphertextException", run: func(e env) string { return e.decrypt("", nil) }},
	{name: "decrypt, value changed", want: "InvalidCiphertextException", run: func(e env) string {
		return e.decrypt("", map[string]string{"app": "latchkey", "stage": "local", "org": "other", "cls": "ai_key"})
	}},
	{name: "decrypt, case of a key changed", want: "InvalidCiphertextException", run: func(e env) string {
		return e.decrypt("", map[string]string{"app": "latchkey", "stage": "local", "Org": "acme", "cls": "ai_key"})
	}},
	{name: "decrypt, superset", want: "InvalidCiphertextException", run: func(e env) string {
		return e.decrypt("", map[string]string{"app": "latchkey", "stage": "local", "org": "acme", "cls": "ai_key", "x": "y"})
	}},
	{name: "decrypt, damaged", want: "InvalidCiphertextException", run: func(e env) string {
		e.blob = bytes.Clone(e.blob)
		e.blob[len(e.blob)-1] ^= 1
		return e.decrypt("", encctx)
	}},
	{name: "decrypt, wrong key", want: "IncorrectKeyException", moto: "AccessDeniedException",
		why: "moto has no IncorrectKeyException", run: func(e env) string { return e.decrypt(e.b, encctx) }},
	{name: "decrypt, key disabled", own: true, want: "DisabledException", moto: "ok",
		why: "moto decrypts with a disabled key", run: func(e env) string {
			e.disable()
			return e.decrypt("", encctx)
		}},
	{name: "decrypt, key pending deletion", own: true, want: "KMSInvalidStateException", moto: "ok",
		why: "moto decrypts with a key pending deletion", run: func(e env) string {
			e.scheduleDeletion()
			return e.decrypt("", encctx)
		}},
	{name: "encrypt 4096 bytes", want: "ok", run: func(e env) string { return e.encrypt(e.a, 4096) }},
	{name: "encrypt 4097 bytes", want: "ValidationException", run: func(e env) string { return e.encrypt(e.a, 4097) }},
	{name: "encrypt nothing", want: "ValidationException", run: func(e env) string { return e.encrypt(e.a, 0) }},
	{name: "encrypt, unknown key", want: "NotFoundException", run: func(e env) string { return e.encrypt("01234567-89ab-8cde-8f01-23456789abcd", 1) }},
	{name: "encrypt, unknown alias", want: "NotFoundException", run: func(e env) string { return e.encrypt("alias/none", 1) }},
	{name: "encrypt with an HMAC key", want: "InvalidKeyUsageException", moto: "ok",
		why: "moto encrypts with an HMAC key", run: func(e env) string { return e.encrypt(e.mac, 1) }},
	{name: "data key", want: "ok 32", run: func(e env) string {
		out, err := e.c.GenerateDataKey(e.ctx, &kms.GenerateDataKeyInput{KeyId: &e.a, KeySpec: types.DataKeySpecAes256, EncryptionContext: encctx})
		if err != nil {
			return code(err)
		}
		back, err := e.c.Decrypt(e.ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: encctx})
		if err != nil || !bytes.Equal(back.Plaintext, out.Plaintext) || len(out.Plaintext) != 32 {
			return "not the same key: " + code(err)
		}
		return "ok 32"
	}},
	{name: "data key, spec and number", want: "ValidationException", run: func(e env) string {
		_, err := e.c.GenerateDataKey(e.ctx, &kms.GenerateDataKeyInput{KeyId: &e.a, KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(16)})
		return code(err)
	}},
	{name: "data key, neither", want: "ValidationException", run: func(e env) string {
		_, err := e.c.GenerateDataKey(e.ctx, &kms.GenerateDataKeyInput{KeyId: &e.a})
		return code(err)
	}},
	{name: "data key, 1025 bytes", want: "ValidationException", run: func(e env) string {
		_, err := e.c.GenerateDataKey(e.ctx, &kms.GenerateDataKeyInput{KeyId: &e.a, NumberOfBytes: aws.Int32(1025)})
		return code(err)
	}},
	{name: "material id is told", want: "64", moto: "none",
		why: "moto reports no KeyMaterialId", run: func(e env) string {
			out, err := e.c.Decrypt(e.ctx, &kms.DecryptInput{CiphertextBlob: e.blob, EncryptionContext: encctx})
			if err != nil || out.KeyMaterialId == nil {
				return "none"
			}
			return map[bool]string{true: "64", false: "another length"}[len(*out.KeyMaterialId) == 64]
		}},
	{name: "re-encrypt, context only", want: "ok", run: func(e env) string {
		out, outcome := e.reEncrypt(e.a, encctx, map[string]string{"org": "new"})
		if out == nil {
			return outcome
		}
		e.blob = out.CiphertextBlob
		return e.decrypt(e.a, map[string]string{"org": "new"})
	}},
	{name: "re-encrypt, other key", want: "ok", run: func(e env) string {
		out, outcome := e.reEncrypt(e.b, encctx, encctx)
		if out == nil {
			return outcome
		}
		e.blob = out.CiphertextBlob
		return e.decrypt(e.b, encctx)
	}},
	{name: "re-encrypt, wrong source context", want: "InvalidCiphertextException", run: func(e env) string {
		_, outcome := e.reEncrypt(e.b, nil, encctx)
		return outcome
	}},
	{name: "re-encrypt to an unknown key", want: "NotFoundException", run: func(e env) string {
		_, outcome := e.reEncrypt("alias/none", encctx, encctx)
		return outcome
	}},
	{name: "MAC is checked", want: "KMSInvalidMacException", run: func(e env) string {
		_, err := e.c.VerifyMac(e.ctx, &kms.VerifyMacInput{KeyId: &e.mac, Message: []byte("m"), Mac: make([]byte, 32), MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
		return code(err)
	}},
	{name: "MAC of 4096 bytes", want: "ok", run: func(e env) string { return e.generateMac(e.mac, 4096) }},
	{name: "MAC of 4097 bytes", want: "ValidationException", moto: "ok", why: "moto does not bound the message", run: func(e env) string { return e.generateMac(e.mac, 4097) }},
	{name: "MAC with an encryption key", want: "InvalidKeyUsageException", run: func(e env) string { return e.generateMac(e.a, 1) }},
	{name: "random", want: "ok", run: func(e env) string {
		_, err := e.c.GenerateRandom(e.ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1024)})
		return code(err)
	}},
	{name: "random, too many", want: "ValidationException", run: func(e env) string {
		_, err := e.c.GenerateRandom(e.ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(1025)})
		return code(err)
	}},
	{name: "describe a disabled key", own: true, want: "Disabled", run: func(e env) string {
		e.disable()
		out, err := e.c.DescribeKey(e.ctx, &kms.DescribeKeyInput{KeyId: &e.a})
		if err != nil {
			return code(err)
		}
		return string(out.KeyMetadata.KeyState)
	}},
	{name: "a rescued key is disabled", own: true, want: "Disabled", run: func(e env) string {
		e.scheduleDeletion()
		if _, err := e.c.CancelKeyDeletion(e.ctx, &kms.CancelKeyDeletionInput{KeyId: &e.a}); err != nil {
			return code(err)
		}
		out, err := e.c.DescribeKey(e.ctx, &kms.DescribeKeyInput{KeyId: &e.a})
		if err != nil {
			return code(err)
		}
		return string(out.KeyMetadata.KeyState)
	}},
	{name: "rotation keeps old blobs readable", own: true, want: "ok", run: func(e env) string {
		if _, err := e.c.RotateKeyOnDemand(e.ctx, &kms.RotateKeyOnDemandInput{KeyId: &e.a}); err != nil {
			return code(err)
		}
		return e.decrypt("", encctx)
	}},
	{name: "decrypt by alias", own: true, want: "ok", run: func(e env) string {
		name := "alias/contract-" + e.a
		if _, err := e.c.CreateAlias(e.ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &e.a}); err != nil {
			return code(err)
		}
		return e.decrypt(name, encctx)
	}},
	{name: "alias twice", own: true, want: "AlreadyExistsException", run: func(e env) string {
		name := "alias/contract-" + e.a
		_, _ = e.c.CreateAlias(e.ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &e.a})
		_, err := e.c.CreateAlias(e.ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &e.a})
		return code(err)
	}},
	{name: "dry run", want: "DryRunOperationException", moto: "ok", why: "moto does not know DryRun", run: func(e env) string {
		_, err := e.c.Decrypt(e.ctx, &kms.DecryptInput{CiphertextBlob: e.blob, EncryptionContext: encctx, DryRun: aws.Bool(true)})
		return code(err)
	}},
}

// newEnv makes the blob for one attempt at a case, and the keys that with does
// not have yet. Making keys is slow in moto, so cases share them.
func newEnv(c *kms.Client, with env) (env, error) {
	e := with
	e.c, e.ctx = c, context.Background()
	create := func(id *string, spec types.KeySpec, usage types.KeyUsageType) error {
		if *id != "" {
			return nil
		}
		out, err := c.CreateKey(e.ctx, &kms.CreateKeyInput{KeySpec: spec, KeyUsage: usage})
		if err == nil {
			*id = *out.KeyMetadata.KeyId
		}
		return err
	}
	if err := errors.Join(
		create(&e.a, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt),
		create(&e.b, types.KeySpecSymmetricDefault, types.KeyUsageTypeEncryptDecrypt),
		create(&e.mac, types.KeySpecHmac256, types.KeyUsageTypeGenerateVerifyMac),
	); err != nil {
		return e, err
	}
	out, err := c.Encrypt(e.ctx, &kms.EncryptInput{KeyId: &e.a, Plaintext: []byte("hello"), EncryptionContext: encctx})
	if err != nil {
		return e, err
	}
	e.blob = out.CiphertextBlob
	return e, nil
}

// watched is an HTTP client that reads each answer whole and remembers whether
// one was lost.
type watched struct{ lost bool }

// Do implements the SDK's HTTPClient.
func (w *watched) Do(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.lost = true
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // read above
	if err != nil {
		w.lost = true
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, nil
}

// runContract runs every case against one service. moto's
// development server now and then loses a connection on a busy machine: a case
// that met that is begun anew, at most three times.
func runContract(t *testing.T, url string, moto bool) {
	var shared env
	for _, tc := range contract {
		t.Run(tc.name, func(t *testing.T) {
			want := tc.want
			if moto && tc.moto != "" {
				want = tc.moto
			}
			got := ""
			for range 3 {
				w := &watched{}
				with := shared
				if tc.own {
					with.a = ""
				}
				e, err := newEnv(kms.New(client(url, admin).Options(), func(o *kms.Options) { o.HTTPClient = w }), with)
				if got = code(err); err == nil {
					if !tc.own {
						shared = e
					}
					got = tc.run(e)
				}
				if !moto || !w.lost {
					break
				}
			}
			require.Equal(t, want, got, tc.why)
		})
	}
}

func TestContractHere(t *testing.T) {
	_, url := start(t, localkms.Config{})
	runContract(t, url, false)
}

// TestContractMoto runs the same cases against moto, an implementation by other
// people. Where it differs on purpose of the table, the difference is data.
func TestContractMoto(t *testing.T) {
	url := os.Getenv("LATCHKEY_TEST_MOTO_URL")
	if url == "" {
		t.Skip("LATCHKEY_TEST_MOTO_URL is not set; ./scripts/test starts moto and sets it")
	}
	runContract(t, url, true)
}
