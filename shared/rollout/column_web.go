package rollout

import "github.com/latchkey/latchkey/shared/taxonomy"

// webColumn: there is no vendor. The organisation's own server vouches for a visitor
// with a token that names the install, and what the visitor says is not signed.
func webColumn() column {
	const mute = "nobody is sent anything: an answer is shown by the write that makes it sent"
	return column{channel: taxonomy.Web, differs: together(ownAppsOnly(),
		absent("a token proves the visitor and does not sign the body", 8),
		absent("the secret is the organisation's, and no key is published", 14, 15),
		absent("a token names one visitor of one install: row 16", 17),
		absent("a message names no address to answer to", 18),
		absent(noID, 20),
		absent("a message names no tenant, the token names the install: row 16", 21),
		absent("nobody checks the URL", 24, 25),
		absent(noURL, 32),
		absent("only visitors whom the organisation vouches for write, and no more than a person does", 33, 34, 35),
		absent(onePost, 36),
		absent(mute, 38, 42, 44),
		absent("nobody tells of a removal", 47),
		absent("visitors send no media", 48, 49))}
}
