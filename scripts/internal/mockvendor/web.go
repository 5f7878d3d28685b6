package mockvendor

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

// web is an organisation's own server: it vouches for its visitors. There is no
// interface of a vendor's; a message is of the visitor that its id names, up to the last
// hyphen.
func web() channelVendor {
	return channelVendor{id: "web", serve: func(*Server) {}, sign: func(r *http.Request, p Proof, body []byte) {
		var m struct{ ID string }
		_ = json.Unmarshal(body, &m)
		visitor, _, _ := cutLast(m.ID)
		r.Header.Set("Authorization", "Bearer "+VisitorToken(p.Secret, path.Base(r.URL.Path), visitor, p.At))
	}}
}

func cutLast(id string) (before, after string, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 0 {
		return "nobody", id, false
	}
	return id[:i], id[i+1:], true
}

// VisitorToken is what an organisation's server makes for a visitor of an install, good
// for an hour. claims replace its own; nil takes one away.
func VisitorToken(secret, install, visitor string, at time.Time, claims ...map[string]any) string {
	all := map[string]any{"sub": visitor, "aud": install, "iat": at.Unix(), "exp": at.Add(time.Hour).Unix(), "name": "Ada"}
	for _, more := range claims {
		for name, v := range more {
			if all[name] = v; v == nil {
				delete(all, name)
			}
		}
	}
	b, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprintf("mockvendor: claims: %v", err))
	}
	return VisitorTokenOf(secret, `{"typ":"JWT","alg":"HS256"}`, base64.RawURLEncoding.EncodeToString(b))
}

// VisitorTokenOf signs encoded claims below a head, as HS256 does, whatever the head says.
func VisitorTokenOf(secret, head, claims string) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(head)) + "." + claims
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(signed))
	return signed + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}
