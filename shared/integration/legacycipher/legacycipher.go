// Package legacycipher is the cipher of the product that the integrations come
// from, frozen: the format never changes again and no new kind of record is
// made in it.
//
// Facts, read on 2026-11-22 in the public repository voundbrand/vc83-com, file
// convex/oauth/encryption.ts (a stored version of it; the index holds four):
// AES-256-GCM without additional data; the key is the Base64 of 32 bytes in the
// environment variable OAUTH_ENCRYPTION_KEY, used as it is, no derivation; a
// random nonce of 12 bytes per value; the text is the UTF-8 of a string. Stored
// is one lower-case hexadecimal string, nonce (24 digits), tag (32 digits),
// ciphertext. There is no prefix, no version and no key id. Its own reader tells
// ciphertext from plaintext by shape (at least 58 hexadecimal digits, either
// case; anything else is returned as it is): some vendors' API keys are 64 or 72
// hexadecimal digits, which that reader takes for ciphertext. This package
// therefore never decides what a value is: the caller knows from a stored
// marker, and a value of another layout is an error.
//
// Guarantees: [Open] returns the exact bytes that were sealed or an error, never
// a part. Errors hold no input. Known answers in testdata come from Node's crypto.
//
// [Seal] exists for one purpose: an OAuth refresh renews the legacy copy of a
// record that is in this format already, so that a rollback finds the current
// token (see shared/integration/opener).
package legacycipher

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"
)

// Errors of this package; none has further text.
var (
	ErrKey    = errors.New("legacycipher: the key must be the Base64 of 32 bytes")
	ErrLayout = errors.New("legacycipher: the value does not have the layout of the legacy cipher")
	ErrOpen   = errors.New("legacycipher: the value does not open with this key")
	ErrEmpty  = errors.New("legacycipher: the legacy cipher has no form for an empty value")
)

const (
	keySize   = 32
	nonceSize = 12
	tagSize   = 16
	// minDigits: one byte of ciphertext at least. The origin took anything
	// shorter for plaintext.
	minDigits = 2 * (nonceSize + tagSize + 1)
)

// ParseKey decodes a key as the origin's environment holds it. Both alphabets
// and missing padding are accepted, as the origin did; nothing else is.
func ParseKey(text []byte) ([]byte, error) {
	unpadded := strings.TrimRight(string(text), "=")
	enc := base64.RawStdEncoding
	if strings.ContainsAny(unpadded, "-_") {
		enc = base64.RawURLEncoding
	}
	key, err := enc.Strict().DecodeString(unpadded)
	if err != nil || len(key) != keySize || len(text)-len(unpadded) > 1 || strings.ContainsAny(unpadded, "\r\n") {
		clear(key)
		return nil, ErrKey
	}
	return key, nil
}

// Layout reports whether stored could be a value of this cipher, without a key:
// nil or [ErrLayout].
func Layout(stored []byte) error {
	if len(stored) < minDigits || len(stored)%2 != 0 {
		return ErrLayout
	}
	for _, c := range stored {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return ErrLayout
		}
	}
	return nil
}

// Open returns the plaintext; the caller clears it. Errors: [ErrLayout],
// [ErrKey], [ErrOpen].
func Open(key, stored []byte) ([]byte, error) {
	if err := Layout(stored); err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, hex.DecodedLen(len(stored)))
	if _, err := hex.Decode(raw, stored); err != nil {
		return nil, ErrLayout
	}
	// Go wants the tag behind the ciphertext, the format has it before.
	nonce, tag, text := raw[:nonceSize], raw[nonceSize:nonceSize+tagSize], raw[nonceSize+tagSize:]
	plain, err := aead.Open(nil, nonce, append(append(make([]byte, 0, len(text)+tagSize), text...), tag...), nil)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

// Seal encrypts plain under a nonce from random. Errors: [ErrKey], [ErrEmpty],
// those of random.
func Seal(random io.Reader, key, plain []byte) ([]byte, error) {
	if len(plain) == 0 {
		return nil, ErrEmpty
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, nonceSize)
	if _, err := io.ReadFull(random, nonce); err != nil {
		return nil, err
	}
	sealed := aead.Seal(nil, nonce, plain, nil)
	text, tag := sealed[:len(plain)], sealed[len(plain):]
	out := make([]byte, 0, 2*(nonceSize+len(sealed)))
	for _, part := range [][]byte{nonce, tag, text} {
		out = hex.AppendEncode(out, part)
	}
	return out, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != keySize {
		return nil, ErrKey
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, ErrKey
	}
	return cipher.NewGCM(block)
}
