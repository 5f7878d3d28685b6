// Package teams connects bots of Microsoft Teams over the Bot Framework's REST
// interface: activities in, messages out.
//
// The Bot Framework sends a token with every request, signed with keys that it
// publishes. It names the app and the address to answer to, and does not cover the
// body: what was said, and in which tenant, counts as said by the channel. The app is
// the token's audience, compared during verification and again afterwards; the tenant
// is the activity's, and where it is stated twice the two must agree. Repetitions are
// told by the ids of activities.
//
// A bot is told of what is said to it: personal chats, and messages in group chats and
// channels that mention it. Who is mentioned is what the activity's entities say; the
// text is the writer's. An answer goes to the conversation, in channels to the thread of
// the question, over the address that the token names, and only to exact hosts of
// Microsoft's. The client secret is traded for the token that sends. Messages are in
// Teams' subset of HTML; an answer may grow by edits.
//
// Not here: what people record in Teams, which reaches a bot without its sound
// (github.com/MicrosoftDocs/msteams-docs/issues/14169 of 2026-03 and 1805, read
// 2026-11); pictures and files, whose addresses lie at hosts of the tenant's that no
// fixed list names; cards and their buttons, reactions, meetings, spoken answers, and
// the clouds of governments whose tokens are of another issuer (GCC High, DoD). An app
// that is removed from a chat or team stays installed; that is recorded.
package teams

import (
	"regexp"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/keyset"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings and secrets.
const (
	appID        = "app_id"
	tenantID     = "tenant_id"
	clientSecret = "client_secret"
)

// Microsoft's interfaces: keys and tokens
// (learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-authentication)
// and messages (github.com/MicrosoftDocs/msteams-docs, bots/how-to/conversations); all
// read 2026-11. The first of the connector's hosts is the base of a stack.
const (
	apiBase   = "https://smba.trafficmanager.net"
	keysHost  = "login.botframework.com"
	keysPath  = "/v1/.well-known/openidconfiguration"
	loginHost = "login.microsoftonline.com"
)

// retryHorizon is ours: Microsoft states no repetition of activities.
const retryHorizon = 24 * time.Hour

// Forms of Microsoft's names, which are opaque: wider than the examples of msteams-docs
// (read 2026-11). A channel's conversation has its thread behind a semicolon.
var (
	guid         = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	spaceForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:@._=+~-]{0,255}$`)
	threadForm   = regexp.MustCompile(`^[0-9]{1,20}$`)
	accountForm  = regexp.MustCompile(`^[0-9]{1,3}:[A-Za-z0-9:@._=+~-]{1,250}$`)
	activityForm = regexp.MustCompile(`^[A-Za-z0-9:._|=+~-]{1,128}$`)
	servicePath  = regexp.MustCompile(`^(/[A-Za-z0-9-]{1,64}){0,3}$`)
)

// Entry describes Microsoft Teams to the catalog.
func Entry() channel.Entry {
	profile, _ := profiles.Find(taxonomy.ProfileTeamsBot)
	const nobody = "00000000-0000-0000-0000-000000000000"
	return channel.Entry{
		ID: taxonomy.Teams, Title: "Microsoft Teams", Methods: profile.Methods,
		Config: []channel.ConfigField{
			{Name: appID, Title: "Application (client) ID", Required: true, Valid: guid.MatchString,
				Help: "Of the app registration in Microsoft Entra, in small letters; the bot has the same."},
			{Name: tenantID, Title: "Directory (tenant) ID", Required: true, Valid: guid.MatchString,
				Help: "Of the Microsoft Entra directory whose people are answered, and in which the app is registered; in small letters."},
		},
		Secrets: []channel.SecretField{
			{Name: clientSecret, Title: "Client secret (value)", Class: taxonomy.ChannelSend, Required: true, Unique: true, Form: credential.Token,
				Help: "Its value, which is shown once, not its ID."},
		},
		SendSecret: clientSecret,
		Identity:   [][]string{{appID}, {tenantID}},
		Tenant:     func(c webhook.Config) (app, tenant string) { return c.Get(appID), "T:" + c.Get(tenantID) },
		Scheme:     profile.Scheme, Adapter: Adapter{}, RetryHorizon: retryHorizon, Setup: setup, Identity403: true,
		Keys: &channel.PublishedKeys{Base: "https://" + keysHost, Hosts: []string{keysHost},
			Sets:  []keyset.Source{{Name: string(taxonomy.ProfileTeamsBot), Path: keysPath, Metadata: true}},
			Decoy: webhook.Config{appID: {nobody}, tenantID: {nobody}}},
		Exchange: &channel.Exchange{Base: "https://" + loginHost, Hosts: []string{loginHost}, Trade: trade},
		APIBase:  apiBase, Hosts: profiles.ConnectorHosts(),
	}
}

// Adapter is stateless.
type Adapter struct{}

// conversation is the id of a conversation, of its thread if it has one.
func conversation(space, thread string) string {
	if thread == "" {
		return space
	}
	return space + threadMark + thread
}

// threadMark stands between a channel and the message that a thread begins with.
const threadMark = ";messageid="

// apart is the opposite of conversation.
func apart(id string) (space, thread string, ok bool) {
	space, thread, threaded := strings.Cut(id, threadMark)
	return space, thread, spaceForm.MatchString(space) && threaded == (thread != "") && (!threaded || threadForm.MatchString(thread))
}
