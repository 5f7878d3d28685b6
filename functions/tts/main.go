// Command tts turns text into speech behind a streaming function URL, in the
// OpenAI audio dialect.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	server, err := boot.ModelAPI(context.Background(), topology.TTS, taxonomy.AIKey, taxonomy.VoiceKey)
	if err != nil {
		boot.Exit(err)
	}
	boot.StartHTTP(server, handler(server))
}
