package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// telegramColumn: the vendor sends a secret with each update and signs nothing.
func telegramColumn() column {
	return column{channel: taxonomy.Telegram, differs: together(sharedSecret(), noTime(),
		absent("the vendor proves the sender and does not sign the body", 8),
		absent("the vendor uses no algorithm", 13),
		absent(noID, 20),
		absent("an update names no bot: the identity is the install's address", 21),
		absent("the vendor makes no such check of the URL", 24, 25),
		absent(onePost, 36))}
}
