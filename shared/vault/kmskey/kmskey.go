// Package kmskey is the vault's key service on AWS KMS.
//
// Guarantees: keys are named by full ARN only, because an alias can be pointed
// at another key; a stored key name is used only if it was configured, and the
// answer must name the key that was asked for, so that a record cannot bring a
// foreign key with it; every error carries a vault.Reason and never text of the
// service. Data keys are bound to the encryption context that the caller gives.
//
// Limits: the SDK's own retries (three attempts with jitter by default) are the
// only ones; a call ends after [Options.Timeout] at the latest.
package kmskey

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/latchkey/latchkey/shared/vault"
)

// maxMessage is the limit of GenerateMac (KMS API reference, kms v1.62.4).
const maxMessage = 4096

const defaultTimeout = 3 * time.Second

// API is the part of *kms.Client that is used.
type API interface {
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
	ReEncrypt(context.Context, *kms.ReEncryptInput, ...func(*kms.Options)) (*kms.ReEncryptOutput, error)
	GenerateMac(context.Context, *kms.GenerateMacInput, ...func(*kms.Options)) (*kms.GenerateMacOutput, error)
}

// Options name the keys.
type Options struct {
	Client API
	// KeyARNs wrap and unwrap data keys; at least one. The first is the default.
	KeyARNs []string
	// MACKeyARN is an HMAC_256 key for fingerprints.
	MACKeyARN string
	// Timeout bounds one call with its retries; zero means 3 s.
	Timeout time.Duration
}

// Keys implements vault.KEK. It is safe for concurrent use.
type Keys struct {
	api     API
	known   []string
	mac     string
	timeout time.Duration
}

// New returns Keys. It fails if a name is missing, an alias or not an ARN.
func New(o Options) (*Keys, error) {
	if o.Client == nil {
		return nil, errors.New("kmskey: a client is required")
	}
	if len(o.KeyARNs) == 0 {
		return nil, errors.New("kmskey: at least one key is required")
	}
	for _, arn := range append(slices.Clone(o.KeyARNs), o.MACKeyARN) {
		if !isKeyARN(arn) {
			return nil, errors.New("kmskey: keys are named by their full ARN (arn:…:kms:…:key/…), not by id or alias")
		}
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return &Keys{api: o.Client, known: slices.Clone(o.KeyARNs), mac: o.MACKeyARN, timeout: o.Timeout}, nil
}

func isKeyARN(s string) bool {
	p := strings.Split(s, ":")
	if len(p) != 6 || p[0] != "arn" || p[2] != "kms" {
		return false
	}
	id, ok := strings.CutPrefix(p[5], "key/")
	return ok && id != "" && p[1] != "" && p[3] != "" && p[4] != ""
}

// Keys implements vault.KEK.
func (k *Keys) Keys() []string { return slices.Clone(k.known) }

// check refuses a key that was not configured, whatever a record or a ring says.
func (k *Keys) check(arn string) error {
	if !slices.Contains(k.known, arn) {
		return &vault.KeyError{Reason: vault.KeyIncorrect}
	}
	return nil
}

// GenerateDataKey implements vault.KEK.
func (k *Keys) GenerateDataKey(ctx context.Context, arn string, ectx map[string]string) (vault.DataKey, error) {
	if err := k.check(arn); err != nil {
		return vault.DataKey{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: aws.String(arn), KeySpec: types.DataKeySpecAes256, EncryptionContext: ectx,
	})
	if err != nil {
		return vault.DataKey{}, classify(err)
	}
	if aws.ToString(out.KeyId) != arn || len(out.Plaintext) != vault.KeySize || len(out.CiphertextBlob) == 0 {
		clear(out.Plaintext)
		return vault.DataKey{}, &vault.KeyError{Reason: vault.KeyUnexpected}
	}
	return vault.DataKey{
		Plain:   out.Plaintext,
		Wrapped: vault.WrappedKey{Blob: out.CiphertextBlob, KEK: arn, Material: aws.ToString(out.KeyMaterialId)},
	}, nil
}

// Decrypt implements vault.KEK.
func (k *Keys) Decrypt(ctx context.Context, key vault.WrappedKey, ectx map[string]string) ([]byte, error) {
	if err := k.check(key.KEK); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.api.Decrypt(ctx, &kms.DecryptInput{
		CiphertextBlob: key.Blob, KeyId: aws.String(key.KEK), EncryptionContext: ectx,
	})
	if err != nil {
		return nil, classify(err)
	}
	if aws.ToString(out.KeyId) != key.KEK {
		clear(out.Plaintext)
		return nil, &vault.KeyError{Reason: vault.KeyUnexpected}
	}
	return out.Plaintext, nil
}

// ReEncrypt implements vault.KEK.
func (k *Keys) ReEncrypt(ctx context.Context, key vault.WrappedKey, to string, ectx map[string]string) (vault.WrappedKey, error) {
	if err := errors.Join(k.check(key.KEK), k.check(to)); err != nil {
		return vault.WrappedKey{}, &vault.KeyError{Reason: vault.KeyIncorrect, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.api.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: key.Blob, SourceKeyId: aws.String(key.KEK), SourceEncryptionContext: ectx,
		DestinationKeyId: aws.String(to), DestinationEncryptionContext: ectx,
	})
	if err != nil {
		return vault.WrappedKey{}, classify(err)
	}
	if aws.ToString(out.KeyId) != to || len(out.CiphertextBlob) == 0 {
		return vault.WrappedKey{}, &vault.KeyError{Reason: vault.KeyUnexpected}
	}
	return vault.WrappedKey{Blob: out.CiphertextBlob, KEK: to, Material: aws.ToString(out.DestinationKeyMaterialId)}, nil
}

// MAC implements vault.KEK.
func (k *Keys) MAC(ctx context.Context, message []byte) ([]byte, string, error) {
	if len(message) == 0 || len(message) > maxMessage {
		return nil, "", &vault.KeyError{Reason: vault.KeyUnexpected}
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	out, err := k.api.GenerateMac(ctx, &kms.GenerateMacInput{
		KeyId: aws.String(k.mac), MacAlgorithm: types.MacAlgorithmSpecHmacSha256, Message: message,
	})
	if err != nil {
		return nil, "", classify(err)
	}
	if aws.ToString(out.KeyId) != k.mac {
		return nil, "", &vault.KeyError{Reason: vault.KeyUnexpected}
	}
	return out.Mac, k.mac, nil
}

// reasons maps the error codes of KMS (API reference and "Request quotas" in the
// KMS developer guide, read 2026-11-21) to reasons.
var reasons = map[string]vault.Reason{
	"AccessDeniedException":       vault.KeyAccessDenied,
	"DisabledException":           vault.KeyDisabled,
	"KMSInvalidStateException":    vault.KeyPendingDeletion,
	"NotFoundException":           vault.KeyNotFound,
	"KeyUnavailableException":     vault.KeyUnavailable,
	"KMSInternalException":        vault.KeyUnavailable,
	"DependencyTimeoutException":  vault.KeyUnavailable,
	"ServiceUnavailableException": vault.KeyUnavailable,
	"InternalFailure":             vault.KeyUnavailable,
	"InvalidCiphertextException":  vault.KeyInvalidCiphertext,
	"IncorrectKeyException":       vault.KeyIncorrect,
	"InvalidKeyUsageException":    vault.KeyIncorrect,
	"InvalidGrantTokenException":  vault.KeyInvalidGrant,
	"ThrottlingException":         vault.KeyThrottled,
	"LimitExceededException":      vault.KeyThrottled,
	"RequestLimitExceeded":        vault.KeyThrottled,
	"RequestTimeout":              vault.KeyTimeout,
}

// classify keeps the cause for logs, which print its type and nothing else.
func classify(err error) error {
	var coded interface{ ErrorCode() string }
	reason := vault.KeyUnavailable // a connection that failed
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		reason = vault.KeyTimeout
	case errors.As(err, &coded):
		known, ok := reasons[coded.ErrorCode()]
		reason = vault.KeyUnexpected
		if ok {
			reason = known
		}
	}
	return &vault.KeyError{Reason: reason, Err: err}
}
