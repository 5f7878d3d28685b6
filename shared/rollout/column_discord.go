package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// discordColumn: the vendor signs time and body with a key whose public half is a
// setting, sends wrong signatures on purpose and takes no other answer to them than 401.
func discordColumn() column {
	return column{channel: taxonomy.Discord, differs: together(sharedSecret(),
		absent("what verifies is a public key, which no key service holds", 5),
		absent("the signature names no algorithm", 13),
		absent(noID, 20),
		absent(signedCheck, 25),
		absent(onePost, 36),
		absent("the vendor tells of a removal at another address, and not from which server", 47),
		cells{50: is(401, "hook.flood")})}
}
