// Package catalog lists the implemented vendors. Adding one is a folder beside
// this one and a line here; a test compares the two.
package catalog

import (
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/anthropic"
	"github.com/latchkey/latchkey/shared/providers/gemini"
	"github.com/latchkey/latchkey/shared/providers/openaicompatible"
	"github.com/latchkey/latchkey/shared/providers/openrouter"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Entries lists all vendors, sorted by ID.
func Entries() []providers.Entry {
	return []providers.Entry{
		anthropic.Registration(),
		gemini.Registration(),
		openaicompatible.Registration(),
		openrouter.Registration(),
	}
}

// Lookup finds a vendor by ID.
func Lookup(id taxonomy.Provider) (providers.Entry, bool) {
	for _, e := range Entries() {
		if e.ID == id {
			return e, true
		}
	}
	return providers.Entry{}, false
}
