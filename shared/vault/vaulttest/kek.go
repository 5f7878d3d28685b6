package vaulttest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/latchkey/latchkey/shared/vault"
)

// KEK is a [vault.KEK] in memory with several wrapping keys, key states and
// call counts. It is safe for concurrent use.
type KEK struct {
	mu      sync.Mutex
	current string
	keys    map[string]cipher.AEAD
	macKey  []byte
	macID   int
	refuse  vault.Reason
	calls   map[string]int
	gate    chan struct{}
}

// NewKEK returns a KEK with one wrapping key.
func NewKEK() *KEK {
	k := &KEK{keys: map[string]cipher.AEAD{}, macKey: random(32), calls: map[string]int{}}
	k.Rotate()
	return k
}

// Rotate makes a new wrapping key the current one; older ones still unwrap.
func (k *KEK) Rotate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.current = fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/test-%d", len(k.keys)+1)
	k.keys[k.current] = newAEAD(random(32))
}

// RotateMAC replaces the fingerprint key.
func (k *KEK) RotateMAC() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.macKey = random(32)
	k.macID++
}

// Refuse makes every call fail with the reason; empty ends that.
func (k *KEK) Refuse(r vault.Reason) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refuse = r
}

// Hold makes Decrypt wait until the returned function is called.
func (k *KEK) Hold() (release func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gate := make(chan struct{})
	k.gate = gate
	return func() {
		k.mu.Lock()
		k.gate = nil
		k.mu.Unlock()
		close(gate)
	}
}

// Calls is how often an operation was called: GenerateDataKey, Decrypt,
// ReEncrypt or MAC.
func (k *KEK) Calls(operation string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[operation]
}

// KeyARN implements [vault.KEK].
func (k *KEK) KeyARN() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// GenerateDataKey implements [vault.KEK].
func (k *KEK) GenerateDataKey(_ context.Context, ectx map[string]string) (vault.DataKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.count("GenerateDataKey"); err != nil {
		return vault.DataKey{}, err
	}
	plain := random(vault.KeySize)
	return vault.DataKey{Plain: plain, Wrapped: k.wrap(plain, ectx)}, nil
}

// Decrypt implements [vault.KEK].
func (k *KEK) Decrypt(ctx context.Context, key vault.WrappedKey, ectx map[string]string) ([]byte, error) {
	k.mu.Lock()
	gate := k.gate
	err := k.count("Decrypt")
	k.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, &vault.KeyError{Reason: vault.KeyTimeout, Err: ctx.Err()}
		}
	}
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.unwrap(key, ectx)
}

// ReEncrypt implements [vault.KEK].
func (k *KEK) ReEncrypt(_ context.Context, key vault.WrappedKey, ectx map[string]string) (vault.WrappedKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.count("ReEncrypt"); err != nil {
		return vault.WrappedKey{}, err
	}
	plain, err := k.unwrap(key, ectx)
	if err != nil {
		return vault.WrappedKey{}, err
	}
	return k.wrap(plain, ectx), nil
}

// MAC implements [vault.KEK].
func (k *KEK) MAC(_ context.Context, message []byte) ([]byte, string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.count("MAC"); err != nil {
		return nil, "", err
	}
	h := hmac.New(sha256.New, k.macKey)
	h.Write(message)
	return h.Sum(nil), fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/test-mac-%d", k.macID), nil
}

func (k *KEK) count(operation string) error {
	k.calls[operation]++
	if k.refuse != "" {
		return &vault.KeyError{Reason: k.refuse, Err: ErrInjected}
	}
	return nil
}

func (k *KEK) wrap(plain []byte, ectx map[string]string) vault.WrappedKey {
	return vault.WrappedKey{
		Blob: k.keys[k.current].Seal(nil, nil, plain, contextBytes(ectx)), KEK: k.current, Material: k.current + "/material-1",
	}
}

func (k *KEK) unwrap(key vault.WrappedKey, ectx map[string]string) ([]byte, error) {
	aead, ok := k.keys[key.KEK]
	if !ok {
		return nil, &vault.KeyError{Reason: vault.KeyIncorrect}
	}
	plain, err := aead.Open(nil, nil, key.Blob, contextBytes(ectx))
	if err != nil {
		return nil, &vault.KeyError{Reason: vault.KeyInvalidCiphertext, Err: err}
	}
	return plain, nil
}

func contextBytes(ectx map[string]string) []byte {
	var out []byte
	for _, name := range slices.Sorted(maps.Keys(ectx)) {
		out = fmt.Appendf(out, "%d:%s=%d:%s;", len(name), name, len(ectx[name]), ectx[name])
	}
	return out
}

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
