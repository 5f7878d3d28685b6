package lkcli

import "net/http"

func installFlags() []option {
	return []option{
		opt(text, "label", ""), opt(secrets, "secrets", "NAME=- (standard input) or NAME=@FILE, repeated").as("secret"),
		opt(pairs, "config", "NAME=VALUE, repeated; a name given twice is a list"), opt(text, "public_url", "as configured at the vendor"),
		opt(text, "policy.bot_messages", "which messages of other bots start a turn: none (default), mentions or all"),
		opt(text, "policy.streaming", "how an answer is shown while it is made: off (default) or edits, one message that grows (Slack, Telegram, Google Chat, Discord, Teams)"),
		opt(words, "policy.approvers", "the channel's ids of the people who may decide about calls of tools with buttons (Slack, Telegram, Discord); an empty word alone takes all of them away"),
	}
}

func installCommands() []command {
	const base, one = orgPath + "/installs", orgPath + "/installs/{id}"
	of := id("of the install")
	state := func(verb, about string) command {
		return command{name: "install " + verb, about: about, method: http.MethodPost, path: one + "/" + verb, args: of}
	}
	return []command{
		{name: "install list", about: "the channel apps", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"id", "provider", "mode", "state", "label", "missing", "callback_url"}},
		{name: "install create", about: "add a channel app", method: http.MethodPost, path: base,
			examples: []string{"lk install create --provider slack --config app_id=A1 --config team_id=T1 --secret signing_secret=@sign.txt --secret bot_token=@bot.txt"},
			flags: append([]option{opt(text, "provider", "channel").must(), opt(text, "mode", "byoa or platform"),
				opt(text, "app", "the platform's app, for mode platform")}, installFlags()...)},
		{name: "install consent", about: "install an app of the platform on the vendor's own page: prints the address to open in a browser, within ten minutes; at Telegram the links that claim a chat (url) or a group (room_url)", method: http.MethodPost, path: base + "/consent",
			examples: []string{"lk install consent --provider slack", "lk install consent --provider discord --app app_1a2b", "lk install consent --provider telegram"},
			flags:    []option{opt(text, "provider", "channel").must(), opt(text, "app", "the platform's app, if it has several of the provider")}},
		{name: "migrate installs", about: "take over bindings of the older product that name only provider and channel, as drafts of installs and bindings; a refused row is exit code 1", method: http.MethodPost, path: base + "/import",
			args: []arg{{name: "file", about: `JSON rows [{"id","provider","channel"?,"agentId","personaId"?}], at most 100; - = standard input`, file: true}},
			wrap: "rows", truth: "ok", examples: []string{"lk migrate installs --org acme rows.json --dry-run", "lk migrate installs --org acme rows.json --apply"},
			flags: []option{opt(boolean, "dry_run", "only say what would happen"), opt(boolean, "apply", "do it")}},
		{name: "install get", about: "a channel app", method: http.MethodGet, path: one, args: of},
		{name: "install update", about: "change settings or add missing secrets", method: http.MethodPatch, path: one, args: of, flags: installFlags()},
		{name: "install delete", about: "revoke a channel app", method: http.MethodDelete, path: one, args: of},
		{name: "install setup", about: "how to connect the app, and what is done already", method: http.MethodGet, path: one + "/setup", args: of,
			documents: []string{"manifest"}, examples: []string{"lk install setup i1a2b3 --json | jq .manifest"}},
		state("activate", "let messages through"),
		state("suspend", "stop until resumed"),
		state("resume", "undo suspend"),
		state("revoke", "end for good; frees tenant and token"),
		{name: "install rotate", about: "replace a secret; the old value is accepted until retire-at", method: http.MethodPost, path: one + "/rotate", args: of,
			examples: []string{"lk install rotate i1a2b3 --name signing_secret --value @new.txt"},
			flags: []option{opt(text, "name", "of the secret").must(), opt(hidden, "value", "the new value").must(),
				opt(text, "retire_at", "RFC 3339, default in 24 hours")}},
		{name: "install rotate-finish", about: "stop accepting the old value now", method: http.MethodPost, path: one + "/rotate/finish", args: of,
			flags: []option{opt(text, "name", "of the secret").must()}},
		{name: "install deliveries", about: "what arrived at an install, newest first", method: http.MethodGet, path: orgPath + "/deliveries", list: true, paged: true,
			args: []arg{{name: "id", about: "of the install", query: "install"}}, examples: []string{"lk install deliveries i1a2b3 --limit 20"},
			columns: []string{"at", "event_id", "outcome", "audit_code", "count", "turn_id", "url_hint"}},
	}
}

// appCommands are the operator's: apps of the platform that serve many
// organisations.
func appCommands() []command {
	const base, one = "/api/operator/apps", "/api/operator/apps/{id}"
	of := id("of the app")
	state := func(verb, about string) command {
		return command{name: "app " + verb, about: about, method: http.MethodPost, path: one + "/" + verb, args: of}
	}
	own := func() []option {
		return []option{opt(text, "label", ""), opt(secrets, "secrets", "NAME=- (standard input) or NAME=@FILE, repeated").as("secret"), opt(pairs, "config", "NAME=VALUE, repeated")}
	}
	return []command{
		{name: "app list", about: "the platform's own channel apps (operator)", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"id", "provider", "state", "label", "missing", "callback_url"}},
		{name: "app create", about: "add an app of the platform that serves many organisations (operator)", method: http.MethodPost, path: base,
			examples: []string{"lk app create --provider slack --config app_id=A1 --secret signing_secret=@sign.txt",
				"lk app create --provider discord --config application_id=1 --config public_keys=ab12 --secret bot_token=@bot.txt --secret client_secret=@client.txt",
				"lk app create --provider messenger --config client_id=1 --config config_id=2 --secret app_secret=@app.txt --secret verify_token=@verify.txt --secret client_secret=@app.txt",
				"lk install create --org acme --provider slack --mode platform --app app_1a2b --config team_id=T1 --secret bot_token=@bot.txt"},
			flags: append([]option{opt(text, "provider", "channel").must()}, own()...)},
		{name: "app get", about: "an app of the platform (operator)", method: http.MethodGet, path: one, args: of},
		{name: "app update", about: "change settings or add missing secrets (operator)", method: http.MethodPatch, path: one, args: of,
			flags: append(own(), opt(text, "public_url", "as configured at the vendor"))},
		state("activate", "let the messages of all its organisations through (operator)"),
		state("suspend", "stop all its organisations until resumed (operator)"),
		state("resume", "undo suspend (operator)"),
		state("revoke", "end for good, for all its organisations (operator)"),
		{name: "app rotate", about: "replace a secret; the old value is accepted until retire-at (operator)", method: http.MethodPost, path: one + "/rotate", args: of,
			examples: []string{"lk app rotate app_1a2b --name signing_secret --value @new.txt"},
			flags: []option{opt(text, "name", "of the secret").must(), opt(hidden, "value", "the new value").must(),
				opt(text, "retire_at", "RFC 3339, default in 24 hours")}},
		{name: "app rotate-finish", about: "stop accepting the old value now (operator)", method: http.MethodPost, path: one + "/rotate/finish", args: of,
			flags: []option{opt(text, "name", "of the secret").must()}},
		{name: "app deliveries", about: "what arrived for tenants that no organisation has installed, newest first (operator)", method: http.MethodGet, path: one + "/deliveries", list: true, paged: true,
			args: of, columns: []string{"at", "event_id", "outcome", "audit_code", "count"}},
	}
}

func bindingCommands() []command {
	const base, one = orgPath + "/bindings", orgPath + "/bindings/{id}"
	of := id("of the binding")
	return []command{
		{name: "binding list", about: "which traffic goes to which agent", method: http.MethodGet, path: base, list: true, paged: true,
			flags:   []option{inQuery("install", "only of this install")},
			columns: []string{"id", "install_id", "agent_id", "persona_id", "weight", "selector"}},
		{name: "binding create", about: "send matching traffic of an install to an agent; without a selector it is the default", method: http.MethodPost, path: base,
			examples: []string{"lk binding create --install-id i1a2b3 --agent-id a1b2", "lk binding create --install-id i1a2b3 --agent-id a1b2 --channel C0123 --mention"},
			flags: []option{opt(text, "install_id", "").must(), opt(text, "agent_id", "").must(), opt(text, "persona_id", ""),
				opt(text, "selector.account", "the vendor's outer tenant"), opt(text, "selector.team", "the vendor's inner tenant"),
				opt(text, "selector.channel", "channel, room or conversation"), opt(text, "selector.peer", "the other person"),
				opt(text, "selector.thread", ""), opt(boolean, "selector.mention", "only messages that address the bot"),
				opt(text, "selector.mention", "only messages that address this name of the bot, or are this command").as("named")}},
		{name: "binding get", about: "a binding", method: http.MethodGet, path: one, args: of},
		{name: "binding update", about: "change agent or persona of a binding", method: http.MethodPatch, path: one, args: of,
			flags: []option{opt(text, "agent_id", ""), opt(text, "persona_id", "")}},
		{name: "binding delete", about: "delete a binding", method: http.MethodDelete, path: one, args: of},
	}
}

func sessionCommands() []command {
	const base, one = orgPath + "/sessions", orgPath + "/sessions/{id}"
	of := id("of the session")
	return []command{
		{name: "session list", about: "the conversations", method: http.MethodGet, path: base, list: true, paged: true,
			flags: []option{inQuery("state", "human: only those in which a person answers")}, examples: []string{"lk session list --state human"},
			columns: []string{"id", "state", "install_id", "agent_id", "persona_id", "provider", "channel", "thread", "handoff.reason", "updated_at"}},
		{name: "session get", aliases: []string{"session show"}, about: "a conversation, and who answers in it", method: http.MethodGet, path: one, args: of},
		{name: "session handoff", about: "take a conversation over from its agent, which answers no more until it is given back", method: http.MethodPost, path: one + "/handoff", args: of,
			flags: []option{opt(text, "reason", "why, for the audit log and the event")}},
		{name: "session say", about: "answer in the agent's place; `lk session turn` shows what became of it", method: http.MethodPost, path: one + "/messages", args: of,
			examples: []string{"lk session say s1a2b3 --text @answer.txt --idempotency-key parcel-1"},
			flags:    []option{opt(document, "text", "the text, or @FILE, or - for standard input").must(), opt(text, "idempotency_key", "a repeat with the same key is the same message")}},
		{name: "session resume", about: "give a conversation back to its agent, which answers from the next message on", method: http.MethodPost, path: one + "/resume", args: of},
		{name: "session messages", about: "the messages of a conversation, oldest first", method: http.MethodGet, path: one + "/messages", args: id("of the session"),
			list: true, paged: true, columns: []string{"seq", "at", "role", "agent_id", "persona_id", "turn_id", "text"}},
		{name: "session turn", about: "one answer of an agent, with its outgoing parts", method: http.MethodGet, path: orgPath + "/turns/{id}", args: id("of the turn")},
	}
}
