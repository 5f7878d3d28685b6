// Command invoke is the model API behind a streaming function URL: chat in the
// dialects of OpenAI, Anthropic and Gemini, embeddings and the model lists, over
// any provider, on platform credits or the organisation's own keys.
package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	server, err := boot.ModelAPI(context.Background(), topology.Invoke, taxonomy.AIKey)
	if err != nil {
		boot.Exit(err)
	}
	boot.StartHTTP(server, handler(server))
}
