package mockvendor

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"time"
)

// channelVendor is a channel vendor that the server plays.
type channelVendor struct {
	id string
	// apis are the paths of its interfaces, by the variable that moves a stack there.
	apis map[string]string
	// serve adds its routes, with what it has to remember.
	serve func(*Server)
	// sign puts into the headers what proves that a request with this body is its own.
	// The request has its method, its URL and the headers that are the vendor's, too.
	sign func(r *http.Request, p Proof, body []byte)
	// stamp gives the body with its proof in it, for a vendor whose proof is there; nil
	// for all others.
	stamp func(p Proof, body []byte) []byte
}

// channelVendors are all of them: a file and a line for each.
func channelVendors() []channelVendor {
	return []channelVendor{
		slack(),
		telegram(),
		twilio(),
		whatsapp(),
		line(),
		discord(),
		googleChat(),
		teams(),
		messenger(),
		instagram(),
		email(),
		web(),
	}
}

// Environment moves a stack to the channel vendors of the server at base.
func Environment(base string) map[string]string {
	out := map[string]string{}
	for _, v := range channelVendors() {
		for name, path := range v.apis {
			out[name] = base + path
		}
	}
	return out
}

// Proof is what a vendor proves a request with.
type Proof struct {
	// Secret is what it shares with the install, or signs with.
	Secret string
	At     time.Time
}

// SignRequest puts into r what proves to the receiver that this webhook request comes
// from the provider's vendor. It shares no code with what verifies. A provider that is
// not simulated is a mistake of the test and panics.
func SignRequest(r *http.Request, provider string, p Proof, body []byte) {
	for _, v := range channelVendors() {
		if v.id == provider {
			if v.sign != nil {
				v.sign(r, p, body)
			}
			return
		}
	}
	panic("mockvendor: no channel vendor " + provider)
}

// Stamp is the body that the provider's vendor sends: that one, or with its proof in it.
func Stamp(provider string, p Proof, body []byte) []byte {
	for _, v := range channelVendors() {
		if v.id == provider && v.stamp != nil {
			return v.stamp(p, body)
		}
	}
	return body
}

func mac(secret, prefix string, body []byte) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(prefix))
	m.Write(body)
	return m.Sum(nil)
}
