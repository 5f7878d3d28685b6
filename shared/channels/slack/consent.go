package slack

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// What an app of the platform holds for the authorisation page beside its app_id.
const (
	clientID     = "client_id"
	clientSecret = "client_secret"
	// pkce is "off" for an app that is not enabled for it at Slack: there the page
	// takes the arguments only of apps that are (docs.slack.dev, "Using PKCE",
	// generally available since 2026-03-30, read 2026-11-22). Enabling it marks the
	// app as a public client for good, so it is the operator's choice.
	pkce    = "pkce"
	pkceOff = "off"
)

var slackClient = regexp.MustCompile(`^[0-9]{4,24}\.[0-9]{4,24}$`)

// consent is Slack's OAuth v2 (docs.slack.dev, "Installing with OAuth" and
// oauth.v2.access, read 2026-11-22).
func consent() *channel.Consent {
	return &channel.Consent{
		Secret: channel.SecretField{Name: clientSecret, Title: "Client secret", Class: taxonomy.ChannelApp},
		Settings: []channel.ConfigField{
			{Name: clientID, Title: "Client ID", Valid: slackClient.MatchString},
			{Name: pkce, Title: "PKCE", Valid: func(v string) bool { return v == pkceOff }, Help: "off, if PKCE is not enabled in the app's settings at Slack"},
		},
		Scopes: scopes(), Ready: func(app webhook.Config) bool { return app.Get(clientID) != "" },
		Authorize: authorize, Exchange: exchange,
	}
}

// authorize is the page's address, which lies beside the Web API.
func authorize(base string, app webhook.Config, a channel.Asked) string {
	q := url.Values{"client_id": {app.Get(clientID)}, "scope": {strings.Join(a.Scopes, ",")}, "redirect_uri": {a.RedirectURI}, "state": {a.State}}
	if app.Get(pkce) != pkceOff {
		q.Set("code_challenge", a.Challenge)
		q.Set("code_challenge_method", "S256")
	}
	return strings.TrimSuffix(base, "/api") + "/oauth/v2/authorize?" + q.Encode()
}

// refusals are the documented errors of oauth.v2.access that tell whose fault it is;
// all others are the code's.
var refusals = map[string]channel.ConsentFailure{
	"bad_client_secret": channel.AppRefused, "invalid_client_id": channel.AppRefused, "bad_redirect_uri": channel.AppRefused, "no_scopes": channel.AppRefused,
	"fatal_error": channel.VendorUnavailable, "internal_error": channel.VendorUnavailable, "request_timeout": channel.VendorUnavailable,
	"service_unavailable": channel.VendorUnavailable, "ratelimited": channel.VendorUnavailable,
}

// exchange trades a code. Id and secret go as Basic authentication, which Slack
// prefers to parameters.
func exchange(ctx context.Context, c channel.Call, g channel.Grant) (channel.Granted, channel.ConsentFailure) {
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {g.RedirectURI}}
	_ = g.Code.Use(func(b []byte) error { form.Set("code", string(b)); return nil })
	if c.Config.Get(pkce) != pkceOff {
		_ = g.Verifier.Use(func(b []byte) error { form.Set("code_verifier", string(b)); return nil })
	}
	r, f := vendorapi.PostForm(ctx, c, "/oauth.v2.access", form, func(req *http.Request, token string) bool {
		req.SetBasicAuth(url.QueryEscape(c.Config.Get(clientID)), url.QueryEscape(token))
		return true
	})
	if f == nil {
		f = r.Failure()
	}
	switch {
	case f != nil && f.TokenRejected:
		return channel.Granted{}, channel.AppRefused
	case f != nil && f.Certainty == channel.Refused:
		return channel.Granted{}, channel.CodeRefused
	case f != nil:
		return channel.Granted{}, channel.VendorUnavailable
	}
	return granted(r.Body)
}

func granted(o channel.Object) (channel.Granted, channel.ConsentFailure) {
	if !o.Bool("ok") {
		if _, said := o["ok"].(bool); !said {
			return channel.Granted{}, channel.AnswerMalformed
		}
		if f, known := refusals[o.Str("error")]; known {
			return channel.Granted{}, f
		}
		return channel.Granted{}, channel.CodeRefused
	}
	// An app with token rotation gives tokens of twelve hours.
	if o.Has("refresh_token") || o.Has("expires_in") {
		return channel.Granted{}, channel.TokenExpires
	}
	out := channel.Granted{Config: webhook.Config{appID: {o.Str("app_id")}, botUserID: {o.Str("bot_user_id")}}}
	// An installation for a whole organisation names no workspace.
	if o.Bool("is_enterprise_install") {
		out.Config[enterpriseID] = []string{o.Obj("enterprise").Str("id")}
	} else {
		out.Config[teamID] = []string{o.Obj("team").Str("id")}
	}
	for _, ids := range out.Config {
		if !slackID.MatchString(ids[0]) {
			return channel.Granted{}, channel.AnswerMalformed
		}
	}
	token := o.Str("access_token")
	if o.Str("token_type") != "bot" || len(token) < 10 || len(token) > 512 || !vendorapi.Printable(token) {
		return channel.Granted{}, channel.AnswerMalformed
	}
	out.Token, out.Scopes = secret.FromString(token), strings.Split(o.Str("scope"), ",")
	if len(out.Scopes) > 200 {
		return channel.Granted{}, channel.AnswerMalformed
	}
	return out, ""
}
