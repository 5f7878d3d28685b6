package profiles

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/shared/model/jsonwire"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// botToken is the Bot Framework's token
// (learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication,
// "Connector to Bot", read 2026-11).
func botToken() Profile {
	return post(webhook.JWT{Profile: string(taxonomy.ProfileTeamsBot), Skew: fiveMinutes, Also: endorsed,
		Modes: []webhook.TokenMode{{Published: string(taxonomy.ProfileTeamsBot), Issuers: []string{"https://api.botframework.com"}}}})
}

// chatSender is who signs for, or speaks as, Google Chat.
const chatSender = "chat@system.gserviceaccount.com"

// chatToken is Google Chat's token
// (developers.google.com/workspace/chat/verify-requests-from-chat, read 2026-11).
// Its two kinds are signed with different sets, which are never merged: keys of
// the first sign for every Google account, so the e-mail decides there.
func chatToken() Profile {
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	name := string(taxonomy.ProfileGoogleChat)
	return post(webhook.JWT{Profile: name, Skew: fiveMinutes, Modes: []webhook.TokenMode{
		{Name: "url", Published: name + "_url", Issuers: []string{"https://accounts.google.com", "accounts.google.com"}, Email: chatSender,
			Fits: func(a string) bool { return !digits(a) }},
		{Name: "project_number", Published: name + "_project_number", Issuers: []string{chatSender}, Fits: digits},
	}})
}

// ConnectorHosts take replies of Teams bots (the same page and, for government
// clouds, learn.microsoft.com/azure/bot-service/how-to-deploy-gov-cloud-high,
// read 2026-11; the issuers of those clouds are others).
func ConnectorHosts() []string {
	return []string{"smba.trafficmanager.net", "smba.infra.gcc.teams.microsoft.com"}
}

// endorsed compares the token with the activity: the key may speak for its
// channel, and the reply goes where the token says. An activity that names no
// channel or address claims nothing; the token's address must still be its own.
func endorsed(in webhook.Input, key webhook.Key, claims webhook.Claims) webhook.Reason {
	// By exact names, as whoever answers reads them: into a struct "ServiceUrl" would
	// count, too.
	var activity map[string]json.RawMessage
	if jsonwire.Check(in.Body) != nil || json.Unmarshal(in.Body, &activity) != nil {
		return webhook.BadPayload
	}
	var speaks, service string
	for name, into := range map[string]*string{"channelId": &speaks, "serviceUrl": &service} {
		if raw, named := activity[name]; named && json.Unmarshal(raw, into) != nil {
			return webhook.BadPayload
		}
	}
	if speaks != "" && !slices.Contains(key.Endorsements, speaks) {
		return webhook.IdentityRefused
	}
	if service == "" && claims.ServiceURL == "" {
		return ""
	}
	u, err := url.Parse(service)
	if service != claims.ServiceURL || err != nil || u.Scheme != "https" || u.User != nil || !slices.Contains(ConnectorHosts(), strings.ToLower(u.Host)) {
		return webhook.ServiceURLRefused
	}
	return ""
}
