package slack

import (
	"bytes"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// maxFields is far above the fifteen fields of a command.
const maxFields = 64

// Fields of a form that are read (docs.slack.dev/interactivity/implementing-slash-commands
// and docs.slack.dev/interactivity/handling-user-interaction, read 2026-11). The address
// for answers among them, response_url, is not.
const (
	fPayload    = "payload" // of interactivity, which sends nothing else
	fCheck      = "ssl_check"
	fCommand    = "command"
	fText       = "text"
	fTrigger    = "trigger_id"
	fApp        = "api_app_id"
	fTeam       = "team_id"
	fEnterprise = "enterprise_id"
	fOrgWide    = "is_enterprise_install"
	fChannel    = "channel_id"
	fUser       = "user_id"
)

// isForm tells a form from JSON by its first byte; the header that names the type is
// not signed.
func isForm(body []byte) bool { return len(body) > 0 && body[0] >= 'a' && body[0] <= 'z' }

// readForm reads a form. Any name that stands twice is refused, as it is in JSON.
func readForm(body []byte) (map[string]string, error) {
	if bytes.Count(body, []byte("&")) >= maxFields {
		return nil, bad("more fields than Slack sends")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, bad("not a form")
	}
	fields := make(map[string]string, len(values))
	for name, vs := range values {
		if len(vs) != 1 || !utf8.ValidString(name) || !utf8.ValidString(vs[0]) || strings.ContainsRune(vs[0], 0) {
			return nil, bad("a field is repeated or no text")
		}
		fields[name] = vs[0]
	}
	return fields, nil
}

// formed reads a request that is a form: of interactivity, of a command, or the check
// of the certificate, which is answered and says nothing.
func formed(in webhook.Input) (channel.Inbound, error) {
	f, err := readForm(in.Body)
	if err != nil {
		return channel.Inbound{}, err
	}
	check, checks := f[fCheck]
	_, commands := f[fCommand]
	switch _, interacts := f[fPayload]; {
	case interacts && len(f) == 1:
		return interaction(f[fPayload])
	case commands && !checks && !interacts:
		return command(f, in.Config)
	case check == "1" && !commands && !interacts:
		return channel.Inbound{Kind: channel.Handshake}, nil
	}
	return channel.Inbound{}, bad("neither a payload nor a command alone")
}

// command reads a slash command, which somebody used in a channel and Slack shows to
// nobody else. It is of no thread, so its answer is not either, and what is asked by
// commands in a channel is one conversation with each agent. Slack tells of it once;
// its trigger names it.
func command(f map[string]string, cfg webhook.Config) (channel.Inbound, error) {
	in := channel.Inbound{Kind: channel.Message, Identity: channel.Identity{appID: f[fApp], teamID: f[fTeam], enterpriseID: f[fEnterprise]}}
	for _, id := range in.Identity {
		if id != "" && !plainID(id) {
			return channel.Inbound{}, bad("an app, a workspace or an organisation")
		}
	}
	switch f[fOrgWide] {
	case "true":
		in.Identity[orgWide] = "true"
	case "false", "":
	default:
		return channel.Inbound{}, bad(fOrgWide)
	}
	name, slashed := strings.CutPrefix(f[fCommand], "/")
	if !plainID(f[fTrigger]) || !plainID(f[fChannel]) || !plainID(f[fUser]) || !slashed || !commandName(name) {
		return channel.Inbound{}, bad("a command has no name, trigger, channel or user")
	}
	bot := cfg.Get(botUserID)
	env := &in.Envelope
	*env = channel.Envelope{Provider: taxonomy.Slack, EventID: f[fTrigger], Account: f[fEnterprise], Team: f[fTeam],
		Space: f[fChannel], Actor: f[fUser], Direct: strings.HasPrefix(f[fChannel], "D"), Mention: true, Text: plainText(f[fText], bot)}
	env.SelfAuthored = bot != "" && env.Actor == bot
	if name = strings.ToLower(name); channel.ValidAddressee(name) {
		env.Addressed = []string{name}
	}
	env.Addressed = append(env.Addressed, addressed(env.Text)...)
	if env.Text == "" {
		env.Text = f[fCommand]
	}
	if env.SelfAuthored {
		in.Kind, in.Reason = channel.Ignored, channel.SelfIgnored
	}
	return in, nil
}

// commandName reports whether a name is one word of bounded length; Slack's have 32
// characters at most, not all of them Latin.
func commandName(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
}
