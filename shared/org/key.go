package org

import (
	"crypto/sha256"
	"crypto/subtle"
	"io"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
)

// Scope is something a key may do.
type Scope string

// Scopes. admin includes billing and read on the admin API, and nothing on the
// model and speech API.
const (
	ScopeInvoke  Scope = "invoke"
	ScopeAudio   Scope = "audio"
	ScopeAdmin   Scope = "admin"
	ScopeBilling Scope = "billing"
	ScopeRead    Scope = "read"
)

// Scopes lists all scopes.
func Scopes() []Scope {
	return []Scope{ScopeInvoke, ScopeAudio, ScopeAdmin, ScopeBilling, ScopeRead}
}

// Digest is the SHA-256 of a whole key.
type Digest [sha256.Size]byte

// Key is the record of a virtual key. It does not hold the key.
type Key struct {
	ID        string
	Org       string
	Name      string
	Scopes    []Scope
	AgentID   string // the key acts for this agent only; empty = any
	CreatedAt time.Time
	ExpiresAt time.Time // zero = never
	RevokedAt time.Time // zero = live
	Hash      Digest
	Limits    Limits
	// Counted is what counts against Limits. Only the read of a metered call
	// fills it in.
	Counted limit.State
}

// Has reports whether the key carries exactly this scope.
func (k Key) Has(s Scope) bool { return slices.Contains(k.Scopes, s) }

// Live reports whether the key is neither revoked nor expired.
func (k Key) Live(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// ParsedKey is a presented key whose shape is right. It holds the digest only.
type ParsedKey struct {
	Org string
	ID  string

	digest Digest
}

const (
	keyPrefix   = "lk_"
	secretBytes = 32
	// secretChars is how many base62 digits 32 bytes need.
	secretChars = 43
	maxKeyChars = len(keyPrefix) + 64 + 1 + 64 + 1 + secretChars

	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Unauthorized is the one answer to every bad key. Each call returns an equal
// error.
func Unauthorized() error {
	return fault.New(fault.GatewayAuth, "org.Authenticate",
		"no valid API key; send one as Authorization: Bearer lk_... or create a new one")
}

// ParseKey checks the shape lk_<org>_<kid>_<secret>. It fails with
// [Unauthorized] and never looks anything up.
func ParseKey(s string) (ParsedKey, error) {
	if len(s) > maxKeyChars || !strings.HasPrefix(s, keyPrefix) {
		return ParsedKey{}, Unauthorized()
	}
	parts := strings.Split(s[len(keyPrefix):], "_")
	if len(parts) != 3 || !table.ValidID(parts[0]) || !table.ValidID(parts[1]) || !validSecret(parts[2]) {
		return ParsedKey{}, Unauthorized()
	}
	return ParsedKey{Org: parts[0], ID: parts[1], digest: sha256.Sum256([]byte(s))}, nil
}

func validSecret(s string) bool {
	if len(s) != secretChars {
		return false
	}
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(base62, s[i]) < 0 {
			return false
		}
	}
	return true
}

// Authenticate compares a presented key with its record, nil if there is none.
// It fails with [Unauthorized]. The digest comparison runs in every case, so
// that an unknown key takes as long as a wrong one.
func Authenticate(rec *Key, p ParsedKey, now time.Time) error {
	stored := Key{RevokedAt: time.Unix(1, 0)}
	if rec != nil {
		stored = *rec
	}
	same := subtle.ConstantTimeCompare(stored.Hash[:], p.digest[:]) == 1
	if !same || !stored.Live(now) || stored.Org != p.Org || stored.ID != p.ID || stored.Hash == (Digest{}) {
		return Unauthorized()
	}
	return nil
}

// Mint makes a new key for an organisation and key id from 32 bytes of random,
// and the digest to store. It fails with internal if random fails or an id
// cannot be part of a key.
func Mint(org, kid string, random io.Reader) (secret.Text, Digest, error) {
	if strings.Contains(org+kid, "_") || !table.ValidID(org) || !table.ValidID(kid) {
		return secret.Text{}, Digest{}, fault.New(fault.Internal, "org.Mint", "internal error, try again later")
	}
	raw := make([]byte, secretBytes)
	defer clear(raw)
	if _, err := io.ReadFull(random, raw); err != nil {
		return secret.Text{}, Digest{}, fault.Wrap(fault.Internal, "org.Mint", "internal error, try again later", err)
	}
	key := append([]byte(keyPrefix+org+"_"+kid+"_"), encode62(raw)...)
	defer clear(key)
	return secret.New(key), sha256.Sum256(key), nil
}

// encode62 writes 32 bytes as 43 base62 digits, zero padded.
func encode62(raw []byte) []byte {
	n, base, digit := new(big.Int).SetBytes(raw), big.NewInt(int64(len(base62))), new(big.Int)
	out := make([]byte, secretChars)
	for i := secretChars - 1; i >= 0; i-- {
		n.DivMod(n, base, digit)
		out[i] = base62[digit.Int64()]
	}
	return out
}

// credentialHeaders are where SDKs put a key.
var credentialHeaders = []string{"authorization", "x-api-key", "x-goog-api-key"}

// CredentialFromHeaders returns the one key of a request; get returns all values
// of a header by its lower-case name. No value, two different values, or an
// Authorization scheme other than Bearer fail with [Unauthorized].
func CredentialFromHeaders(get func(name string) []string) (string, error) {
	found := ""
	for _, name := range credentialHeaders {
		for _, value := range get(name) {
			if name == "authorization" {
				scheme, token, ok := strings.Cut(value, " ")
				if !ok || !strings.EqualFold(scheme, "Bearer") {
					return "", Unauthorized()
				}
				value = token
			}
			value = strings.TrimSpace(value)
			if value == "" || found != "" && subtle.ConstantTimeCompare([]byte(found), []byte(value)) != 1 {
				return "", Unauthorized()
			}
			found = value
		}
	}
	if found == "" {
		return "", Unauthorized()
	}
	return found, nil
}
