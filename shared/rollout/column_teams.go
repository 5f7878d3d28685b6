package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// teamsColumn: the vendor signs a token with keys that it publishes, which names the
// address to answer to, and not the body.
func teamsColumn() column {
	const public = "what verifies is public: rows 14 and 15"
	return column{channel: taxonomy.Teams, profile: taxonomy.ProfileTeamsBot, differs: together(ownAppsOnly(),
		absent(public, 5, 45),
		absent("the vendor proves the sender and does not sign the body", 8),
		absent(noID, 20),
		absent("the vendor makes no such check of the URL", 24, 25),
		absent(noURL, 32),
		absent(onePost, 36),
		absent("files of a message are not fetched", 48, 49),
		cells{4: is(401, "hook.claim_refused"), 17: is(403, "hook.identity_refused"), 18: is(403, "hook.service_url_refused")})}
}
