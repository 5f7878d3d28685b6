package email

import (
	"net/mail"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Bounds. Vendors name none for headers; a mail that is beyond these was made to be.
const (
	maxHeaders = 1000
	maxIDs     = 100
	// maxID is what fits on a line of a mail (RFC 5322, 2.1.1) with a header's name.
	maxID = 250
	// maxRefs is how many references an answer repeats beside the root.
	maxRefs = 20
	// maxAddress is that of RFC 5321, 4.5.3.1.3.
	maxAddress = 254
)

// headers are those of a mail, in its order.
type headers [][2]string

// all lists the values of a header.
func (h headers) all(name string) []string {
	var out []string
	for _, kv := range h {
		if strings.EqualFold(kv[0], name) {
			out = append(out, strings.TrimSpace(kv[1]))
		}
	}
	return out
}

// only is the value of a header that stands there once, in lower case. One that
// stands there twice is no value: of what a vendor adds, the sender can have written
// another.
func (h headers) only(name string) string {
	if vs := h.all(name); len(vs) == 1 {
		return strings.ToLower(vs[0])
	}
	return ""
}

var idForm = regexp.MustCompile(`<[!-;=?-~]{1,248}>`)

// ids are the message ids that a header names.
func (h headers) ids(name string) []string {
	var out []string
	for _, v := range h.all(name) {
		out = append(out, idForm.FindAllString(v, maxIDs)...)
	}
	return out[:min(len(out), maxIDs)]
}

// id is the mail's own.
func (h headers) id() string {
	if own := h.ids("Message-Id"); len(own) == 1 {
		return own[0]
	}
	return ""
}

// machine reports a mail that nobody wrote by hand, or that went to many: RFC 3834,
// RFC 2369 and 2919, RFC 3464, and what Microsoft's and older systems write
// (learn.microsoft.com/openspecs/exchange_server_protocols/ms-oxcmail, X-Auto-Response-Suppress).
// Answering one may begin a loop without an end.
func (h headers) machine() bool {
	for _, kv := range h {
		name, value := strings.ToLower(kv[0]), strings.ToLower(strings.TrimSpace(kv[1]))
		switch {
		case name == "auto-submitted":
			first, _, _ := strings.Cut(value, ";")
			if strings.TrimSpace(first) != "no" {
				return true
			}
		case name == "x-auto-response-suppress":
			if value != "none" {
				return true
			}
		case name == "precedence":
			if value == "bulk" || value == "junk" || value == "list" || value == "auto_reply" {
				return true
			}
		case name == "return-path":
			if strings.Trim(value, "<> ") == "" {
				return true
			}
		case name == "content-type":
			if strings.HasPrefix(value, "multipart/report") {
				return true
			}
		case strings.HasPrefix(name, "list-"), name == "x-autoreply", name == "x-autorespond", name == "x-autorespond-to":
			return true
		}
	}
	return false
}

// robot is a local part whose mail nobody reads or writes.
func robot(local string) bool {
	local, _, _ = strings.Cut(local, "+")
	switch strings.NewReplacer("-", "", "_", "", ".", "").Replace(local) {
	case "mailerdaemon", "postmaster", "noreply", "donotreply":
		return true
	}
	return false
}

// bare is one address of the form that is answered, in lower case; ok is false for
// any other.
func bare(s string) (address string, ok bool) {
	address = strings.ToLower(strings.TrimSpace(s))
	local, at, found := strings.Cut(address, "@")
	return address, found && len(address) <= maxAddress && len(local) <= 64 && localForm.MatchString(local) && domainForm.MatchString(at)
}

// author is the one address of a From header.
func author(from string) (address string, ok bool) {
	if len(from) > 4*maxAddress {
		return "", false
	}
	one, err := mail.ParseAddress(from)
	if err != nil {
		// A name in a character set that Go does not know, or a bare word.
		if open := strings.LastIndexByte(from, '<'); open >= 0 && strings.HasSuffix(strings.TrimSpace(from), ">") && strings.Count(from, "@") == 1 && strings.Count(from, "<") == 1 {
			return bare(strings.TrimSuffix(strings.TrimSpace(from[open+1:]), ">"))
		}
		return "", false
	}
	return bare(one.Address)
}

// domainOf is the part of an address after the last @.
func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// within reports that a checked domain speaks for another: it is that one, or lies
// below it. The other way round one would have to know where domains are registered.
func within(checked, from string) bool {
	return from != "" && (checked == from || strings.HasSuffix(checked, "."+from))
}

// signers are the domains of a mail's DKIM signatures.
func (h headers) signers() []string {
	var out []string
	for _, v := range h.all("Dkim-Signature") {
		at := ""
		for tag := range strings.SplitSeq(v, ";") {
			name, value, _ := strings.Cut(tag, "=")
			switch {
			case strings.TrimSpace(name) != "d":
			case at != "":
				at = "-" // two readers could take another one
			default:
				at = strings.ToLower(strings.TrimSpace(value))
			}
		}
		out = append(out, at)
	}
	return out
}

// line makes one line of text of at most limit bytes.
func line(s string, limit int) string {
	return strings.TrimSpace(cut(strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))), " "), limit))
}

// cut shortens text without breaking a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
