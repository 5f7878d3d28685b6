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
	mu       sync.Mutex
	order    []string // newest first
	keys     map[string][]cipher.AEAD
	disabled map[string]bool
	macKey   []byte
	macID    int
	refuse   vault.Reason
	calls    map[string]int
	gate     chan struct{}
	before   func(operation string) vault.Reason
}

// NewKEK returns a KEK with one wrapping key.
func NewKEK() *KEK {
	k := &KEK{keys: map[string][]cipher.AEAD{}, disabled: map[string]bool{}, macKey: random(32), calls: map[string]int{}}
	k.Rotate()
	return k
}

// Rotate makes a new wrapping key the first one; older ones still unwrap.
func (k *KEK) Rotate() {
	k.mu.Lock()
	defer k.mu.Unlock()
	arn := fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/test-%d", len(k.keys)+1)
	k.order = append([]string{arn}, k.order...)
	k.keys[arn] = []cipher.AEAD{newAEAD(random(32))}
}

// Add makes a new wrapping key without making it the first one.
func (k *KEK) Add() (arn string) {
	k.Rotate()
	k.mu.Lock()
	defer k.mu.Unlock()
	arn = k.order[0]
	k.order = append(k.order[1:], arn)
	return arn
}

// RotateMaterial gives a key new material; what the old one wrapped still opens.
func (k *KEK) RotateMaterial(arn string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys[arn] = append(k.keys[arn], newAEAD(random(32)))
}

// Disable makes a key refuse everything, or work again.
func (k *KEK) Disable(arn string, disabled bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.disabled[arn] = disabled
}

// Before makes f decide before each call whether it fails, and why; it may call
// the KEK itself. nil ends that.
func (k *KEK) Before(f func(operation string) vault.Reason) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.before = f
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

// Keys implements [vault.KEK].
func (k *KEK) Keys() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.order)
}

// GenerateDataKey implements [vault.KEK].
func (k *KEK) GenerateDataKey(_ context.Context, arn string, ectx map[string]string) (vault.DataKey, error) {
	if err := k.enter("GenerateDataKey"); err != nil {
		return vault.DataKey{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	plain := random(vault.KeySize)
	wrapped, err := k.wrap(arn, plain, ectx)
	return vault.DataKey{Plain: plain, Wrapped: wrapped}, err
}

// Decrypt implements [vault.KEK].
func (k *KEK) Decrypt(ctx context.Context, key vault.WrappedKey, ectx map[string]string) ([]byte, error) {
	k.mu.Lock()
	gate := k.gate
	k.mu.Unlock()
	err := k.enter("Decrypt")
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
func (k *KEK) ReEncrypt(_ context.Context, key vault.WrappedKey, to string, ectx map[string]string) (vault.WrappedKey, error) {
	if err := k.enter("ReEncrypt"); err != nil {
		return vault.WrappedKey{}, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	plain, err := k.unwrap(key, ectx)
	if err != nil {
		return vault.WrappedKey{}, err
	}
	return k.wrap(to, plain, ectx)
}

// MAC implements [vault.KEK].
func (k *KEK) MAC(_ context.Context, message []byte) ([]byte, string, error) {
	if err := k.enter("MAC"); err != nil {
		return nil, "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := hmac.New(sha256.New, k.macKey)
	h.Write(message)
	return h.Sum(nil), fmt.Sprintf("arn:aws:kms:us-east-1:111122223333:key/test-mac-%d", k.macID), nil
}

// enter counts a call and says whether it fails.
func (k *KEK) enter(operation string) error {
	k.mu.Lock()
	k.calls[operation]++
	reason, before := k.refuse, k.before
	k.mu.Unlock()
	if before != nil && reason == "" {
		reason = before(operation)
	}
	if reason != "" {
		return &vault.KeyError{Reason: reason, Err: ErrInjected}
	}
	return nil
}

// key returns the materials of a key, oldest first.
func (k *KEK) key(arn string) ([]cipher.AEAD, error) {
	materials, ok := k.keys[arn]
	switch {
	case !ok:
		return nil, &vault.KeyError{Reason: vault.KeyIncorrect}
	case k.disabled[arn]:
		return nil, &vault.KeyError{Reason: vault.KeyDisabled}
	}
	return materials, nil
}

func (k *KEK) wrap(arn string, plain []byte, ectx map[string]string) (vault.WrappedKey, error) {
	materials, err := k.key(arn)
	if err != nil {
		return vault.WrappedKey{}, err
	}
	n := len(materials)
	return vault.WrappedKey{
		Blob: materials[n-1].Seal(nil, nil, plain, contextBytes(ectx)), KEK: arn, Material: fmt.Sprintf("%s/material-%d", arn, n),
	}, nil
}

func (k *KEK) unwrap(key vault.WrappedKey, ectx map[string]string) ([]byte, error) {
	materials, err := k.key(key.KEK)
	if err != nil {
		return nil, err
	}
	for _, aead := range materials {
		if plain, err := aead.Open(nil, nil, key.Blob, contextBytes(ectx)); err == nil {
			return plain, nil
		}
	}
	return nil, &vault.KeyError{Reason: vault.KeyInvalidCiphertext}
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
