package localkms_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/clock"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
	"github.com/latchkey/latchkey/scripts/internal/localkms"
)

const admin = "AKIDADMIN"

// client returns an SDK client that makes one attempt per call.
func client(url, accessKey string) *kms.Client {
	return kms.New(kms.Options{
		BaseEndpoint: aws.String(url), Region: "us-east-1", Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	})
}

func start(t *testing.T, cfg localkms.Config) (*localkms.Server, string) {
	t.Helper()
	cfg.Admin = admin
	s, err := localkms.New(cfg)
	require.NoError(t, err)
	ts := httptest.NewServer(s)
	t.Cleanup(ts.Close)
	return s, ts.URL
}

// code is the API error code of err, "ok" for nil.
func code(err error) string {
	if err == nil {
		return "ok"
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return "not an API error: " + err.Error()
}

var encctx = map[string]string{"app": "latchkey", "stage": "local", "org": "acme", "cls": "ai_key"}

func TestEnvelope(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/latchkey-vault", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()

	dk, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256, EncryptionContext: encctx})
	require.NoError(t, err)
	require.Len(t, dk.Plaintext, 32)
	require.Regexp(t, "^[0-9a-f]{64}$", *dk.KeyMaterialId)
	require.Equal(t, arn, *dk.KeyId)
	require.NotContains(t, string(dk.CiphertextBlob), string(dk.Plaintext))

	out, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: dk.CiphertextBlob, EncryptionContext: encctx})
	require.NoError(t, err)
	require.Equal(t, dk.Plaintext, out.Plaintext)
	require.Equal(t, arn, *out.KeyId)
	require.Equal(t, *dk.KeyMaterialId, *out.KeyMaterialId)
	require.Equal(t, types.EncryptionAlgorithmSpecSymmetricDefault, out.EncryptionAlgorithm)

	out, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: dk.CiphertextBlob, EncryptionContext: encctx, KeyId: aws.String("alias/latchkey-vault")})
	require.NoError(t, err)
	require.Equal(t, dk.Plaintext, out.Plaintext)
}

func TestContextIsExact(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	seal := func(m map[string]string) []byte {
		out, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x"), EncryptionContext: m})
		require.NoError(t, err)
		return out.CiphertextBlob
	}
	// The pairs would be equal under a digest without lengths or without order.
	for name, pair := range map[string][2]map[string]string{
		"value":          {{"a": "b"}, {"a": "c"}},
		"case of key":    {{"Org": "b"}, {"org": "b"}},
		"case of value":  {{"org": "B"}, {"org": "b"}},
		"missing":        {{"a": "b"}, nil},
		"superset":       {{"a": "b"}, {"a": "b", "c": "d"}},
		"moved boundary": {{"ab": "c"}, {"a": "bc"}},
		"swapped":        {{"a": "b"}, {"b": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			blob := seal(pair[0])
			_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: pair[1]})
			var bad *types.InvalidCiphertextException
			require.ErrorAs(t, err, &bad)
			_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: pair[0]})
			require.NoError(t, err)
		})
	}
}

func TestEveryBitCounts(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	enc, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("secret"), EncryptionContext: encctx})
	require.NoError(t, err)
	for i := range enc.CiphertextBlob {
		damaged := bytes.Clone(enc.CiphertextBlob)
		damaged[i] ^= 1
		_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: damaged, EncryptionContext: encctx, KeyId: &arn})
		want := "InvalidCiphertextException"
		if i >= 4 && i < 20 { // the key id in the head: the blob then names another key
			want = "IncorrectKeyException"
		}
		require.Equal(t, want, code(err), "byte %d", i)
	}
	for _, n := range []int{1, 20, 79, len(enc.CiphertextBlob) - 1} {
		_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob[:n], EncryptionContext: encctx})
		require.Equal(t, "InvalidCiphertextException", code(err), "length %d", n)
	}
}

func TestKeyStates(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	enc, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
	require.NoError(t, err)
	decrypt := func() error {
		_, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob})
		return err
	}
	_, err = c.DisableKey(ctx, &kms.DisableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	var disabled *types.DisabledException
	require.ErrorAs(t, decrypt(), &disabled)
	_, err = c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256})
	require.ErrorAs(t, err, &disabled)
	_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
	require.ErrorAs(t, err, &disabled)

	_, err = c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn})
	require.NoError(t, err)
	require.NoError(t, decrypt())

	del, err := c.ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: &arn, PendingWindowInDays: aws.Int32(7)})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().AddDate(0, 0, 7), *del.DeletionDate, time.Minute)
	var state *types.KMSInvalidStateException
	require.ErrorAs(t, decrypt(), &state)
	_, err = c.EnableKey(ctx, &kms.EnableKeyInput{KeyId: &arn})
	require.ErrorAs(t, err, &state)
	desc, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	require.NoError(t, err)
	require.Equal(t, types.KeyStatePendingDeletion, desc.KeyMetadata.KeyState)
	require.NotNil(t, desc.KeyMetadata.DeletionDate)

	_, err = c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn})
	require.NoError(t, err)
	require.ErrorAs(t, decrypt(), &disabled) // rescued keys are disabled
	_, err = c.CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: &arn})
	require.ErrorAs(t, err, &state)
}

func TestRotationKeepsOldMaterial(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	gen := func() *kms.GenerateDataKeyOutput {
		out, err := c.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256, EncryptionContext: encctx})
		require.NoError(t, err)
		return out
	}
	before := gen()
	for range 25 {
		_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
		require.NoError(t, err)
	}
	_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
	var limit *types.LimitExceededException
	require.ErrorAs(t, err, &limit)
	after := gen()
	require.NotEqual(t, *before.KeyMaterialId, *after.KeyMaterialId)
	for _, g := range []*kms.GenerateDataKeyOutput{before, after} {
		out, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: g.CiphertextBlob, EncryptionContext: encctx})
		require.NoError(t, err)
		require.Equal(t, g.Plaintext, out.Plaintext)
		require.Equal(t, *g.KeyMaterialId, *out.KeyMaterialId)
	}
	re, err := c.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: before.CiphertextBlob, SourceKeyId: &arn, DestinationKeyId: &arn,
		SourceEncryptionContext: encctx, DestinationEncryptionContext: map[string]string{"org": "other"},
	})
	require.NoError(t, err)
	require.Equal(t, *before.KeyMaterialId, *re.SourceKeyMaterialId)
	require.Equal(t, *after.KeyMaterialId, *re.DestinationKeyMaterialId)
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: re.CiphertextBlob, EncryptionContext: encctx})
	require.Equal(t, "InvalidCiphertextException", code(err))
	out, err := c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: re.CiphertextBlob, EncryptionContext: map[string]string{"org": "other"}})
	require.NoError(t, err)
	require.Equal(t, before.Plaintext, out.Plaintext)
}

func TestPolicyPerPrincipal(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/vault", localkms.Symmetric)
	require.NoError(t, err)
	other, err := s.EnsureKey("alias/other", localkms.Symmetric)
	require.NoError(t, err)
	mac, err := s.EnsureKey("alias/fp", localkms.HMAC256)
	require.NoError(t, err)
	bound := map[string][]string{"app": {"latchkey"}, "stage": {"local"}, "cls": {"ai_key"}}
	s.SetPolicy(localkms.Policy{
		"AKIDINVOKE":  {{Actions: []string{"kms:Decrypt"}, Keys: []string{arn}, ContextEquals: bound, RequireContext: []string{"org"}}},
		"AKIDCONSOLE": {{Actions: []string{"kms:GenerateDataKey"}, Keys: []string{arn}}, {Actions: []string{"kms:GenerateMac"}, Keys: []string{mac}}},
		"AKIDSWEEP":   {{Actions: []string{"kms:ReEncryptFrom"}, Keys: []string{arn, other}}, {Actions: []string{"kms:ReEncryptTo"}, Keys: []string{arn}}},
	})
	ctx := context.Background()
	adm := client(url, admin)
	seal := func(m map[string]string) []byte {
		out, err := adm.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x"), EncryptionContext: m})
		require.NoError(t, err)
		return out.CiphertextBlob
	}
	with := func(k, v string) map[string]string {
		m := map[string]string{}
		for a, b := range encctx {
			m[a] = b
		}
		if v == "" {
			delete(m, k)
		} else {
			m[k] = v
		}
		return m
	}
	for name, tc := range map[string]struct {
		who  string
		ctx  map[string]string
		want string
	}{
		"own class":        {"AKIDINVOKE", encctx, "ok"},
		"other class":      {"AKIDINVOKE", with("cls", "channel_send"), "AccessDeniedException"},
		"no class":         {"AKIDINVOKE", with("cls", ""), "AccessDeniedException"},
		"no org":           {"AKIDINVOKE", with("org", ""), "AccessDeniedException"},
		"other stage":      {"AKIDINVOKE", with("stage", "prod"), "AccessDeniedException"},
		"no context":       {"AKIDINVOKE", nil, "AccessDeniedException"},
		"no such action":   {"AKIDCONSOLE", encctx, "AccessDeniedException"},
		"unknown caller":   {"AKIDNOBODY", encctx, "AccessDeniedException"},
		"admin, any class": {admin, with("cls", "integration"), "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := client(url, tc.who).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: seal(tc.ctx), EncryptionContext: tc.ctx})
			require.Equal(t, tc.want, code(err))
		})
	}
	console := client(url, "AKIDCONSOLE")
	_, err = console.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: &mac, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	require.NoError(t, err)
	_, err = console.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &other, KeySpec: types.DataKeySpecAes256})
	require.Equal(t, "AccessDeniedException", code(err))

	// ReEncrypt needs From on the source and To on the destination.
	sweep := client(url, "AKIDSWEEP")
	_, err = sweep.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: seal(nil), SourceKeyId: &arn, DestinationKeyId: &arn})
	require.NoError(t, err)
	_, err = sweep.ReEncrypt(ctx, &kms.ReEncryptInput{CiphertextBlob: seal(nil), SourceKeyId: &arn, DestinationKeyId: &other})
	require.Equal(t, "AccessDeniedException", code(err))

	last := s.Denials()[len(s.Denials())-1]
	require.Equal(t, "AKIDSWEEP", last.Principal)
	require.Equal(t, "kms:ReEncryptTo", last.Action)
	require.Equal(t, other, last.KeyARN)
	require.Equal(t, 2, s.Calls()[awswire.Call{Principal: "AKIDSWEEP", Operation: "ReEncrypt"}])
}

func TestDryRunProvesPermissions(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	s.SetPolicy(localkms.Policy{"AKIDINVOKE": {{Actions: []string{"kms:Decrypt"}, Keys: []string{arn}}}})
	ctx := context.Background()
	dry := func(who string) error {
		_, err := client(url, who).Decrypt(ctx, &kms.DecryptInput{
			KeyId: &arn, DryRun: aws.Bool(true), DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext},
		})
		return err
	}
	var would *types.DryRunOperationException
	require.ErrorAs(t, dry("AKIDINVOKE"), &would)
	require.Equal(t, "AccessDeniedException", code(dry("AKIDSETTLE")))
	_, err = client(url, admin).Decrypt(ctx, &kms.DecryptInput{
		DryRun: aws.Bool(true), DryRunModifiers: []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext},
	})
	require.Equal(t, "ValidationException", code(err), "without a ciphertext the key must be named")
	_, err = client(url, admin).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256, DryRun: aws.Bool(true)})
	require.ErrorAs(t, err, &would)
}

func TestMac(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/fp", localkms.HMAC256)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	out, err := c.GenerateMac(ctx, &kms.GenerateMacInput{KeyId: &arn, Message: []byte("m"), MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	require.NoError(t, err)
	require.Len(t, out.Mac, 32)
	v, err := c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: &arn, Message: []byte("m"), Mac: out.Mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	require.NoError(t, err)
	require.True(t, v.MacValid)
	_, err = c.VerifyMac(ctx, &kms.VerifyMacInput{KeyId: &arn, Message: []byte("n"), Mac: out.Mac, MacAlgorithm: types.MacAlgorithmSpecHmacSha256})
	var wrong *types.KMSInvalidMacException
	require.ErrorAs(t, err, &wrong)
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
	var usage *types.InvalidKeyUsageException
	require.ErrorAs(t, err, &usage)
	_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
	var unsupported *types.UnsupportedOperationException
	require.ErrorAs(t, err, &unsupported)
}

func TestStateSurvivesAndIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kms.json")
	s, url := start(t, localkms.Config{Path: path})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	enc, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("keep"), EncryptionContext: encctx})
	require.NoError(t, err)
	_, err = c.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: &arn})
	require.NoError(t, err)
	rotated, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	s2, url2 := start(t, localkms.Config{Path: path})
	again, err := s2.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	require.Equal(t, arn, again)
	out, err := client(url2, admin).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: encctx})
	require.NoError(t, err)
	require.Equal(t, "keep", string(out.Plaintext))
	loaded, err := client(url2, admin).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &arn})
	require.NoError(t, err)
	require.Equal(t, *rotated.KeyMetadata.CurrentKeyMaterialId, *loaded.KeyMetadata.CurrentKeyMaterialId, "the rotation is on disk")
	require.NotEqual(t, *out.KeyMaterialId, *loaded.KeyMetadata.CurrentKeyMaterialId)
	_, err = s2.EnsureKey("alias/k", localkms.HMAC256)
	require.ErrorContains(t, err, "exists with spec SYMMETRIC_DEFAULT")

	// The ARN follows from the alias alone, the material does not.
	fresh, url3 := start(t, localkms.Config{})
	same, err := fresh.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	require.Equal(t, arn, same)
	_, err = client(url3, admin).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: encctx})
	require.Equal(t, "InvalidCiphertextException", code(err))

	require.NoError(t, os.WriteFile(path, []byte(`{"version":1,"keys":`), 0o600))
	_, err = localkms.New(localkms.Config{Path: path})
	require.ErrorContains(t, err, "damaged")
}

func TestFaultsAndLog(t *testing.T) {
	faults := localfaults.NewTable(map[string]string{"AKIDINVOKE": "invoke"})
	var mu sync.Mutex
	var lines []localkms.Access
	logged := func() []localkms.Access {
		mu.Lock()
		defer mu.Unlock()
		return append([]localkms.Access(nil), lines...)
	}
	clk := new(clock.Clock)
	clk.SetOffset(48 * time.Hour)
	s, url := start(t, localkms.Config{Faults: faults, Clock: clk, Log: func(a localkms.Access) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, a)
	}})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	s.SetPolicy(localkms.Policy{"AKIDINVOKE": {{Actions: []string{"kms:*"}, Keys: []string{"*"}}}})
	ctx := context.Background()
	call := func(who string) error {
		_, err := client(url, who).GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256, EncryptionContext: encctx})
		return err
	}
	for kind, want := range map[string]string{
		localfaults.Throttle: "ThrottlingException", localfaults.AccessDenied: "AccessDeniedException",
		localfaults.Disabled: "DisabledException", localfaults.Unavailable: "ServiceUnavailable",
	} {
		require.NoError(t, faults.Add(localfaults.Fault{Service: "kms", Operation: "GenerateDataKey", Function: "invoke", Error: kind, Count: 1}))
		require.NoError(t, call(admin), "another function is not hit")
		require.Equal(t, want, code(call("AKIDINVOKE")))
		require.NoError(t, call("AKIDINVOKE"), "the count is used up")
	}
	require.NoError(t, faults.Add(localfaults.Fault{Service: "kms", Error: localfaults.TimeoutAfterCommit, Count: 1}))
	before := len(logged())
	err = call("AKIDINVOKE")
	require.Error(t, err)
	var api smithy.APIError
	require.False(t, errors.As(err, &api), "the connection is dropped without an answer: %v", err)
	require.Len(t, logged(), before+1, "the call was run")
	last := logged()[before]
	require.Equal(t, "AKIDINVOKE", last.Principal)
	require.Equal(t, arn, last.KeyARN)
	require.Equal(t, encctx, last.Context)
	require.Empty(t, last.Code)
	require.WithinDuration(t, time.Now().Add(48*time.Hour), last.At, time.Minute)
	require.Equal(t, 9, s.Calls()[awswire.Call{Principal: "AKIDINVOKE", Operation: "GenerateDataKey"}], "faulted calls count")
}

func TestUnknownNames(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	for _, id := range []string{"alias/none", awswire.NewID(), strings.Replace(arn, "us-east-1", "eu-west-1", 1)} {
		_, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &id, Plaintext: []byte("x")})
		var none *types.NotFoundException
		require.ErrorAs(t, err, &none, id)
	}
	_, err = c.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("arn:nonsense"), Plaintext: []byte("x")})
	var bad *types.InvalidArnException
	require.ErrorAs(t, err, &bad)
	// A blob of a key that is not here.
	other, url2 := start(t, localkms.Config{})
	foreign, err := other.EnsureKey("alias/foreign", localkms.Symmetric)
	require.NoError(t, err)
	enc, err := client(url2, admin).Encrypt(ctx, &kms.EncryptInput{KeyId: &foreign, Plaintext: []byte("x")})
	require.NoError(t, err)
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob})
	require.Equal(t, "AccessDeniedException", code(err))
	_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob, KeyId: &arn})
	var incorrect *types.IncorrectKeyException
	require.ErrorAs(t, err, &incorrect)
}

// TestAnyContextRoundTrips: what was sealed opens with an equal context and with
// no other.
func TestAnyContextRoundTrips(t *testing.T) {
	s, url := start(t, localkms.Config{})
	arn, err := s.EnsureKey("alias/k", localkms.Symmetric)
	require.NoError(t, err)
	c, ctx := client(url, admin), context.Background()
	gen := rapid.MapOfN(rapid.StringMatching(`[a-c]{1,3}`), rapid.StringMatching(`[a-c]{0,3}`), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "sealed with"), gen.Draw(t, "opened with")
		enc, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("p"), EncryptionContext: a})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: enc.CiphertextBlob, EncryptionContext: b})
		same := len(a) == len(b)
		for k, v := range a {
			w, ok := b[k]
			same = same && ok && v == w
		}
		if want := map[bool]string{true: "ok", false: "InvalidCiphertextException"}[same]; code(err) != want {
			t.Fatalf("want %s, got %s", want, code(err))
		}
	})
}
