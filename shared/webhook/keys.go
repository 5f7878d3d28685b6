package webhook

import (
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
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

// KeySets finds pinned key sets by name. It must not fetch inside the request;
// ok is false for a set that is not there, which refuses the request.
type KeySets interface {
	KeySet(name string) (keys []Key, ok bool)
}

// KeySetSetting is the setting that names the key set; without it a profile's
// own name of it counts.
const KeySetSetting = "jwks"

func (in Input) keySet(name string) ([]Key, Reason) {
	if n := in.Config.Get(KeySetSetting); n != "" {
		name = n
	}
	if in.Keys == nil {
		return nil, KeySetUnavailable
	}
	keys, ok := in.Keys.KeySet(name)
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

func rsaKey(n, e string) *rsa.PublicKey {
	nb, err1 := base64.RawURLEncoding.Strict().DecodeString(n)
	eb, err2 := base64.RawURLEncoding.Strict().DecodeString(e)
	if err1 != nil || err2 != nil || len(eb) == 0 || len(eb) > 4 {
		return nil
	}
	k := &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(new(big.Int).SetBytes(eb).Int64())}
	if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits || k.E < 3 || k.E%2 == 0 {
		return nil
	}
	return k
}
