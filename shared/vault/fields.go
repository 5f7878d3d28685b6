package vault

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Limits of what is stored. A service account file is about 3 KB.
const (
	maxField      = credential.MaxBytes
	maxCredential = 64 << 10
	maxFields     = 16
	maxDrains     = 8
	maxLabel      = 128
	maxOrigin     = 256
	maxOverlap    = 30 * 24 * time.Hour
)

// spec finds the declaration of a field and refuses names without one: a
// secret that nobody declared has no rules, so it is not stored.
func (v *Vault) spec(op string, ref Ref, name string) (credential.FieldSpec, error) {
	if spec, ok := v.fields.Secret(ref.Class, ref.Provider, name); ok {
		return spec, nil
	}
	if !v.fields.Declares(ref.Class, ref.Provider) {
		return credential.FieldSpec{}, fault.Wrap(fault.InvalidRequest, op, "this provider keeps no secrets of this class", UnknownField).WithParam("provider")
	}
	return credential.FieldSpec{}, fault.Wrap(fault.InvalidRequest, op, "this provider has no secret field of this name", UnknownField).WithParam(name)
}

// hintOf is what may be shown of a value; an undeclared field shows nothing.
func (v *Vault) hintOf(ref Ref, name string, text secret.Text) string {
	spec, _ := v.fields.Secret(ref.Class, ref.Provider, name)
	return spec.HintOf(text)
}

func (v *Vault) checkFields(op string, ref Ref, fields map[string]secret.Text) error {
	if len(fields) == 0 {
		return invalid(op, "fields", "give at least one secret field")
	}
	if len(fields) > maxFields {
		return invalid(op, "fields", "a credential has at most "+strconv.Itoa(maxFields)+" secret fields")
	}
	total := 0
	for name, text := range fields {
		if !validWord(name) {
			return invalid(op, "fields", "a field name is a word of a-z, 0-9, _ and -, at most 64 long")
		}
		spec, err := v.spec(op, ref, name)
		if err != nil {
			return err
		}
		if err := checkValue(op, spec, text); err != nil {
			return err
		}
		total += text.Len()
	}
	if total > maxCredential {
		return invalid(op, "fields", "the secret fields of a credential are at most 64 KiB together")
	}
	return nil
}

func checkValue(op string, spec credential.FieldSpec, text secret.Text) error {
	err := spec.CheckSecret(text)
	if errors.Is(err, credential.ErrMasked) {
		return fault.Wrap(fault.InvalidRequest, op, fault.As(err).Message, Masked).WithParam(spec.Field)
	}
	return err
}

// OriginOf returns the origin of a URL as scheme://host[:port]: lower case,
// without the scheme's default port. Errors: invalid_request; they never quote
// the input, which may hold a password.
func OriginOf(rawURL string) (string, error) {
	const op = "vault.OriginOf"
	bad := invalid(op, "origin", "the address must be an absolute http or https URL with a host name and no user name")
	u, err := url.Parse(rawURL)
	if err != nil || u.User != nil || u.Opaque != "" || len(rawURL) > 4096 {
		return "", bad
	}
	scheme, host, port := strings.ToLower(u.Scheme), strings.ToLower(u.Hostname()), u.Port()
	defaultPort, ok := defaultPorts[scheme]
	if !ok || !validHost(host) || strings.HasSuffix(u.Host, ":") {
		return "", bad
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && port != defaultPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", bad
		}
		host += ":" + port
	}
	return scheme + "://" + host, nil
}

var defaultPorts = map[string]string{"https": "443", "http": "80"}

// validHost accepts IP addresses without a zone and host names in ASCII.
func validHost(h string) bool {
	if net.ParseIP(h) != nil {
		return true
	}
	if h == "" || len(h) > 253 || strings.HasSuffix(h, ".") {
		return false
	}
	for _, c := range []byte(h) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_') {
			return false
		}
	}
	return true
}

func checkOrigin(op string, class taxonomy.CredentialClass, origin string) error {
	if origin == "" {
		if class == taxonomy.AIKey || class == taxonomy.VoiceKey || class == taxonomy.Tool {
			return invalid(op, "origin", "state the origin that the key may be sent to")
		}
		return nil
	}
	if got, err := OriginOf(origin); err != nil || got != origin || len(origin) > maxOrigin {
		return invalid(op, "origin", "the origin must be written scheme://host[:port], lower case, without the default port")
	}
	return nil
}

func checkRef(op string, r Ref) error {
	if err := checkScope(op, r.Org, r.Class); err != nil {
		return err
	}
	if err := checkID(op, "id", r.ID); err != nil {
		return err
	}
	if !validWord(r.Provider) {
		return invalid(op, "provider", "the provider is missing or malformed")
	}
	return nil
}

func checkScope(op, org string, class taxonomy.CredentialClass) error {
	if err := checkID(op, "org", org); err != nil {
		return err
	}
	for _, known := range taxonomy.CredentialClasses() {
		if class == known {
			return nil
		}
	}
	return invalid(op, "class", "unknown credential class")
}

func checkID(op, param, id string) error {
	if !table.ValidID(id) {
		return invalid(op, param, "an id has 1 to 64 letters, digits, _ or -")
	}
	return nil
}

func checkText(op, param, s string, limit int) error {
	if len(s) > limit {
		return invalid(op, param, "at most "+strconv.Itoa(limit)+" bytes are stored")
	}
	for _, r := range s {
		if r < 0x20 || r == 0x7f || r == '\ufffd' {
			return invalid(op, param, "control characters are not stored")
		}
	}
	return nil
}

// validWord reports whether s matches ^[a-z0-9_-]{1,64}$.
func validWord(s string) bool { return table.ValidID(s) && s == strings.ToLower(s) }

func invalid(op, param, message string) error {
	return fault.New(fault.InvalidRequest, op, message).WithParam(param)
}

// firstOf returns the first error that is not nil.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
