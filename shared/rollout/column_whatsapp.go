package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// whatsappColumn: the vendor signs the body, and checks the URL with a token.
func whatsappColumn() column {
	return column{channel: taxonomy.WhatsApp, profile: taxonomy.ProfileMeta, differs: together(sharedSecret(), noTime(),
		absent(noID, 20),
		cells{24: is(403, "hook.handshake_refused")},
		absent("another company's bot looks like a person; row 35 is what bounds it", 34),
		absent(onePost, 36))}
}
