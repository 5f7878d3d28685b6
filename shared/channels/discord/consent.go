package discord

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// clientSecret is what an app of the platform holds for the authorisation page. Its
// client id is the application's id (docs.discord.com, "OAuth2", read 2026-11-22).
const clientSecret = "client_secret"

// Scopes of the page: commands come with the bot (the same, "OAuth2 Scopes").
const (
	botScope      = "bot"
	commandsScope = "applications.commands"
)

// permissions are what the bot asks for: to view channels, to send messages, to
// attach speech to them, and to send them in threads (topics/permissions, bits 10, 11,
// 15 and 38, read 2026-11-22).
const permissions = "274877942784"

// shared is an app of the platform in many servers: one bot, whose token sends in all
// of them.
func shared() *channel.Shared {
	return &channel.Shared{Settings: []string{applicationID, webhook.KeysSetting}, Sends: true, Consent: consent(),
		Locate: func(got channel.Identity) string {
			if got[guildID] == "" {
				return "" // a direct message is no server's
			}
			return "G:" + got[guildID]
		}}
}

// consent is Discord's "Advanced Bot Authorization" (docs.discord.com, "OAuth2", read
// 2026-11-22); PKCE with S256 is what its metadata offers
// (discord.com/.well-known/oauth-authorization-server, read 2026-11-22).
func consent() *channel.Consent {
	return &channel.Consent{
		Secret: channel.SecretField{Name: clientSecret, Title: "Client secret", Class: taxonomy.ChannelApp},
		Scopes: []string{botScope, commandsScope}, Ready: func(app webhook.Config) bool { return app.Get(applicationID) != "" },
		Authorize: authorize, Exchange: exchange,
	}
}

// authorize is the page's address, which lies on the API's host. A server only, not a
// person's own account, is asked for (integration type 0).
func authorize(base string, app webhook.Config, a channel.Asked) string {
	q := url.Values{"client_id": {app.Get(applicationID)}, "response_type": {"code"}, "scope": {strings.Join(a.Scopes, " ")}, "permissions": {permissions}, "integration_type": {"0"},
		"redirect_uri": {a.RedirectURI}, "state": {a.State}, "code_challenge": {a.Challenge}, "code_challenge_method": {"S256"}}
	return strings.TrimSuffix(base, "/api/v10") + "/oauth2/authorize?" + q.Encode()
}

// exchange trades a code. The answer names the server; its token is the person's, who
// authorised nothing that it could be used for, and is let go.
func exchange(ctx context.Context, c channel.Call, g channel.Grant) (channel.Granted, channel.ConsentFailure) {
	form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {g.RedirectURI}}
	_ = g.Code.Use(func(b []byte) error { form.Set("code", string(b)); return nil })
	_ = g.Verifier.Use(func(b []byte) error { form.Set("code_verifier", string(b)); return nil })
	app := c.Config.Get(applicationID)
	r, f := vendorapi.PostForm(ctx, c, "/oauth2/token", form, func(req *http.Request, token string) bool {
		req.Header.Set("User-Agent", agent)
		req.SetBasicAuth(app, url.QueryEscape(token))
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
	return granted(r.Body, app)
}

// granted reads an answer. That the code was traded by the application's secret says
// that it was the application's.
func granted(o channel.Object, app string) (channel.Granted, channel.ConsentFailure) {
	guild, scopes := id(o.Obj("guild"), "id"), strings.Fields(o.Str("scope"))
	if guild == "" || o.Str("access_token") == "" || len(scopes) > 50 {
		return channel.Granted{}, channel.AnswerMalformed
	}
	if slices.Contains(scopes, botScope) && !slices.Contains(scopes, commandsScope) {
		scopes = append(scopes, commandsScope) // it comes with the bot
	}
	return channel.Granted{Config: webhook.Config{applicationID: {app}, guildID: {guild}}, Scopes: scopes}, ""
}
