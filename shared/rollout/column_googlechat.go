package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// googleChatColumn: the vendor signs a token with keys that it publishes, and not the
// body.
func googleChatColumn() column {
	const public = "what verifies is public: rows 14 and 15"
	return column{channel: taxonomy.GoogleChat, differs: together(ownAppsOnly(),
		cells{4: is(401, "hook.claim_refused")},
		absent(public, 5, 45),
		absent("the vendor proves the sender and does not sign the body", 8),
		absent("a message names no address to answer to", 18),
		absent(noID, 20),
		absent("the vendor makes no such check of the URL", 24, 25),
		absent(noURL, 32),
		absent(onePost, 36))}
}
