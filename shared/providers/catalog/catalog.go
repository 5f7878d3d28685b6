// Package catalog lists the implemented vendors. Adding one is a folder beside
// this one and a line here; a test compares the two.
package catalog

import (
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/providers/anthropic"
	"github.com/latchkey/latchkey/shared/providers/assemblyai"
	"github.com/latchkey/latchkey/shared/providers/awspolly"
	"github.com/latchkey/latchkey/shared/providers/awstranscribe"
	"github.com/latchkey/latchkey/shared/providers/bedrock"
	"github.com/latchkey/latchkey/shared/providers/cartesia"
	"github.com/latchkey/latchkey/shared/providers/deepgram"
	"github.com/latchkey/latchkey/shared/providers/deepseek"
	"github.com/latchkey/latchkey/shared/providers/elevenlabs"
	"github.com/latchkey/latchkey/shared/providers/gemini"
	"github.com/latchkey/latchkey/shared/providers/googlespeech"
	"github.com/latchkey/latchkey/shared/providers/grok"
	"github.com/latchkey/latchkey/shared/providers/groq"
	"github.com/latchkey/latchkey/shared/providers/kimi"
	"github.com/latchkey/latchkey/shared/providers/mistral"
	"github.com/latchkey/latchkey/shared/providers/openai"
	"github.com/latchkey/latchkey/shared/providers/openaicompatible"
	"github.com/latchkey/latchkey/shared/providers/openrouter"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Entries lists all vendors, sorted by ID.
func Entries() []providers.Entry {
	return []providers.Entry{
		anthropic.Registration(),
		assemblyai.Registration(),
		awspolly.Registration(),
		awstranscribe.Registration(),
		bedrock.Registration(),
		cartesia.Registration(),
		deepgram.Registration(),
		deepseek.Registration(),
		elevenlabs.Registration(),
		gemini.Registration(),
		googlespeech.Registration(),
		grok.Registration(),
		groq.Registration(),
		kimi.Registration(),
		mistral.Registration(),
		openai.Registration(),
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
