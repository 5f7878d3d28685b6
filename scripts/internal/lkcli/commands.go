package lkcli

import "net/http"

const (
	orgPath  = "/api/orgs/{org}"
	tierList = "free, pro, agency or enterprise"
)

func id(about string) []arg { return []arg{{name: "id", about: about}} }

func orgCommands() []command {
	one := []arg{{name: "org", about: "default: the key's own", optional: true}}
	idempotency := option{name: "idempotency-key", about: "a repeat with the same key finds what the first call made", header: "Idempotency-Key"}
	return []command{
		{name: "org list", about: "the organisations this key may see", method: http.MethodGet, path: "/api/orgs", list: true, paged: true,
			columns: []string{"id", "name", "tier", "status", "ledger_mode", "parent_org_id", "created_at"}},
		{name: "org create", about: "create an organisation (operator)", method: http.MethodPost, path: "/api/orgs",
			examples: []string{"lk org create --name 'Acme Inc' --tier agency --idempotency-key acme-1"},
			flags: append([]option{opt(text, "name", "").must(), opt(text, "tier", tierList).must(),
				opt(text, "parent_org_id", "the agency it belongs to"), idempotency}, limitFlags("")...)},
		{name: "org get", about: "an organisation", method: http.MethodGet, path: orgPath, args: one, examples: []string{"lk org get"}},
		{name: "org update", about: "change an organisation", method: http.MethodPatch, path: orgPath, args: one,
			examples: []string{"lk org update o1a2b3 --tier enterprise", "lk org update o1a2b3 --requests-per-minute 600 --budget 50cr --budget-period month"},
			flags: append([]option{opt(text, "name", ""), opt(text, "tier", tierList+" (operator)"),
				opt(text, "status", "active or suspended (operator)")}, limitFlags(" (operator or agency; limits that are not given are removed)")...)},
		{name: "org settings", about: "the AI settings", method: http.MethodGet, path: orgPath + "/settings", documents: []string{"routing", "aliases"}},
		{name: "org settings-put", about: "replace the AI settings by a JSON document", method: http.MethodPut, path: orgPath + "/settings",
			examples: []string{"lk org settings --json > s.json   # edit", "lk org settings-put s.json"},
			args:     []arg{{name: "file", about: "JSON as `lk org settings --json` prints it; - = standard input", file: true}}, documents: []string{"routing", "aliases"}},
	}
}

// limitFlags bound a key or an organisation. Setting some removes the others.
func limitFlags(who string) []option {
	return []option{
		opt(integer, "limits.requests_per_minute", who), opt(integer, "limits.tokens_per_minute", who),
		opt(integer, "limits.concurrent", "requests at a time"+who),
		opt(amount, "limits.budget.amount", "micro-credits (5000000), or credits as 5cr, per --budget-period"+who).as("budget"),
		opt(text, "limits.budget.period", "day, month or total"+who).as("budget-period"),
	}
}

func auditColumns() []string {
	return []string{"at", "actor", "action", "target", "outcome", "code", "detail"}
}

func keyCommands() []command {
	return []command{
		{name: "key list", about: "the API keys, without the keys themselves", method: http.MethodGet, path: orgPath + "/keys", list: true, paged: true,
			columns: []string{"id", "name", "scopes", "status", "agent_id", "limits", "expires_at", "created_at"}},
		{name: "key create", about: "create an API key; it is printed once", method: http.MethodPost, path: orgPath + "/keys",
			examples: []string{"lk key create --name backend --scopes invoke,audio", "lk key create --name ci --scopes read --json | jq -r .key > ci.key",
				"lk key create --name trial --scopes invoke --requests-per-minute 10 --budget 2cr --budget-period month"},
			notice: "this is the only time the key is shown",
			flags: append([]option{opt(text, "name", "").must(), opt(words, "scopes", "of invoke, audio, admin, billing, read").must(),
				opt(text, "agent_id", "the key may act for this agent only"), opt(text, "expires_at", "RFC 3339, as 2027-01-31T00:00:00Z")}, limitFlags("")...)},
		{name: "key revoke", aliases: []string{"key delete"}, about: "revoke an API key at once", method: http.MethodDelete, path: orgPath + "/keys/{id}",
			args: id("of the key"), examples: []string{"lk key revoke k1a2b3"}},
	}
}

func connectionFlags(key string) []option {
	return []option{
		opt(text, "label", ""), opt(hidden, "api_key", key), opt(text, "base_url", "of your own endpoint; a new one needs the key again"),
		opt(integer, "priority", "lower is tried first"), opt(boolean, "enabled", ""), opt(words, "models", "only these; empty = any"),
		opt(text, "billing_source", "byok or private"), opt(boolean, "allow_platform_fallback", "may the platform's key be used when this one fails"),
	}
}

func connectionCommands() []command {
	const base, one = orgPath + "/connections", orgPath + "/connections/{id}"
	of := id("of the connection")
	return []command{
		{name: "catalog", about: "what can be connected: providers, channels and integrations with their fields", method: http.MethodGet, path: "/api/catalog", list: true, paged: true,
			columns: []string{"kind", "id", "title", "classes", "base_url.default", "fields"}},
		{name: "connection list", about: "your own model keys, without the keys themselves", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"id", "provider", "label", "billing_source", "enabled", "usable", "unusable_reason", "health.status", "hint"}},
		{name: "connection create", about: "add your own key or endpoint of a vendor", method: http.MethodPost, path: base,
			examples: []string{"lk connection create --provider openrouter --label main --api-key - < key.txt",
				"lk connection create --provider openai_compatible --base-url https://models.example/v1 --api-key @key.txt"},
			flags: append([]option{opt(text, "provider", "vendor").must()},
				append(connectionFlags("the vendor's key"), opt(text, "default_voice_id", "for speech"))...)},
		{name: "connection get", about: "a connection", method: http.MethodGet, path: one, args: of},
		{name: "connection update", about: "change a connection", method: http.MethodPatch, path: one, args: of,
			examples: []string{"lk connection update c1a2b3 --enabled=false"},
			flags:    append(connectionFlags("the key, if base-url changes"), opt(text, "default_voice_id", "for speech"))},
		{name: "connection rotate", about: "replace the key; ends a cooldown at once", method: http.MethodPost, path: one + "/rotate", args: of,
			examples: []string{"lk connection rotate c1a2b3 --api-key @new.key"}, flags: []option{opt(hidden, "api_key", "the new key").must(),
				opt(integer, "overlap_seconds", "how long the old key is kept behind the new one; 0 ends it at once; without it 3600")}},
		{name: "connection rollback", about: "take the replaced key back while it is kept", method: http.MethodPost, path: one + "/rotate/rollback", args: of},
		{name: "connection test", about: "ask the vendor about a connection", method: http.MethodPost, path: one + "/test", args: of, health: true,
			examples: []string{"lk connection test c1a2b3 --probe test_auth", "lk connection test c1a2b3 --probe test_text --model gpt-5-mini"},
			flags: []option{opt(text, "probe", "test_auth, list_models, test_text (a few tokens) or test_voice").must(),
				opt(text, "model", "for test_text and test_voice; without it the connection's first, or one of the vendor's list")}},
		{name: "connection revoke", about: "revoke the key; the connection stays, unusable", method: http.MethodPost, path: one + "/revoke", args: of},
		{name: "connection delete", about: "revoke the key and remove the connection", method: http.MethodDelete, path: one, args: of},
	}
}

func routeCommands() []command {
	return []command{
		{name: "routes explain", about: "which models and connections a chat request would be tried with, and who would pay; calls nobody", method: http.MethodPost,
			path: orgPath + "/routes/explain", examples: []string{"lk routes explain --model auto --intent tooling", "lk routes explain --agent a1b2 --modality vision --json"},
			flags: []option{opt(text, "model", "provider/model, an alias or auto"), opt(text, "agent", "as if this agent asked"),
				opt(text, "intent", "general, tooling, billing, support or content"), opt(text, "modality", "text, vision or audio_in"),
				opt(words, "capabilities", "what the request needs besides: tools, json, vision, audio_in")}},
	}
}

func agentFlags() []option {
	return []option{
		opt(document, "instructions", "the text, or @FILE, or - for standard input"),
		opt(anyJSON, "personas", `JSON [{"id","name","instructions","voice"}], or @FILE`), opt(text, "model", "provider/model or an alias"),
		opt(words, "fallback", "models tried after it"), opt(words, "tools", ""), opt(text, "voice", ""),
		opt(integer, "history_tokens", "how much of a conversation the model is shown, the rest as a summary; 0 = what fits the model"),
		opt(boolean, "handoff.enabled", "may the model give a conversation to a person; the --handoff flags are set together").as("handoff"), opt(text, "handoff.note", "what people are told then").as("handoff-note"),
		opt(integer, "handoff.resume_after_minutes", "the agent goes on after so long without a person's answer; 0 = when it is given back").as("handoff-resume-after-minutes"),
	}
}

func agentCommands() []command {
	const base, one = orgPath + "/agents", orgPath + "/agents/{id}"
	of := id("of the agent")
	return []command{
		{name: "agent list", about: "the agents", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"id", "name", "model", "fallback", "tools", "personas", "created_at"}},
		{name: "agent create", about: "create an agent", method: http.MethodPost, path: base,
			examples: []string{"lk agent create --name Support --instructions @support.md --model openrouter/anthropic/claude-sonnet-4.5"},
			flags:    append([]option{opt(text, "name", "").must()}, agentFlags()...)},
		{name: "agent get", about: "an agent", method: http.MethodGet, path: one, args: of},
		{name: "agent update", about: "change an agent", method: http.MethodPatch, path: one, args: of,
			examples: []string{"lk agent update a1b2 --instructions - < support.md"}, flags: append([]option{opt(text, "name", "")}, agentFlags()...)},
		{name: "agent delete", about: "delete an agent", method: http.MethodDelete, path: one, args: of},
	}
}
