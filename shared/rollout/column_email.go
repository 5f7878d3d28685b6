package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// emailColumn is Mailgun's: time, token and signature are fields of the form, and cover
// each other only. What says who wrote is the vendor's word, see the hook's
// sender_unproven.
func emailColumn() column {
	return column{channel: taxonomy.Email, vendor: taxonomy.Mailgun, profile: taxonomy.ProfileMailgun, differs: together(mail(),
		absent("the signature names no algorithm", 13),
		cells{20: is(200, "hook.duplicate_content")},
		absent("the vendor delivers a mail as one event; one that two routes deliver has two tokens and is one turn", 36))}
}

// postmarkColumn: the vendor sends a password with each mail and signs nothing.
func postmarkColumn() column {
	return column{channel: taxonomy.Email, vendor: taxonomy.Postmark, again: true, profile: taxonomy.ProfilePostmark, differs: together(mail(), noTime(),
		absent("the vendor uses no algorithm", 13),
		absent(noID, 20),
		absent(onePost, 36))}
}

// mail is what differs whoever takes the mail in.
func mail() cells {
	return together(sharedSecret(), ownAppsOnly(),
		absent("the vendor proves the sender and does not sign the body", 8),
		absent("the vendor makes no such check of the URL", 24, 25),
		absent("a key of an account sends for several domains; an install has its domain alone", 38),
		absent("the vendor does not tell when it is switched off; its key is refused then, row 44", 47),
		absent("files of a mail are not fetched", 48, 49))
}
