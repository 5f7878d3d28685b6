package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"

	"github.com/latchkey/latchkey/shared/secret"
)

// overhead is what AES-GCM with a prepended nonce adds: 12 bytes of nonce, 16
// of tag.
const overhead = 28

// encryptionContext is what the key service binds a data key to. IAM policies
// test these names; adding one would lock every deployed policy out.
func (v *Vault) encryptionContext(ref Ref) map[string]string {
	return map[string]string{
		"app": v.app, "stage": v.stage, "org": ref.Org,
		"provider": ref.Provider, "cred": ref.ID, "cls": string(ref.Class),
	}
}

// binding is the additional data of one ciphertext. Length prefixes keep
// neighbouring values apart: ("a", "bc") and ("ab", "c") differ.
func (v *Vault) binding(ref Ref, version int, field string) []byte {
	return lengthPrefixed(
		"latchkey/vault/aad/1", v.app, v.stage, ref.Org, ref.Provider, ref.ID, string(ref.Class),
		field, strconv.Itoa(version), strconv.Itoa(AlgAES256GCM), Format,
	)
}

func lengthPrefixed(parts ...string) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
		out = append(out, p...)
	}
	return out
}

// canonicalContext is one unambiguous byte string for a context.
func canonicalContext(ectx map[string]string) []byte {
	parts := make([]string, 0, 2*len(ectx))
	for _, name := range slices.Sorted(maps.Keys(ectx)) {
		parts = append(parts, name, ectx[name])
	}
	return lengthPrefixed(parts...)
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, MalformedRecord
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// sealFields seals every field under key.
func (v *Vault) sealFields(key []byte, ref Ref, version int, fields map[string]secret.Text) (map[string]Sealed, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	out := make(map[string]Sealed, len(fields))
	for name, text := range fields {
		err := text.Use(func(plain []byte) error {
			v.onReveal(plain)
			out[name] = Sealed{Ciphertext: aead.Seal(nil, nil, plain, v.binding(ref, version, name)), Binding: BindingV1}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// openField opens one field with key. The result is never empty; the caller
// clears it.
func (v *Vault) openField(key []byte, ref Ref, version int, field string, s Sealed) ([]byte, error) {
	if len(s.Ciphertext) <= overhead || len(s.Ciphertext) > maxField+overhead {
		return nil, MalformedRecord
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, s.Ciphertext, v.binding(ref, version, field))
	if err != nil {
		return nil, TagMismatch
	}
	return plain, nil
}

// check refuses a version that this code does not fully understand or that
// does not belong to the head. It returns the sealed field.
func (v *Vault) check(h Head, ver Version, field string) (Sealed, error) {
	switch {
	case ver.Format != Format:
		return Sealed{}, UnknownFormat
	case ver.Alg != AlgAES256GCM:
		return Sealed{}, UnknownAlg
	case !maps.Equal(ver.Context, v.encryptionContext(h.Ref)):
		return Sealed{}, ContextMismatch
	}
	for name := range ver.Fields {
		_, named := h.field(name)
		if _, declared := v.fields.Secret(h.Ref.Class, h.Ref.Provider, name); !named || !declared {
			return Sealed{}, UnknownField
		}
	}
	s, ok := ver.Fields[field]
	switch {
	case !ok:
		return Sealed{}, VersionMissing
	case s.Binding != BindingV1:
		return Sealed{}, UnknownBinding
	}
	return s, nil
}
