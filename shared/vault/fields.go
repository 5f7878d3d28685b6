package vault

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Limits of what is stored. A service account file is about 3 KB.
const (
	maxField      = 16 << 10
	maxCredential = 64 << 10
	maxFields     = 16
	maxDrains     = 8
	maxLabel      = 128
	maxOrigin     = 256
	maxOverlap    = 30 * 24 * time.Hour
	hintLength    = 4
	// minHinted: four characters of a shorter secret would be too much of it.
	minHinted = 20
)

// documents are fields that hold a whole file. They are used by code that parses
// them and are never put into a header as they are.
var documents = map[string]bool{"service_account_json": true, "private_key": true, "payload": true}

// unhinted are words in the names of fields whose end is never shown: values
// that sign, that open other accounts, or that people choose and reuse.
var unhinted = []string{"secret", "private", "refresh", "sign", "verify", "hmac", "password", "service_account", "basic_auth", "payload"}

func headerBound(class taxonomy.CredentialClass, field string) bool {
	return class != taxonomy.Integration && !documents[field]
}

// hintable: what verifies a webhook is never hinted at.
func hintable(class taxonomy.CredentialClass, field string) bool {
	if class != taxonomy.AIKey && class != taxonomy.VoiceKey && class != taxonomy.ChannelSend {
		return false
	}
	for _, word := range unhinted {
		if strings.Contains(field, word) {
			return false
		}
	}
	return true
}

func hintOf(class taxonomy.CredentialClass, field string, text secret.Text) string {
	if !hintable(class, field) || text.Len() < minHinted {
		return ""
	}
	hint := ""
	_ = text.Use(func(b []byte) error { hint = string(b[len(b)-hintLength:]); return nil })
	return hint
}

func checkFields(op string, class taxonomy.CredentialClass, fields map[string]secret.Text) error {
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
		if err := text.Use(func(b []byte) error { return checkValue(op, class, name, b) }); err != nil {
			return err
		}
		total += text.Len()
	}
	if total > maxCredential {
		return invalid(op, "fields", "the secret fields of a credential are at most 64 KiB together")
	}
	return nil
}

func checkValue(op string, class taxonomy.CredentialClass, name string, b []byte) error {
	switch {
	case len(b) == 0:
		return invalid(op, name, "the value is empty; enter the secret")
	case len(b) > maxField:
		return invalid(op, name, "the value is longer than 16 KiB; check that it is the secret alone")
	case looksMasked(string(b)):
		return fault.Wrap(fault.InvalidRequest, op, "the value is a masked display of a secret, not the secret; enter it again in full",
			Masked).WithParam(name)
	case headerBound(class, name) && !printable(b):
		return invalid(op, name, "the value must be printable ASCII without line breaks or spaces around it; copy it again without them")
	}
	return nil
}

// printable accepts visible ASCII with spaces inside: other bytes would be
// refused, or sent as they are, by an HTTP client later.
func printable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return b[0] != ' ' && b[len(b)-1] != ' '
}

// looksMasked recognises values that a form or a log shows in place of a
// secret, our own included.
func looksMasked(s string) bool {
	s = strings.TrimSpace(s)
	if len(s) > 256 {
		return false
	}
	lower := strings.ToLower(s)
	for _, mark := range []string{"****", "\u2022", "\u25cf", "\u2026", secret.Mask, "[redacted]", "<redacted>", "[masked]", "[hidden]"} {
		if strings.Contains(lower, mark) {
			return true
		}
	}
	return strings.HasPrefix(s, "...") || strings.HasSuffix(s, "...") || strings.Trim(s, "*") == "" || strings.Trim(lower, "x") == "" && len(s) >= 4
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
		if class == taxonomy.AIKey || class == taxonomy.VoiceKey {
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
