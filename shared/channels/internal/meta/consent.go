package meta

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// What an app of the platform holds for the login page. The client secret is the app
// secret once more, in the class of what trades codes.
const (
	clientID     = "client_id"
	configID     = "config_id"
	clientSecret = "client_secret"
)

// Login is Facebook Login for Business by redirects, for a product whose tenants are
// pages or belong to one
// (developers.facebook.com/documentation/facebook-login/facebook-login-for-business of
// 2026-05-05 and .../guides/advanced/manual-flow of 2026-03-10, read 2026-11-22). Meta
// documents PKCE for its OpenID Connect login only, which gives no access to pages.
type Login struct {
	// Fields are asked of each page beside id and access_token; Events are what the page
	// is subscribed to.
	Fields, Events string
	// Tenant names the tenant of a page by the settings' names, nil if it has none.
	Tenant func(page channel.Object) webhook.Config
	// Base is where the Graph API is, for a call to the product's own.
	Base func(base string) string
}

// Consent is the product's login page.
func (l Login) Consent() *channel.Consent {
	return &channel.Consent{
		Secret: channel.SecretField{Name: clientSecret, Title: "App secret, for the login page", Class: taxonomy.ChannelApp},
		Settings: []channel.ConfigField{
			{Name: clientID, Title: "App ID", Valid: Digits},
			{Name: configID, Title: "Configuration ID of Facebook Login for Business", Valid: Digits, Help: "Of a configuration with a system user's access token that never expires, and the product's permissions."},
		},
		// The configuration says the permissions; Meta grants all of them or none.
		Ready: func(app webhook.Config) bool { return app.Get(clientID) != "" && app.Get(configID) != "" },
		Authorize: func(base string, app webhook.Config, a channel.Asked) string {
			q := url.Values{"client_id": {app.Get(clientID)}, "config_id": {app.Get(configID)}, "response_type": {"code"}, "redirect_uri": {a.RedirectURI}, "state": {a.State}}
			return strings.Replace(l.Base(base), "://graph.", "://www.", 1) + "/dialog/oauth?" + q.Encode()
		},
		Exchange: l.exchange,
	}
}

// exchange trades a code for the business's token, takes the one page that the person
// chose, and has its events sent to the app. The business's token is let go; what is
// kept is the page's, which does not end if that one does not.
func (l Login) exchange(ctx context.Context, c channel.Call, g channel.Grant) (channel.Granted, channel.ConsentFailure) {
	c.BaseURL = l.Base(c.BaseURL)
	business, failure := trade(ctx, c, g)
	if failure != "" {
		return channel.Granted{}, failure
	}
	c.Token = business
	r, f := vendorapi.Get(ctx, c, "/me/accounts?"+url.Values{"fields": {strings.Trim("id,access_token,"+l.Fields, ",")}, "limit": {"25"}}.Encode(), vendorapi.Bearer)
	if failure = said(r, f, channel.AnswerMalformed); failure != "" {
		return channel.Granted{}, failure
	}
	got, page, failure := l.choose(r.Body)
	if failure != "" {
		return channel.Granted{}, failure
	}
	c.Token = got.Token
	r, f = vendorapi.PostForm(ctx, c, "/"+page+"/subscribed_apps", url.Values{"subscribed_fields": {l.Events}}, vendorapi.Bearer)
	if failure = said(r, f, channel.ScopesMissing); failure != "" {
		return channel.Granted{}, failure
	}
	if !r.Body.Bool("success") {
		return channel.Granted{}, channel.AnswerMalformed
	}
	return got, ""
}

// choose takes the one page that has a tenant. Of several nobody knows which is meant,
// nor what stands in a list's next part.
func (l Login) choose(o channel.Object) (got channel.Granted, page string, failure channel.ConsentFailure) {
	if _, ok := o["data"].([]any); !ok {
		return got, "", channel.AnswerMalformed
	}
	for _, one := range o.List("data") {
		p, _ := one.(channel.Object)
		tenant := l.Tenant(p)
		if tenant == nil {
			continue
		}
		if page != "" {
			return channel.Granted{}, "", channel.SeveralTenants
		}
		page = p.Str("id")
		for _, ids := range tenant {
			if !Digits(page) || !Digits(ids[0]) {
				return channel.Granted{}, "", channel.AnswerMalformed
			}
		}
		token := p.Str("access_token")
		if !plainToken(token) {
			return channel.Granted{}, "", channel.AnswerMalformed
		}
		got = channel.Granted{Token: secret.FromString(token), Config: tenant}
	}
	if o.Obj("paging").Str("next") != "" {
		return channel.Granted{}, "", channel.SeveralTenants
	}
	if page == "" {
		return got, "", channel.NoTenant
	}
	return got, page, ""
}

func plainToken(s string) bool { return len(s) >= 10 && len(s) <= 1024 && vendorapi.Printable(s) }

// trade trades a code for the business's token. The secret goes into the body, where no
// log of addresses shows it.
func trade(ctx context.Context, c channel.Call, g channel.Grant) (secret.Text, channel.ConsentFailure) {
	form := url.Values{"client_id": {c.Config.Get(clientID)}, "redirect_uri": {g.RedirectURI}}
	_ = g.Code.Use(func(b []byte) error { form.Set("code", string(b)); return nil })
	_ = c.Token.Use(func(b []byte) error { form.Set("client_secret", string(b)); return nil })
	r, f := vendorapi.PostForm(ctx, c, "/oauth/access_token", form, func(*http.Request, string) bool { return true })
	if failure := said(r, f, channel.CodeRefused); failure != "" {
		return secret.Text{}, failure
	}
	// A token that ends would have to be renewed, and so would a page's of it.
	if ends, ok := number(r.Body, "expires_in"); ok && ends > 0 {
		return secret.Text{}, channel.TokenExpires
	}
	token := r.Body.Str("access_token")
	if !plainToken(token) || !strings.EqualFold(r.Body.Str("token_type"), "bearer") {
		return secret.Text{}, channel.AnswerMalformed
	}
	return secret.FromString(token), ""
}

// said is why an answer is none: refused stands for a refusal. 1 and 101 are told of an
// app or a secret that Meta does not know, 4, 17 and 32 of limits, 2 of its own troubles
// (developers.facebook.com/docs/graph-api/guides/error-handling, read 2026-11).
func said(r vendorapi.Reply, f *channel.Failure, refused channel.ConsentFailure) channel.ConsentFailure {
	if f != nil {
		return channel.VendorUnavailable
	}
	if code, ok := number(r.Body.Obj("error"), "code"); ok {
		switch code {
		case 1, 101:
			if refused == channel.CodeRefused {
				return channel.AppRefused
			}
			return channel.VendorUnavailable
		case 2, 4, 17, 32:
			return channel.VendorUnavailable
		}
		return refused
	}
	switch f = r.Failure(); {
	case f == nil:
		return ""
	case f.Certainty == channel.Refused:
		return refused
	}
	return channel.VendorUnavailable
}
