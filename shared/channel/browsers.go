package channel

import "github.com/latchkey/latchkey/shared/webhook"

// Browsers is what a channel needs whose requests come from pages that anybody may
// have written. Their answers may be read by the page that asked, whichever it is: what
// they hold depends on who asks, and on the page being one of the install's.
type Browsers struct {
	// Origins names the setting that lists the origins of the pages that may ask. A
	// request that names none does not come from a page.
	Origins string
	// Visitor is who a verified request speaks for.
	Visitor func(webhook.Header) string
	// Reads gives the envelope of a conversation with a visitor, as far as it does not
	// depend on a message.
	Reads func(visitor string) Envelope
}

// Claimed is the app and tenant that one live install may claim, empty where the
// channel has none.
func (e Entry) Claimed(c webhook.Config) (app, tenant string) {
	if e.Tenant == nil {
		return "", ""
	}
	return e.Tenant(c)
}
