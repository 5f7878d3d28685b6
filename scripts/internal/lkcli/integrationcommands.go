package lkcli

import "net/http"

const modeList = "legacy_only, dual_write, dual_read or new_only"

func integrationCommands() []command {
	const base, one = orgPath + "/integrations", orgPath + "/integrations/{id}"
	of := id("of the integration")
	return []command{
		{name: "integration list", about: "credentials for things other than AI, without the credentials", method: http.MethodGet, path: base, list: true, paged: true,
			columns: []string{"id", "provider", "label", "mode", "shape", "verified_at", "quarantine.reason", "fingerprint"}},
		{name: "integration create", about: "store a credential: one payload, or named fields", method: http.MethodPost, path: base,
			examples: []string{"lk integration create --provider smtp --label mail --payload @smtp.json", "lk integration create --provider hubspot --fields accessToken=@a.txt --fields refreshToken=@r.txt"},
			flags: []option{opt(text, "provider", "a word for the vendor").must(), opt(text, "label", ""),
				opt(hidden, "payload", "the secret, without a line break at its end"), opt(hidden, "payload_base64", "the secret's exact bytes as Base64"),
				opt(secrets, "fields", "a named secret"), opt(boolean, "reusable_refresh", "the refresh token survives its use")}},
		{name: "integration get", about: "an integration, without its credential", method: http.MethodGet, path: one, args: of},
		{name: "integration delete", about: "delete an integration with every copy of its credential", method: http.MethodDelete, path: one, args: of},
		{name: "integration mode", about: "take one step of the storage mode, forward or back", method: http.MethodPost, path: one + "/mode", args: of,
			examples: []string{"lk integration mode jd7abc --mode dual_write"}, flags: []option{opt(text, "mode", modeList).must()}},
		{name: "integration purge", about: "delete the legacy copy for good, seven days after the new one was verified", method: http.MethodPost, path: one + "/purge", args: of},
		{name: "integration import", about: "take rows as they stood in an old store, unchanged", method: http.MethodPost, path: base + "/import",
			args: []arg{{name: "file", about: `JSON rows [{"id","provider","shape","value" or "value_base64"}] with shape legacy_cipher_v1 or legacy_plaintext, or with fields {name:{"shape","value"}}; - = standard input`, file: true}},
			wrap: "rows", examples: []string{"lk integration import rows.json"}},
		{name: "integration legacy-key", about: "store the key of the legacy cipher (operator)", method: http.MethodPut, path: "/api/operator/legacy-key",
			examples: []string{"lk integration legacy-key --key-base64 @key.txt"}, flags: []option{opt(hidden, "key", "32 bytes as Base64").as("key-base64").must()}},
		{name: "migrate integrations", about: "bring integrations as near to a mode as the rules allow", method: http.MethodPost, path: base + "/migrate",
			examples: []string{"lk migrate integrations --dry-run", "lk migrate integrations --apply --to dual_read"},
			flags: []option{opt(boolean, "dry_run", "only say what would happen"), opt(boolean, "apply", "do it"),
				opt(text, "to", modeList+", default dual_write"), opt(text, "cursor", "what the page before printed as next")}},
	}
}
