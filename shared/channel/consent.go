package channel

import (
	"context"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Consent is a vendor's authorisation page (OAuth 2.0, authorisation code), on
// which a tenant installs an app of the platform.
type Consent struct {
	// Secret is the client secret of the app, of class channel_app; Settings are the
	// settings that the app needs for this beside its others.
	Secret   SecretField
	Settings []ConfigField
	// Scopes are asked for, and all needed.
	Scopes []string
	// Ready reports whether an app has the settings; nobody is sent to a page that
	// can only refuse.
	Ready func(app webhook.Config) bool
	// Authorize is the address of the page. base is the vendor's API.
	Authorize func(base string, app webhook.Config, a Asked) string
	// Exchange trades a code for the tenant's token, once. c.Token is the client
	// secret and c.Config the app's settings. failure is empty, or why there is none.
	Exchange func(ctx context.Context, c Call, g Grant) (granted Granted, failure ConsentFailure)
}

// Asked is what an authorisation page is opened with. Challenge belongs to the
// verifier of the [Grant] (PKCE, S256: RFC 7636 section 4.2).
type Asked struct {
	State, Challenge, RedirectURI string
	Scopes                        []string
}

// Grant is what comes back from the page, and what it is traded with.
type Grant struct {
	Code, Verifier secret.Text
	RedirectURI    string
}

// Granted is what the vendor gives for a code. Config names the tenant and the
// app that the token is for, by the names of the entry's settings. There is no token
// where the app sends for its tenants ([Shared].Sends).
type Granted struct {
	Token  secret.Text
	Config webhook.Config
	Scopes []string
}

// ConsentFailure is why a code brought no token. It is one of our words, never the
// vendor's text.
type ConsentFailure string

// Failures of an exchange.
const (
	// CodeRefused: the code is unknown, used or too old, or was not asked for with
	// this verifier and address.
	CodeRefused ConsentFailure = "code_refused"
	// AppRefused: the vendor does not know the app or its secret.
	AppRefused ConsentFailure = "app_refused"
	// VendorUnavailable: nothing is known of the code; it may be used up.
	VendorUnavailable ConsentFailure = "vendor_unavailable"
	// AnswerMalformed: the vendor's answer is not what it documents.
	AnswerMalformed ConsentFailure = "answer_malformed"
	// TokenExpires: the app gives tokens that end within hours, which are not renewed
	// here.
	TokenExpires ConsentFailure = "token_expires"
	// ScopesMissing: the token may not do what the app needs.
	ScopesMissing ConsentFailure = "scopes_missing"
	// NoTenant and SeveralTenants: the person chose nothing that can be connected, or more
	// than one, of which nobody knows which is meant.
	NoTenant       ConsentFailure = "no_tenant"
	SeveralTenants ConsentFailure = "several_tenants"
	// NotSetUp: the app's secret or settings are not stored.
	NotSetUp ConsentFailure = "not_set_up"
)
