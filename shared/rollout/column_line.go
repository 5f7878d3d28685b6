package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// lineColumn: the vendor signs the body, and checks the URL with a signed request.
func lineColumn() column {
	return column{channel: taxonomy.LINE, differs: together(sharedSecret(), noTime(), ownAppsOnly(),
		absent("the signature names no algorithm", 13),
		absent(noID, 20),
		absent(signedCheck, 25),
		absent("the vendor does not say who is a bot; row 35 is what bounds it", 34),
		absent(onePost, 36))}
}
