package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// twilioColumn: the vendor signs the URL and the form, and checks no URL.
func twilioColumn() column {
	const unchecked = "the vendor does not check a URL before it is used"
	return column{channel: taxonomy.Twilio, differs: together(noTime(), ownAppsOnly(),
		absent("the signature names no algorithm, and SHA-1 is the vendor's own", 13),
		absent(keyless, 14, 15, 16, 17, 18),
		absent(unchecked, 24, 25),
		absent("the vendor does not say who is a bot; row 35 is what bounds it", 34),
		absent(onePost, 36))}
}
