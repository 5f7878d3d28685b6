package webhook

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/secret"
)

// URLForm is the scheme that signs the URL as configured at the vendor and the
// names and values of the form, sorted, with SHA-1 in base64. A body that is no
// form is covered by its SHA-256 in the query, which is a part of the URL.
// Nothing signs a time.
type URLForm struct {
	Profile string // verification profile's name
	Header  string
	// HashParam is the query parameter that holds the hash of a body.
	HashParam string
}

// maxParams bounds the work of sorting.
const maxParams = 1000

// Name is the profile's name.
func (u URLForm) Name() string { return u.Profile }

// NeedsSecret is true.
func (u URLForm) NeedsSecret() bool { return true }

// Check compares under every secret.
func (u URLForm) Check(in Input, secrets []secret.Text, _ time.Time) (Result, *Refusal) {
	text, why := in.Header.single(u.Header)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	got, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(got) != sha1.Size || len(text) > maxHeader || strings.ContainsAny(text, "\r\n") {
		return Result{}, &Refusal{SigFormat}
	}
	message, why := u.message(in)
	if why != "" {
		return Result{}, &Refusal{why}
	}
	match := -1
	for i, k := range secrets {
		want, err := u.mac(message, k)
		if err != nil {
			return Result{}, &Refusal{NoSecret}
		}
		if hmac.Equal(want, got) && match < 0 {
			match = i
		}
	}
	if match < 0 {
		return Result{}, &Refusal{SigMismatch}
	}
	return Result{SecretIndex: match, BodySigned: true}, nil
}

// Sign adds the header to in, whose PublicURL it needs. A body that is no form
// must be named in in.RawQuery.
func (u URLForm) Sign(in *Input, key secret.Text, _ time.Time) error {
	if key.IsZero() {
		return ErrEmptySecret
	}
	message, why := u.message(*in)
	if why != "" {
		return errUnsignable
	}
	mac, err := u.mac(message, key)
	if err != nil {
		return err
	}
	if in.Header == nil {
		in.Header = Header{}
	}
	in.Header.Add(u.Header, base64.StdEncoding.EncodeToString(mac))
	return nil
}

// message is what is signed.
func (u URLForm) message(in Input) (string, Reason) {
	if in.PublicURL == "" {
		return "", NoPublicURL
	}
	where := signedURL(in)
	_, query, _ := strings.Cut(where, "?")
	if hash, ok, why := u.bodyHash(query); why != "" {
		return "", why
	} else if ok {
		sum := sha256.Sum256(in.Body)
		if !hmac.Equal(sum[:], hash) {
			return "", SigMismatch
		}
		return where, ""
	}
	pairs, ok := signedPairs(in.Body)
	if !ok {
		// What is no form has no hash: nothing can have signed it.
		return "", SigMismatch
	}
	return where + pairs, ""
}

// signedPairs are the names and values of a form, sorted.
func signedPairs(body []byte) (text string, ok bool) {
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form) > maxParams {
		return "", false
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := form[name]
		slices.Sort(values)
		for _, v := range slices.Compact(values) {
			b.WriteString(name + v)
		}
	}
	return b.String(), true
}

// URLHint implements [URLSigner]. It computes a MAC for each of a few URLs and each
// secret, so that the caller bounds the body.
func (u URLForm) URLHint(in Input, secrets []secret.Text) URLHint {
	text, why := in.Header.single(u.Header)
	got, err := base64.StdEncoding.Strict().DecodeString(text)
	pairs, form := signedPairs(in.Body)
	if why != "" || err != nil || !form || in.PublicURL == "" {
		return ""
	}
	where := signedURL(in)
	for _, c := range otherURLs(in, where) {
		if c.url == where {
			continue
		}
		for _, k := range secrets {
			if want, err := u.mac(c.url+pairs, k); err == nil && hmac.Equal(want, got) {
				return c.hint
			}
		}
	}
	return ""
}

type otherURL struct {
	url  string
	hint URLHint
}

// otherURLs are the URLs that people mean when they type the configured one.
func otherURLs(in Input, where string) []otherURL {
	path, query, _ := strings.Cut(where, "?")
	if query != "" {
		query = "?" + query
	}
	rest := strings.TrimPrefix(path, "https://")
	host, tail, _ := strings.Cut(rest, "/")
	port := host + ":443"
	if bare, has := strings.CutSuffix(host, ":443"); has {
		port = bare
	}
	slash := path + "/"
	if bare, has := strings.CutSuffix(path, "/"); has {
		slash = bare
	}
	received := "https://" + strings.Join(in.Header.Values("host"), "") + in.Path
	if in.RawQuery != "" {
		in.RawQuery = "?" + in.RawQuery
	}
	return []otherURL{{slash + query, HintSlash}, {"https://" + port + "/" + tail + query, HintPort}, {"http://" + rest + query, HintScheme},
		{path, HintQuery}, {path + in.RawQuery, HintQuery}, {received, HintRequest}, {received + in.RawQuery, HintRequest}}
}

// signedURL is the configured URL without its fragment, which holds the vendor's
// connection settings. The query received takes the place of the configured one
// when it begins with it; the signature covers it then.
func signedURL(in Input) string {
	where, _, _ := strings.Cut(in.PublicURL, "#")
	path, query, has := strings.Cut(where, "?")
	if in.RawQuery == "" || has && query != "" && in.RawQuery != query && !strings.HasPrefix(in.RawQuery, query+"&") {
		return where
	}
	return path + "?" + in.RawQuery
}

// bodyHash finds the hash of the body in the query; more than one is refused.
func (u URLForm) bodyHash(query string) (hash []byte, found bool, why Reason) {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name != u.HashParam {
			continue
		}
		if found {
			return nil, true, SigFormat
		}
		var err error
		if hash, err = hex.DecodeString(value); err != nil || len(hash) != sha256.Size {
			return nil, true, SigFormat
		}
		found = true
	}
	return hash, found, ""
}

func (u URLForm) mac(message string, k secret.Text) (sum []byte, err error) {
	err = k.Use(func(key []byte) error {
		m := hmac.New(sha1.New, key)
		m.Write([]byte(message))
		sum = m.Sum(nil)
		return nil
	})
	return sum, err
}
