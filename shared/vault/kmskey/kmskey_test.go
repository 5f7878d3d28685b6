package kmskey_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/kmskey"
	"github.com/latchkey/latchkey/shared/vault/kmskey/kmskeytest"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd"

func TestConformance(t *testing.T) {
	vaulttest.Run(t, func(t *testing.T) (vault.Store, vault.KEK) { return vaulttest.NewStore(), kmskeytest.Open(t) })
}

func TestOnlyFullKeyARNs(t *testing.T) {
	client := kmskeytest.Client("http://127.0.0.1:1")
	for name, o := range map[string]kmskey.Options{
		"alias arn":      {Client: client, KeyARNs: []string{"arn:aws:kms:us-east-1:111122223333:alias/latchkey"}, MACKeyARN: arn},
		"alias":          {Client: client, KeyARNs: []string{"alias/latchkey"}, MACKeyARN: arn},
		"key id":         {Client: client, KeyARNs: []string{"1234abcd"}, MACKeyARN: arn},
		"empty":          {Client: client, MACKeyARN: arn},
		"an empty name":  {Client: client, KeyARNs: []string{arn, ""}, MACKeyARN: arn},
		"mac alias":      {Client: client, KeyARNs: []string{arn}, MACKeyARN: "alias/mac"},
		"second alias":   {Client: client, KeyARNs: []string{arn, "alias/old"}, MACKeyARN: arn},
		"no client":      {KeyARNs: []string{arn}, MACKeyARN: arn},
		"other service":  {Client: client, KeyARNs: []string{"arn:aws:s3:us-east-1:111122223333:key/1234abcd"}, MACKeyARN: arn},
		"no account":     {Client: client, KeyARNs: []string{"arn:aws:kms:us-east-1::key/1234abcd"}, MACKeyARN: arn},
		"empty key name": {Client: client, KeyARNs: []string{"arn:aws:kms:us-east-1:111122223333:key/"}, MACKeyARN: arn},
	} {
		if _, err := kmskey.New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := kmskey.New(kmskey.Options{Client: client, KeyARNs: []string{arn}, MACKeyARN: arn}); err != nil {
		t.Error(err)
	}
}

// Every error of the service that the vault's documents list, by operation.
func TestReasons(t *testing.T) {
	srv := kmskeytest.NewServer(t)
	k := srv.Keys(t)
	ctx := context.Background()
	ectx := map[string]string{"org": "o"}
	key, err := k.GenerateDataKey(ctx, k.Keys()[0], ectx)
	if err != nil {
		t.Fatal(err)
	}
	operations := map[string]func() error{
		"GenerateDataKey": func() error { _, err := k.GenerateDataKey(ctx, k.Keys()[0], ectx); return err },
		"Decrypt":         func() error { _, err := k.Decrypt(ctx, key.Wrapped, ectx); return err },
		"ReEncrypt":       func() error { _, err := k.ReEncrypt(ctx, key.Wrapped, k.Keys()[1], ectx); return err },
		"MAC":             func() error { _, _, err := k.MAC(ctx, []byte("m")); return err },
	}
	for code, want := range map[string]vault.Reason{
		"DisabledException":          vault.KeyDisabled,
		"KMSInvalidStateException":   vault.KeyPendingDeletion,
		"NotFoundException":          vault.KeyNotFound,
		"KeyUnavailableException":    vault.KeyUnavailable,
		"InvalidCiphertextException": vault.KeyInvalidCiphertext,
		"IncorrectKeyException":      vault.KeyIncorrect,
		"InvalidGrantTokenException": vault.KeyInvalidGrant,
		"KMSInternalException":       vault.KeyUnavailable,
		"DependencyTimeoutException": vault.KeyUnavailable,
		"AccessDeniedException":      vault.KeyAccessDenied,
		"ThrottlingException":        vault.KeyThrottled,
		"SomethingNewException":      vault.KeyUnexpected,
	} {
		srv.Fail(code)
		for name, call := range operations {
			err := call()
			if vault.ReasonOf(err) != want {
				t.Errorf("%s of %s: %q, want %q", code, name, vault.ReasonOf(err), want)
			}
			if err != nil && strings.Contains(err.Error(), "text of the service") {
				t.Errorf("%s of %s shows the service's text: %v", code, name, err)
			}
		}
	}
	srv.Fail("")
	for name, call := range operations {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := k.Decrypt(gone, key.Wrapped, ectx); vault.ReasonOf(err) != vault.KeyTimeout {
		t.Errorf("cancelled: %q", vault.ReasonOf(err))
	}
}

func TestConnectionRefused(t *testing.T) {
	k, err := kmskey.New(kmskey.Options{Client: kmskeytest.Client("http://127.0.0.1:1"), KeyARNs: []string{arn}, MACKeyARN: arn})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.MAC(context.Background(), []byte("m")); vault.ReasonOf(err) != vault.KeyUnavailable {
		t.Errorf("reason %q (%v)", vault.ReasonOf(err), errors.Unwrap(err))
	}
}

func TestEveryConfiguredKeyUnwrapsAndForeignOnesDoNot(t *testing.T) {
	srv := kmskeytest.NewServer(t)
	old, other := srv.Keys(t), srv.Keys(t)
	ctx, ectx := context.Background(), map[string]string{"org": "o"}
	key, err := old.GenerateDataKey(ctx, old.Keys()[0], ectx)
	if err != nil {
		t.Fatal(err)
	}
	before := srv.Calls("Decrypt")
	if _, err := other.Decrypt(ctx, key.Wrapped, ectx); vault.ReasonOf(err) != vault.KeyIncorrect {
		t.Errorf("a key that is not configured: %q", vault.ReasonOf(err))
	}
	if _, err := other.ReEncrypt(ctx, key.Wrapped, other.Keys()[0], ectx); vault.ReasonOf(err) != vault.KeyIncorrect {
		t.Errorf("a key that is not configured: %q", vault.ReasonOf(err))
	}
	if _, err := old.ReEncrypt(ctx, key.Wrapped, other.Keys()[0], ectx); vault.ReasonOf(err) != vault.KeyIncorrect {
		t.Errorf("to a key that is not configured: %q", vault.ReasonOf(err))
	}
	made := srv.Calls("GenerateDataKey")
	if _, err := old.GenerateDataKey(ctx, other.Keys()[0], ectx); vault.ReasonOf(err) != vault.KeyIncorrect || srv.Calls("GenerateDataKey") != made {
		t.Errorf("a data key under a key that is not configured: %q", vault.ReasonOf(err))
	}
	if srv.Calls("Decrypt") != before || srv.Calls("ReEncrypt") != 0 {
		t.Error("a foreign key was asked for")
	}
	next, err := kmskey.New(kmskey.Options{
		Client: kmskeytest.Client(srv.URL), KeyARNs: []string{other.Keys()[0], old.Keys()[0]}, MACKeyARN: arn,
	})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := next.Decrypt(ctx, key.Wrapped, ectx)
	if err != nil || !bytes.Equal(plain, key.Plain) {
		t.Errorf("retired key: %v", err)
	}
	moved, err := next.ReEncrypt(ctx, key.Wrapped, other.Keys()[0], ectx)
	if err != nil || moved.KEK != other.Keys()[0] || moved.Material == "" {
		t.Fatalf("ReEncrypt: %+v, %v", moved, err)
	}
	if plain, err := other.Decrypt(ctx, moved, ectx); err != nil || !bytes.Equal(plain, key.Plain) {
		t.Errorf("moved key: %v", err)
	}
}

func TestMACLimits(t *testing.T) {
	k := kmskeytest.Open(t)
	ctx := context.Background()
	for n, ok := range map[int]bool{0: false, 1: true, 4096: true, 4097: false} {
		mac, id, err := k.MAC(ctx, make([]byte, n))
		if ok != (err == nil) || ok && (len(mac) != 32 || id == "") {
			t.Errorf("%d bytes: %v, %d bytes of mac", n, err, len(mac))
		}
	}
}

// answers is a service that answers for another key than it was asked for.
type answers struct{ kmskey.API }

func (answers) GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	id := arn + "-other"
	return &kms.GenerateDataKeyOutput{KeyId: &id, Plaintext: make([]byte, 32), CiphertextBlob: []byte("x")}, nil
}

func (answers) Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	id := arn + "-other"
	return &kms.DecryptOutput{KeyId: &id, Plaintext: make([]byte, 32)}, nil
}

func (answers) ReEncrypt(context.Context, *kms.ReEncryptInput, ...func(*kms.Options)) (*kms.ReEncryptOutput, error) {
	id := arn + "-other"
	return &kms.ReEncryptOutput{KeyId: &id, CiphertextBlob: []byte("x")}, nil
}

func (answers) GenerateMac(context.Context, *kms.GenerateMacInput, ...func(*kms.Options)) (*kms.GenerateMacOutput, error) {
	id := arn + "-other"
	return &kms.GenerateMacOutput{KeyId: &id, Mac: make([]byte, 32)}, nil
}

func TestAnswerForAnotherKeyIsRefused(t *testing.T) {
	k, err := kmskey.New(kmskey.Options{Client: answers{}, KeyARNs: []string{arn}, MACKeyARN: arn})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	key := vault.WrappedKey{Blob: []byte("x"), KEK: arn}
	_, e1 := k.GenerateDataKey(ctx, arn, nil)
	_, e2 := k.Decrypt(ctx, key, nil)
	_, e3 := k.ReEncrypt(ctx, key, arn, nil)
	_, _, e4 := k.MAC(ctx, []byte("m"))
	for i, err := range []error{e1, e2, e3, e4} {
		if vault.ReasonOf(err) != vault.KeyUnexpected {
			t.Errorf("call %d: %v", i, err)
		}
	}
}
