package channel

import "strings"

// MaxAddressee bounds the name that a message may be addressed to.
const MaxAddressee = 64

// ValidAddressee reports whether a name can be addressed: 1 to 64 characters of
// a-z, 0-9, _ and -.
func ValidAddressee(name string) bool {
	return name != "" && len(name) <= MaxAddressee && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// Addressee reads the name that a text begins with, as in "sales: how much?" or
// "sales how much?", in lower case. It returns "" if the first word is no name.
func Addressee(text string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	word, _, _ = strings.Cut(word, "\n")
	if name := strings.ToLower(strings.TrimRight(word, ":,")); ValidAddressee(name) {
		return name
	}
	return ""
}
