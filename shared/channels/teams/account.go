package teams

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/internal/vendorapi"
)

// Facts of the trade for a bot of one tenant
// (bot-framework-rest-connector-authentication, "Step 1: Request an access token", and
// learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow, read
// 2026-11). Bots of many tenants, whose tokens are botframework.com's, can be made no
// more since 2025-07-31.
const (
	scope     = "https://api.botframework.com/.default"
	grantType = "client_credentials"
)

// trade implements [channel.Exchange].
func trade(ctx context.Context, c channel.Call, _ time.Time) (channel.Traded, *channel.Failure) {
	app, directory := c.Config.Get(appID), c.Config.Get(tenantID)
	if !guid.MatchString(app) || !guid.MatchString(directory) {
		return channel.Traded{}, &channel.Failure{Certainty: channel.Refused, Code: "identity_malformed"}
	}
	form := url.Values{"grant_type": {grantType}, "client_id": {app}, "scope": {scope}}
	_ = c.Token.Use(func(b []byte) error {
		form.Set("client_secret", string(b))
		return nil
	})
	inForm := func(*http.Request, string) bool { return true }
	r, f := vendorapi.PostForm(ctx, c, "/"+directory+"/oauth2/v2.0/token", form, inForm)
	return vendorapi.Granted(r, f)
}
