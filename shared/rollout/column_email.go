package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// emailColumn is Mailgun's: time, token and signature are fields of the form, and cover
// each other only. What says who wrote is the vendor's word, see the hook's
// sender_unproven.
func emailColumn() column {
	return column{channel: taxonomy.Email, profile: taxonomy.ProfileMailgun, unplayed: []taxonomy.Channel{taxonomy.Postmark}, differs: together(sharedSecret(), ownAppsOnly(),
		absent("the vendor proves the sender and does not sign the body", 8),
		absent("the signature names no algorithm", 13),
		cells{20: is(200, "hook.duplicate_content")},
		absent("the vendor makes no such check of the URL", 24, 25),
		absent("the vendor delivers a mail as one event; one that two routes deliver has two tokens and is one turn", 36),
		absent("a key of an account sends for several domains; an install has its domain alone", 38),
		absent("the vendor does not tell when it is switched off; its key is refused then, row 44", 47),
		absent("files of a mail are not fetched", 48, 49))}
}
