// Package web is the chat of an organisation's own pages: messages of visitors in,
// answers kept for them to read.
//
// There is no vendor. The organisation's server signs a token for each visitor with the
// install's widget_secret, the page sends it along ([webhook.VisitorToken]); the token
// names the install, so a request for another one does not verify. What a visitor says
// is not signed. An answer is not posted: the write that makes its part sent is what the
// visitor's page reads ([session.Shown] through the webhook's GET), so it is shown
// exactly once and nothing can remain unknown of it.
//
// A visitor has one conversation per agent and persona, whose space is the visitor's
// name. Events are named by the visitor and the page's own id of the message, so one
// visitor's ids mean nothing for another.
//
// Not here: visitors whom nobody vouches for, files and voice, and answers that are
// shown while they grow.
package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/markdown"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Names of settings and secrets.
const (
	widgetSecret   = "widget_secret"
	allowedOrigins = "allowed_origins"
)

const (
	// minSecret is what RFC 7518 3.2 demands of a key for HS256, in bytes.
	minSecret = 32
	maxSecret = 512
	// maxLife bounds how long a token that got lost is of use.
	maxLife = 24 * time.Hour
	// skew is for the clock of the organisation's server.
	skew = time.Minute
	// retryHorizon is how long a page keeps a message that it could not deliver.
	retryHorizon = 48 * time.Hour
	// maxPiece bounds a message, in UTF-16 units; pages have no limit of their own.
	maxPiece = 8000
)

// Scheme is how visitors prove themselves.
func Scheme() webhook.VisitorToken {
	return webhook.VisitorToken{Profile: string(taxonomy.Web), MaxLife: maxLife, Skew: skew, MinSecret: minSecret}
}

// Entry describes the chat to the catalog.
func Entry() channel.Entry {
	return channel.Entry{
		ID: taxonomy.Web, Title: "Web chat", Methods: []string{http.MethodGet, http.MethodPost},
		Config: []channel.ConfigField{
			{Name: allowedOrigins, Title: "Pages that may show the chat", List: true, Valid: ValidOrigin,
				Help: "Origins like https://www.example.com, without a path; http for localhost only. Without any, no page can use the chat."},
		},
		Secrets: []channel.SecretField{
			{Name: widgetSecret, Title: "Secret that signs visitors' tokens", Class: taxonomy.ChannelVerify, Required: true, MinBytes: minSecret, MaxBytes: maxSecret,
				Help: "A random text of your own, 48 characters are a good length. It stays on your server."},
		},
		VerifySecret: widgetSecret, Kept: true,
		Browsers: &channel.Browsers{Origins: allowedOrigins, Visitor: webhook.Visitor, Reads: conversation},
		Scheme:   Scheme(), Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup,
		Ack:    channel.Ack{ContentType: "application/json", Body: `{"queued":false}`},
		Queued: channel.Ack{ContentType: "application/json", Body: `{"queued":true}`},
	}
}

// ValidOrigin reports whether a text is the origin of a page, as browsers write it
// (RFC 6454 6.2): https, a host in lower case and a port that is not 443; http for the
// machine itself only.
func ValidOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > 300 || u.Host == "" || s != u.Scheme+"://"+u.Host || s != strings.ToLower(s) || u.User != nil {
		return false
	}
	host, port := u.Hostname(), u.Port()
	plain := strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789.-") == "" || host == "::1"
	if !plain || host == "" || strings.HasPrefix(host, ".") || strings.HasSuffix(u.Host, ":") || strings.Trim(port, "0123456789") != "" || len(port) > 5 || strings.HasPrefix(port, "0") {
		return false
	}
	switch u.Scheme {
	case "https":
		return port != "443"
	case "http":
		return (host == "localhost" || host == "127.0.0.1" || host == "::1") && port != "80"
	}
	return false
}

// conversation is the envelope that all messages of a visitor share.
func conversation(visitor string) channel.Envelope {
	return channel.Envelope{Provider: taxonomy.Web, Space: visitor, Direct: true, Actor: visitor}
}

// Adapter is stateless.
type Adapter struct{}

// Split writes an answer as plain text: a page must not be given markup of a model's.
func (Adapter) Split(text string) []channel.Piece {
	var out []channel.Piece
	size := func(r []markdown.Run) int { return markdown.Units(markdown.Plain(r)) }
	for _, p := range markdown.Split(markdown.Parse(text, markdown.Options{Bullet: "• ", PlainLinks: true}), maxPiece, size) {
		t := markdown.Plain(p)
		out = append(out, channel.Piece{Text: t, Plain: t})
	}
	return out
}

// Send refuses: see [channel.Entry.Kept].
func (Adapter) Send(context.Context, channel.Call, channel.Outgoing) (string, *channel.Failure) {
	return "", &channel.Failure{Certainty: channel.Refused, Code: "kept"}
}
