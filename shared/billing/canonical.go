package billing

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Record is the stored form of [Inputs], whose fields say what it holds. Its field
// order is the byte order that [Hash] is taken over: append new fields at the end,
// under a new version that only inputs with such fields are written in.
type Record struct {
	V                 int    `json:"v"`
	Org               string `json:"org"`
	RequestSource     string `json:"request_source"`
	Candidate         string `json:"candidate"`
	Forced            string `json:"forced"`
	OrgActive         bool   `json:"org_active"`
	Tier              string `json:"tier"`
	TierBYOK          bool   `json:"tier_byok"`
	Preference        string `json:"preference"`
	OrgFallback       bool   `json:"org_fallback"`
	ConnExists        bool   `json:"conn_exists"`
	ConnUsable        bool   `json:"conn_usable"`
	ConnFallback      bool   `json:"conn_fallback"`
	ConnID            string `json:"conn_id"`
	ConnVersion       int64  `json:"conn_version"`
	CredentialVersion int64  `json:"cred_version"`
	FundsRefused      bool   `json:"funds_refused"`
	Provider          string `json:"provider"`
	Model             string `json:"model"`
	Agent             string `json:"agent"`
	SettingsVersion   int64  `json:"settings_version"`
	PriceVersion      string `json:"price_version"`
	PolicyVersion     string `json:"policy_version"`
	// RecordSharing is absent before version 2.
	*RecordSharing

	// Since version 3, left out where they are 0.
	FeePolicy   string `json:"fee_policy,omitempty"`
	FeeFlat     int64  `json:"fee_flat,omitempty"`
	FeeBPS      int64  `json:"fee_bps,omitempty"`
	FeePrivate  int64  `json:"fee_private,omitempty"`
	FeeFree     int64  `json:"fee_free,omitempty"`
	FeeFreeUsed int64  `json:"fee_free_used,omitempty"`
}

// RecordSharing is what a record holds since version 2.
type RecordSharing struct {
	Agency         string `json:"agency"`
	Sharing        string `json:"sharing"`
	SharingRefused bool   `json:"sharing_refused"`
	SharingVersion int64  `json:"sharing_version"`
}

const (
	// canonicalVersion is that of inputs without terms for own keys, which are
	// written as they were before there were any; feesVersion that of all others.
	canonicalVersion = 2
	feesVersion      = 3
	// maxCanonical bounds a stored record that is read back.
	maxCanonical = 8 << 10
)

// Canonical is the one byte form of the inputs: JSON, fixed field order, no
// spaces, only the escapes that JSON demands.
func Canonical(in Inputs) []byte { return canonical(in, versionOf(in)) }

func versionOf(in Inputs) int {
	if in.Fees != (Fees{}) || in.FreeUsed != 0 {
		return feesVersion
	}
	return canonicalVersion
}

// canonical is the form of a version.
func canonical(in Inputs, version int) []byte {
	b := make([]byte, 0, 896)
	b = append(b, `{"v":`...)
	b = strconv.AppendInt(b, int64(version), 10)
	b = appendText(b, "org", in.Org)
	b = appendText(b, "request_source", string(in.RequestSource))
	b = appendText(b, "candidate", string(in.Candidate))
	b = appendText(b, "forced", string(in.Forced))
	b = appendBool(b, "org_active", in.OrgActive)
	b = appendText(b, "tier", string(in.Tier))
	b = appendBool(b, "tier_byok", in.TierBYOK)
	b = appendText(b, "preference", string(in.Preference))
	b = appendBool(b, "org_fallback", in.OrgAllowPlatformFallback)
	b = appendBool(b, "conn_exists", in.Connection.Exists)
	b = appendBool(b, "conn_usable", in.Connection.Usable)
	b = appendBool(b, "conn_fallback", in.Connection.AllowPlatformFallback)
	b = appendText(b, "conn_id", in.Connection.ID)
	b = appendInt(b, "conn_version", in.Connection.Version)
	b = appendInt(b, "cred_version", in.Connection.CredentialVersion)
	b = appendBool(b, "funds_refused", in.FundsRefused)
	b = appendText(b, "provider", in.Provider)
	b = appendText(b, "model", in.Model)
	b = appendText(b, "agent", in.Agent)
	b = appendInt(b, "settings_version", in.SettingsVersion)
	b = appendText(b, "price_version", in.PriceVersion)
	b = appendText(b, "policy_version", in.PolicyVersion)
	if version < 2 {
		return append(b, '}')
	}
	b = appendText(b, "agency", in.Sharing.Agency)
	b = appendText(b, "sharing", in.Sharing.Mode)
	b = appendBool(b, "sharing_refused", in.Sharing.Refused)
	b = appendInt(b, "sharing_version", in.Sharing.Version)
	if version >= feesVersion {
		b = appendFees(b, in)
	}
	return append(b, '}')
}

// appendFees leaves out what is 0, as the tags of [Record] do.
func appendFees(b []byte, in Inputs) []byte {
	if in.Fees.Policy != "" {
		b = appendText(b, "fee_policy", in.Fees.Policy)
	}
	for _, x := range [...]struct {
		name string
		n    int64
	}{{"fee_flat", int64(in.Fees.FlatFee)}, {"fee_bps", in.Fees.SurchargeBPS}, {"fee_private", int64(in.Fees.PrivateFee)},
		{"fee_free", in.Fees.FreeRequests}, {"fee_free_used", in.FreeUsed}} {
		if x.n != 0 {
			b = appendInt(b, x.name, x.n)
		}
	}
	return b
}

// Hash names the inputs: 64 hexadecimal digits over [Canonical].
func Hash(in Inputs) string { return HashCanonical(Canonical(in)) }

// HashCanonical is [Hash] for a caller that has the bytes already.
func HashCanonical(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:])
}

// ParseInputs reads a stored record back, for replay. Anything that [Canonical]
// would not have written is invalid_request.
func ParseInputs(stored []byte) (Inputs, error) {
	r, err := parseRecord(stored)
	return r.inputs(), err
}

func parseRecord(stored []byte) (Record, error) {
	refused := fault.New(fault.InvalidRequest, "billing.ParseInputs", "the stored decision record cannot be read")
	if len(stored) > maxCanonical {
		return Record{}, refused
	}
	var r Record
	dec := json.NewDecoder(bytes.NewReader(stored))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || r.V < 1 || r.V > feesVersion || r.V >= canonicalVersion && r.V != versionOf(r.inputs()) {
		return Record{}, refused
	}
	if _, err := dec.Token(); err != io.EOF {
		return Record{}, refused
	}
	// Only the canonical bytes hash to the stored hash.
	if !bytes.Equal(canonical(r.inputs(), r.V), stored) {
		return Record{}, refused
	}
	return r, nil
}

func (r Record) inputs() Inputs {
	var s RecordSharing
	if r.RecordSharing != nil {
		s = *r.RecordSharing
	}
	return Inputs{
		Org: r.Org, RequestSource: taxonomy.RequestSource(r.RequestSource),
		Candidate: taxonomy.BillingSource(r.Candidate), Forced: taxonomy.BillingSource(r.Forced),
		OrgActive: r.OrgActive, Tier: taxonomy.Tier(r.Tier), TierBYOK: r.TierBYOK,
		Preference: Preference(r.Preference), OrgAllowPlatformFallback: r.OrgFallback,
		Connection: Connection{Exists: r.ConnExists, Usable: r.ConnUsable, AllowPlatformFallback: r.ConnFallback,
			ID: r.ConnID, Version: r.ConnVersion, CredentialVersion: r.CredentialVersion},
		FundsRefused: r.FundsRefused, Provider: r.Provider, Model: r.Model, Agent: r.Agent,
		SettingsVersion: r.SettingsVersion, PriceVersion: r.PriceVersion, PolicyVersion: r.PolicyVersion,
		Sharing:  Sharing{Mode: s.Sharing, Refused: s.SharingRefused, Agency: s.Agency, Version: s.SharingVersion},
		Fees:     Fees{Policy: r.FeePolicy, FlatFee: Micro(r.FeeFlat), SurchargeBPS: r.FeeBPS, PrivateFee: Micro(r.FeePrivate), FreeRequests: r.FeeFree},
		FreeUsed: r.FeeFreeUsed,
	}
}

func appendName(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendInt(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendBool(b []byte, name string, v bool) []byte {
	return strconv.AppendBool(appendName(b, name), v)
}

func appendText(b []byte, name, s string) []byte {
	const digits = "0123456789abcdef"
	// Model names come from clients. A reader would replace bytes that are no text,
	// and the record would no longer be the one that was hashed.
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	b = append(appendName(b, name), '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
