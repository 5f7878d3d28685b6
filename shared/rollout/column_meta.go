package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

func messengerColumn() column { return directColumn(taxonomy.Messenger) }
func instagramColumn() column { return directColumn(taxonomy.Instagram) }

// directColumn: the vendor signs the body, checks the URL with a token, and has apps of
// several pages or accounts.
func directColumn(channel taxonomy.Channel) column {
	return column{channel: channel, profile: taxonomy.ProfileMeta, differs: together(sharedSecret(), noTime(),
		absent(noID, 20),
		cells{24: is(403, "hook.handshake_refused")},
		absent("another company's bot looks like a person; row 35 is what bounds it", 34),
		absent(onePost, 36),
		absent("the vendor does not tell here when an app is removed; its token is refused then, row 44", 47))}
}
