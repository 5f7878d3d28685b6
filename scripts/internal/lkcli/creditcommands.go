package lkcli

import "net/http"

func postingFlags() []option {
	return []option{
		opt(text, "kind", "gifted, daily, monthly or purchased").must(),
		opt(amount, "amount", "micro-credits (5000000), or credits as 5cr").must(),
		opt(text, "expires_at", "RFC 3339, default never"),
		opt(amount, "rollover.max_amount", "renew a daily or monthly grant at its end, with at most this").as("rollover-max"),
		opt(amount, "rollover.min_amount", "and at least this").as("rollover-min"),
		opt(text, "idempotency_key", "a repeat with the same key posts nothing").must(),
	}
}

func creditCommands() []command {
	return []command{
		{name: "credits", aliases: []string{"credits get"}, about: "the balance", method: http.MethodGet, path: orgPath + "/credits"},
		{name: "credits line", about: "let calls reserve down to this far below zero (operator)", method: http.MethodPut, path: orgPath + "/credits",
			examples: []string{"lk credits line --org acme --credit-line 20cr"}, flags: []option{opt(amount, "credit_line", "micro-credits (5000000), or credits as 5cr").must()}},
		{name: "grant list", about: "the grants with what is left of them", method: http.MethodGet, path: orgPath + "/credits", list: true, field: "grants",
			columns: []string{"id", "kind", "amount", "remaining", "at", "expires_at"}},
		{name: "grant create", about: "grant credits, once per idempotency key (operator)", method: http.MethodPost, path: orgPath + "/grants",
			examples: []string{"lk grant create --org acme --kind purchased --amount 25cr --idempotency-key invoice-1007"}, flags: postingFlags()},
		{name: "grant adjust", about: "add or take credits, once per idempotency key (operator)", method: http.MethodPost, path: orgPath + "/adjustments",
			examples: []string{"lk grant adjust --org acme --kind purchased --amount -2.5cr --idempotency-key ticket-88"}, flags: postingFlags()},
		{name: "entries", aliases: []string{"entries list"}, about: "the ledger, newest first", method: http.MethodGet, path: orgPath + "/entries", list: true, paged: true,
			columns: []string{"at", "kind", "amount", "billing_source", "provider", "model", "request_id", "price_version", "client_id", "payer_org_id", "paid", "id"}, examples: []string{"lk entries --limit 50"}},
		{name: "holds", aliases: []string{"holds list"}, about: "credits reserved for running calls", method: http.MethodGet, path: orgPath + "/holds", list: true, paged: true,
			columns: []string{"request_id", "attempt", "amount", "state", "expires_at", "client_id"}},
		{name: "request", aliases: []string{"request get"}, about: "a metered request with its attempts", method: http.MethodGet, path: orgPath + "/requests/{id}",
			args: id("of the request, as in x-request-id"), examples: []string{"lk request r1a2b3"}},
		{name: "billing checkout", about: "buy credits: prints the URL of a page to pay at; credits arrive when the payment has succeeded", method: http.MethodPost,
			path: orgPath + "/billing/checkout", examples: []string{"lk billing checkout --org acme --amount 50cr"},
			flags: []option{opt(amount, "amount", "micro-credits (50000000), or credits as 50cr; one costs 1 USD, at least 5").must(),
				opt(boolean, "save_payment_method", "keep the card for later payments")}},
		{name: "billing portal", about: "prints the URL of the page with invoices and cards, after the first payment", method: http.MethodPost,
			path: orgPath + "/billing/portal"},
		{name: "billing show", aliases: []string{"billing"}, about: "what requests on own keys cost and why, and the rules of all tiers", method: http.MethodGet, path: orgPath + "/billing"},
		{name: "billing set", about: "set the organisation's terms for own keys, as a whole (operator)", method: http.MethodPut, path: orgPath + "/billing",
			examples: []string{"lk billing set --org acme --model optional_surcharge --surcharge-bps 500 --free-requests-per-month 1000000", "lk billing set --org acme --inherit"},
			flags:    termsFlags()},
		{name: "request explain", about: "who paid and why, decided again from the stored record; exit code 1 if that differs", method: http.MethodGet,
			path: orgPath + "/requests/{id}", truth: "replays", args: id("of the request, as in x-request-id"), examples: []string{"lk request explain r1a2b3"}},
		{name: "alerts", aliases: []string{"alerts list"}, about: "when credits ran low", method: http.MethodGet, path: orgPath + "/alerts", list: true, paged: true,
			columns: []string{"at", "threshold", "limit", "left", "level", "since"}},
		{name: "alerts settings", about: "what balances are measured against", method: http.MethodGet, path: orgPath + "/alerts/settings"},
		{name: "alerts set", about: "set the amount at which credits count as low; 0 for none", method: http.MethodPut, path: orgPath + "/alerts/settings",
			examples: []string{"lk alerts set --org acme --low-balance 5cr"}, flags: []option{opt(amount, "low_balance", "micro-credits (5000000), or credits as 5cr").must()}},
		{name: "usage", aliases: []string{"usage list"}, about: "usage per group", method: http.MethodGet, path: orgPath + "/usage", list: true, paged: true,
			examples: []string{"lk usage --from 2026-11-01 --group-by model,source"},
			flags: []option{inQuery("from", "first day, default 30 days ago"), inQuery("to", "last day, default today"),
				inQuery("group_by", "of day, provider, model, agent, source, client; default day")},
			columns: []string{"key", "requests", "input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens", "audio_seconds", "characters", "cost", "paid_by_agency"}},
	}
}

func sharingCommands() []command {
	amounts := "micro-credits (5000000), or credits as 5cr, per UTC day"
	return []command{
		{name: "sharing", aliases: []string{"sharing get"}, about: "what an agency shares with its clients, and what an organisation may draw from its agency", method: http.MethodGet, path: orgPath + "/sharing"},
		{name: "sharing set", about: "set what an agency shares; applies at once, and tells a hundred clients; then sharing renew while there is a next", method: http.MethodPut,
			path: orgPath + "/sharing", examples: []string{"lk sharing set --mode shared_when_empty --client-per-day 2cr --total-per-day 20cr"},
			flags: []option{opt(text, "mode", "off, shared_when_empty (after a client's own credits) or shared_always (before them)").must(),
				opt(amount, "client_per_day", "for each client, "+amounts), opt(amount, "total_per_day", "for all clients together, "+amounts)}},
		{name: "sharing renew", about: "tell the next hundred clients what the agency shares", method: http.MethodPost, path: orgPath + "/sharing/renew",
			flags: []option{opt(text, "cursor", "next of the call before")}},
		{name: "sharing clients", about: "the clients with what each may draw and drew today", method: http.MethodGet, path: orgPath + "/sharing/clients", list: true, paged: true,
			columns: []string{"client_id", "name", "mode", "per_day", "drawn_today", "override", "current"}},
		{name: "sharing client", about: "set what differs for one client; what is not given is as for all", method: http.MethodPut, path: orgPath + "/sharing/clients/{id}",
			args: id("of the client organisation"), examples: []string{"lk sharing client o1a2b3 --mode off", "lk sharing client o1a2b3 --per-day 50cr"},
			flags: []option{opt(text, "mode", "off, shared_when_empty or shared_always"), opt(amount, "per_day", amounts)}},
	}
}

func termsFlags() []option {
	return []option{opt(boolean, "inherit", "the terms of the tier again"), opt(text, "model", "flat_platform_fee, optional_surcharge or tier_bundled"),
		opt(amount, "flat_fee", "per request on an own key, in micro-credits, or credits as 0.001cr"),
		opt(integer, "surcharge_bps", "basis points of the model's price per request on an own key"),
		opt(amount, "endpoint_fee", "per request on an own endpoint"), opt(integer, "free_requests_per_month", "requests of each month that cost nothing")}
}

func operatorCommands() []command {
	version := []arg{{name: "version", about: "of the price book"}}
	return []command{
		{name: "prices list", about: "the price book versions (operator)", method: http.MethodGet, path: "/api/operator/prices", list: true, paged: true,
			columns: []string{"version", "effective_from", "row_count", "active", "scheduled_for", "replaced_at"}},
		{name: "prices get", about: "a price book with its rows (operator)", method: http.MethodGet, path: "/api/operator/prices/{version}", args: version},
		{name: "prices set", about: "lay rows over the active price book as a new version (operator)", method: http.MethodPost, path: "/api/operator/prices",
			args: []arg{{name: "file", about: `JSON rows [{"provider","model","meter","rate_pico","source","source_date"}], or an object with rows; - = standard input`, file: true}},
			wrap: "rows", examples: []string{"lk prices set rows.json --activate"},
			flags: []option{opt(boolean, "activate", "make it apply"), opt(text, "effective_from", "RFC 3339, default now")}},
		{name: "prices show", about: "the prices of the active book, or of VERSION, in USD (operator)", local: showPrices,
			args:     []arg{{name: "version", about: "of the price book; default the active one", optional: true}},
			flags:    []option{plain(words, "provider", "only these"), plain(words, "model", "only these, as the vendor names them")},
			examples: []string{"lk prices show --provider anthropic"}},
		{name: "prices import", about: "compare a published price list with the active book; with --apply or --activate, import it (operator)", local: importPrices,
			args: []arg{{name: "list", about: "file or https:// address: LiteLLM's model prices, the api.json of models.dev, or rows as for prices set; - = standard input", optional: true}},
			flags: append(feedFlags(), plain(boolean, "apply", "store the result as a version that does not apply yet"),
				plain(boolean, "activate", "store it and make it apply"), plain(text, "effective-from", "RFC 3339, default now"),
				plain(words, "accept", "held prices that were looked at, as provider/model/meter"),
				plain(boolean, "accept-all-moves", "every held price was looked at")),
			examples: []string{"lk prices import --curated --activate", "lk prices import litellm.json --provider openai,anthropic",
				"lk prices import https://models.dev/api.json --provider mistral --apply --accept mistral/mistral-small-latest/input_text"}},
		{name: "prices diff", about: "what a price list, or the curated one, would change in the active book; changes nothing (operator)", local: diffPrices,
			args:  []arg{{name: "list", about: "as for prices import; default the curated list", optional: true}},
			flags: feedFlags(), examples: []string{"lk prices diff", "lk prices diff https://models.dev/api.json --provider openai"}},
		{name: "prices activate", about: "make a version apply (operator)", method: http.MethodPost, path: "/api/operator/prices/{version}/activate", args: version},
		{name: "payments", aliases: []string{"payments get"}, about: "what is stored of the payment vendor's keys (operator)", method: http.MethodGet, path: "/api/operator/payments"},
		{name: "payments set", about: "store the payment vendor's keys in the vault; what is not named stays (operator)", method: http.MethodPut, path: "/api/operator/payments",
			examples: []string{"lk payments set --api-key @stripe.key --webhook-secret @whsec.txt", "lk payments set --webhook-secret @new.txt --overlap-seconds 3600"},
			flags: []option{opt(hidden, "api_key", "secret or restricted key of the vendor's API"), opt(hidden, "webhook_secret", "signing secret of the webhook endpoint"),
				opt(integer, "overlap_seconds", "how long a replaced webhook secret still verifies; 0 ends it at once; without it 86400")}},
		{name: "payments finish", about: "stop accepting replaced webhook secrets now (operator)", method: http.MethodPost, path: "/api/operator/payments/finish"},
		{name: "tiers get", about: "the features of each tier (operator)", method: http.MethodGet, path: "/api/operator/tiers"},
		{name: "tiers set", about: "change features; what is not named stays (operator)", method: http.MethodPut, path: "/api/operator/tiers",
			args:     []arg{{name: "file", about: "JSON, or - for standard input", file: true}},
			examples: []string{`echo '{"pro":{"byok":true}}' | lk tiers set -`}},
		{name: "billing tiers", about: "what requests on own keys cost in each tier (operator)", method: http.MethodGet, path: "/api/operator/billing", list: true, field: "rules",
			columns: []string{"tier", "model", "eligible", "flat_fee", "surcharge_bps", "endpoint_fee", "free_requests_per_month", "rule", "summary"}},
		{name: "billing set-tiers", about: "set the terms of tiers; what is not named stays (operator)", method: http.MethodPut, path: "/api/operator/billing",
			args:     []arg{{name: "file", about: "JSON, or - for standard input", file: true}},
			examples: []string{`echo '{"enterprise":{"model":"optional_surcharge","surcharge_bps":500},"pro":{"inherit":true}}' | lk billing set-tiers -`}},
		{name: "reconcile", about: "compare balances with entries and holds, of --org or of all (operator); a mismatch is exit code 1", method: http.MethodPost,
			path: "/api/operator/reconcile", truth: "ok", flags: []option{opt(boolean, "deep", "go through all months, not from the newest opening on")},
			examples: []string{"lk reconcile --org acme", "lk reconcile --deep"}},
		{name: "poison list", aliases: []string{"poison"}, about: "what settlement cannot process; tried again every hour, gone when it has ended (operator)", method: http.MethodGet,
			path: "/api/operator/poison", list: true, paged: true, columns: []string{"id", "org_id", "reason", "tries", "found_at", "next_at", "pk", "sk"}},
		{name: "poison retry", about: "try poison again within a minute, all or one (operator)", method: http.MethodPost, path: "/api/operator/poison/retry",
			flags: []option{opt(text, "id", "one record, of poison list")}, examples: []string{"lk poison retry", "lk poison retry --id p_Xk3v"}},
		{name: "unbilled", about: "calls of a month that ended without usage although the vendor may have answered (operator)", method: http.MethodGet,
			path: "/api/operator/unbilled", flags: []option{inQuery("month", "YYYY-MM, default the current one")}},
		{name: "usage rebuild", about: "build the usage rows of --org or of all anew from the entries (operator); exit code 1 while something is left, then call again or say --wait", method: http.MethodPost,
			path: "/api/operator/rebuild-usage", truth: "ok", local: rebuildUsage, examples: []string{"lk usage rebuild --org acme --wait", "lk usage rebuild --wait"},
			flags: []option{plain(text, "cursor", "next of the call before"), plain(boolean, "wait", "go on until everything is done, and show the progress")}},
		{name: "audit", aliases: []string{"audit list"}, about: "who changed what, newest first", method: http.MethodGet, path: orgPath + "/audit", list: true, paged: true,
			columns: auditColumns(), examples: []string{"lk audit --limit 20"}},
		{name: "audit operator", about: "changes of the operator's own resources (operator)", method: http.MethodGet, path: "/api/operator/audit", list: true, paged: true,
			columns: auditColumns()},
		{name: "audit verify", about: "whether rows of the audit log were altered, removed or inserted; a finding is exit code 1", method: http.MethodGet,
			path: orgPath + "/audit/verify", truth: "ok", examples: []string{"lk audit verify --org acme"}, flags: []option{inQuery("months", "1 to 13, default 13")}},
		{name: "audit verify-operator", about: "the same for the operator's own audit log (operator)", method: http.MethodGet,
			path: "/api/operator/audit/verify", truth: "ok", flags: []option{inQuery("months", "1 to 13, default 13")}},
		{name: "health", about: "whether the API answers; needs no key", method: http.MethodGet, path: "/api/health", keyless: true},
	}
}

func localCommands() []command {
	return []command{
		{name: "webhook verify", about: "check recorded requests offline, one verdict line each", local: verifyWebhooks,
			examples: []string{"lk webhook verify --request recorded.jsonl", "lk webhook sign --provider slack --secret @s --body b.json --json | jq -c --rawfile s s '.secrets=[$s]' | lk webhook verify --request -"},
			flags: []option{plain(text, "request", `JSON lines {"provider","secrets","config","method","url","headers":[[k,v]],"body" or "body_base64","now_unix"}; - = standard input`).must(),
				plain(text, "jwks", `file with key sets by name {"NAME":{"keys":[...]}}, or one set; a request's setting jwks names one`),
				plain(boolean, "fail-on-reject", "exit code 1 if any request is rejected")}},
		{name: "webhook sign", about: "make a signed request for testing", local: signWebhook,
			examples: []string{"lk webhook sign --provider slack --secret @signing.txt --body event.json --url http://127.0.0.1:8787 --install i1a2b3"},
			flags: []option{plain(text, "provider", "verification profile").must(), plain(hidden, "secret", "the verification secret, or the private key (Ed25519: seed in hex; RSA: PKCS #8 PEM)").must(),
				plain(text, "body", "file with the exact bytes; - = standard input").must(), plain(integer, "now", "time of signing in Unix seconds, default now"),
				plain(text, "install", "the install, for the URL"),
				plain(pairs, "config", "NAME=VALUE, repeated: public_url, header, expected_user_id, audience, mode, kid ...")}},
		{name: "translate", about: "show what a vendor would be sent for a client's request, and how its bytes come back; calls nobody", local: translate,
			examples: []string{`echo '{"messages":[{"role":"user","content":"hi"}]}' | lk translate --provider openrouter --model openai/gpt-5 --stream`,
				"lk translate --provider gemini --model gemini-2.5-pro --dialect anthropic --file messages.json --json",
				"lk translate --provider anthropic --model claude-opus-4-8 --dialect responses --stream --response recorded.sse"},
			flags: []option{plain(text, "provider", "vendor").must(), plain(text, "model", "the vendor's model").must(),
				plain(text, "dialect", "what the client speaks: openai (chat completions, the default), responses, anthropic or gemini"),
				plain(boolean, "stream", "as a stream"), plain(text, "file", "the client's request; - = standard input, the default without --response"),
				plain(text, "response", "file with a vendor's answer to decode: JSON, an event stream, or frames of an AWS event stream; - = standard input"),
				plain(integer, "status", "HTTP status of that answer, default 200"),
				plain(text, "base-url", "of an endpoint that has no fixed address")}},
	}
}
