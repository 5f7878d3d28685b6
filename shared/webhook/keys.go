package webhook

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
)

// Key is one public key of a published set.
type Key struct {
	ID string
	// RSA or Ed25519 is set, never both.
	RSA     *rsa.PublicKey
	Ed25519 ed25519.PublicKey
	// Endorsements are the channels for which a key may speak, nil if its set
	// does not say.
	Endorsements []string
}

// KeySets finds pinned key sets by name. kid is the key that a token asks for, not
// verified: who fetches sets may look for it, within bounds of its own. ok is false
// for a set that is not to be had, which refuses the request.
type KeySets interface {
	KeySet(name, kid string) (keys []Key, ok bool)
}

// KeySetSetting is the setting that names the key set; without it a profile's
// own name of it counts.
const KeySetSetting = "jwks"

func (in Input) keySet(name, kid string) ([]Key, Reason) {
	if n := in.Config.Get(KeySetSetting); n != "" {
		name = n
	}
	if in.Keys == nil {
		return nil, KeySetUnavailable
	}
	keys, ok := in.Keys.KeySet(name, kid)
	if !ok || len(keys) == 0 {
		return nil, KeySetUnavailable
	}
	return keys, ""
}

const (
	maxSetKeys = 64
	// RSA keys below are broken, above they cost too much to verify with.
	minRSABits, maxRSABits = 2048, 8192
)

// errKeys is returned for what is no key set.
var errKeys = errors.New("webhook: not a JSON Web Key Set with usable RSA or Ed25519 keys")

// ParseKeySet reads a JSON Web Key Set (RFC 7517, RFC 8037). Keys of other types
// and for other uses are passed over; a damaged one, or two with one id, refuse
// the set. Certificates and links in it are ignored.
func ParseKeySet(b []byte) ([]Key, error) {
	var set struct {
		Keys []struct {
			Kty          string   `json:"kty"`
			Use          string   `json:"use"`
			Crv          string   `json:"crv"`
			Kid          string   `json:"kid"`
			N            string   `json:"n"`
			E            string   `json:"e"`
			X            string   `json:"x"`
			Endorsements []string `json:"endorsements"`
		} `json:"keys"`
	}
	if jsonwire.Check(b) != nil || json.Unmarshal(b, &set) != nil || len(set.Keys) == 0 || len(set.Keys) > maxSetKeys {
		return nil, errKeys
	}
	var out []Key
	seen := map[string]bool{}
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		key := Key{ID: k.Kid, Endorsements: k.Endorsements}
		switch {
		case k.Kty == "RSA":
			if key.RSA = rsaKey(k.N, k.E); key.RSA == nil {
				return nil, errKeys
			}
		case k.Kty == "OKP" && k.Crv == "Ed25519":
			x, err := base64.RawURLEncoding.Strict().DecodeString(k.X)
			if err != nil || len(x) != ed25519.PublicKeySize {
				return nil, errKeys
			}
			key.Ed25519 = x
		default:
			continue
		}
		if k.Kid != "" && seen[k.Kid] {
			return nil, errKeys
		}
		seen[k.Kid] = true
		out = append(out, key)
	}
	if len(out) == 0 {
		return nil, errKeys
	}
	return out, nil
}

// maxKeyID bounds a key's name.
const maxKeyID = 256

// ParseCertificates reads the other form in which keys are published: an object of
// certificates in PEM by the key's id. Only their RSA keys are used: who publishes
// them here vouches for them, so neither issuer nor life is looked at.
func ParseCertificates(b []byte) ([]Key, error) {
	var set map[string]string
	if jsonwire.Check(b) != nil || json.Unmarshal(b, &set) != nil || len(set) == 0 || len(set) > maxSetKeys {
		return nil, errKeys
	}
	out := make([]Key, 0, len(set))
	for id, text := range set {
		block, rest := pem.Decode([]byte(text))
		if id == "" || len(id) > maxKeyID || block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, errKeys
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errKeys
		}
		k, ok := c.PublicKey.(*rsa.PublicKey)
		if !ok || !usable(k) {
			return nil, errKeys
		}
		out = append(out, Key{ID: id, RSA: k})
	}
	return out, nil
}

func usable(k *rsa.PublicKey) bool {
	bits := k.N.BitLen()
	return bits >= minRSABits && bits <= maxRSABits && k.E >= 3 && k.E%2 == 1
}

func rsaKey(n, e string) *rsa.PublicKey {
	nb, err1 := base64.RawURLEncoding.Strict().DecodeString(n)
	eb, err2 := base64.RawURLEncoding.Strict().DecodeString(e)
	if err1 != nil || err2 != nil || len(eb) == 0 || len(eb) > 4 {
		return nil
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(new(big.Int).SetBytes(eb).Int64())}
	if !usable(k) {
		return nil
	}
	return k
}
