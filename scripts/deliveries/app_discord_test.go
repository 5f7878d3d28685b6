package deliveries

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/mutate"
)

// discordKind: people use a command, which Discord tells of once: whoever gets no
// answer has to use it again. What they see is what stands in the place of "thinking",
// so an edit of that is a reply.
func discordKind() kind {
	id := func(n int) string { return fmt.Sprintf("1100000000%09d", n) }
	slash := func(agent string) string { return "/" + agent }
	return kind{provider: "discord", filler: 220, tries: 1, edits: true,
		fresh: func(a *app, n int, in map[string]any) {
			a.id, a.token = id(300_000+n), fmt.Sprintf("deliveriesdiscordtoken%06d", n)
			a.tenant = cmp.Or(a.tenant, id(400_000+n))
			in["secrets"] = map[string]any{"bot_token": a.token}
			in["config"] = map[string]any{"application_id": a.id, "guild_id": a.tenant, "public_keys": []any{mockvendor.DiscordPublicKey(a.secret)}}
		},
		tenantOf: func(n int) string { return id(500_000 + n) },
		talks: func(t *talk, _ bool) { // a channel is one conversation
			t.from, t.room, t.direct = id(t.n), id(600_000+t.n), false
		},
		tells: discordEvent,
		sends: func(path string, _ []byte) bool {
			switch {
			case strings.Contains(path, discordTooOld): // it shows nothing
				return false
			case strings.HasPrefix(path, "/discord/channels/"):
				return strings.HasSuffix(path, "/messages")
			}
			return strings.HasPrefix(path, "/discord/webhooks/")
		},
		refuse: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"message":"Missing Permissions","code":50013}`)
		},
		// An interaction is named in its channel, the bot's message names nothing.
		inThread: func(_ *app, p mockvendor.Post, _ string) bool {
			return p.ThreadTS == "" || strings.Contains(p.ThreadTS, "."+p.Channel+".")
		},
		missing: func(posts []mockvendor.Post) string {
			switch {
			case !slices.ContainsFunc(posts, func(p mockvendor.Post) bool { return p.ThreadTS == "" }):
				return "answer was the bot's because its interaction was over"
			case !slices.ContainsFunc(posts, func(p mockvendor.Post) bool { return p.ThreadTS != "" }):
				return "answer went by its interaction"
			}
			return ""
		},
		group: &group{room: id(0xc0ffee), people: [2]string{id(41), id(42)}, called: slash, lead: func(agent string) string { return slash(agent) + " " }, command: true},
	}
}

// discordTooOld ends the token of an interaction that answers no more.
const discordTooOld = ".true"

// discordEvent is the command that somebody used. The interaction of one in four is
// over when the answer is there, so that the bot gives it.
func discordEvent(a *app, p post) []byte {
	name, said := "ask", p.text
	if command, rest, found := strings.Cut(strings.TrimPrefix(p.text, "/"), " "); p.command && found {
		name, said = command, rest
	}
	is := fmt.Sprintf("n%d", p.n)
	over := oneInFour(p.n)
	return text(map[string]any{"id": mockvendor.DiscordID(p.sent, int64(p.n)), "application_id": a.id, "type": 2, "version": 1, "token": mockvendor.DiscordToken(a.token, p.room, is, over),
		"guild_id": a.tenant, "channel_id": p.room, "context": 0, "member": map[string]any{"user": map[string]any{"id": p.from, "username": "a", "bot": false}, "permissions": "0"},
		"data": map[string]any{"id": "7", "name": name, "type": 1, "options": []any{map[string]any{"name": "text", "type": 3, "value": said}}}})
}

// discordMutants send by the bot what may stand in the interaction's place already.
func discordMutants() []mutant {
	return []mutant{
		{mutate.Change{Name: "an interaction of which nobody knows is answered by the bot", Functions: []string{"turn"}, File: "shared/channels/discord/send.go", Edits: [][2]string{
			{"\t\tif f == nil || f.Code != interactionOver {\n\t\t\treturn id, f\n", "\t\tif f == nil || f.Code != interactionOver && f.Certainty == channel.Refused {\n\t\t\treturn id, f\n"}}}, "replies were seen", "plain"},
	}
}
