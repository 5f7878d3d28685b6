// Command invoke is the model API as ./scripts/bench measures it: everything of
// functions/invoke but its main file, over an AWS SDK whose HTTP client answers
// at once. The bench compiles it in place of functions/invoke/main.go
// (go build -overlay), so that nothing of it can be in a deployed function.
package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"

	"github.com/latchkey/latchkey/scripts/awsinstant"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	// Allocations are counted one by one or not at all.
	runtime.MemProfileRate = 0
	if os.Getenv("LATCHKEY_BENCH_ALLOCS") != "" {
		runtime.MemProfileRate = 1
	}
	env, f, err := boot.Open(context.Background(), topology.Invoke)
	if err != nil {
		boot.Exit(err)
	}
	store, err := awsinstant.Open(os.Getenv("LATCHKEY_BENCH_STATE"))
	if err != nil {
		boot.Exit(err)
	}
	env.AWS.HTTPClient = store
	server, err := env.ModelAPI(f, taxonomy.AIKey)
	if err != nil {
		boot.Exit(err)
	}
	boot.StartHTTP(server, observed{store, handler(server)})
}

// observed serves what the bench asks the process itself.
type observed struct {
	store *awsinstant.Store
	next  http.Handler
}

const asked = "/_bench/"

func (o observed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	what, ok := strings.CutPrefix(r.URL.Path, asked)
	if !ok {
		o.next.ServeHTTP(w, r)
		return
	}
	if err := o.serve(w, what, r.URL.Query().Get("file")); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (o observed) serve(w http.ResponseWriter, what, file string) error {
	switch what {
	case "stats":
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return json.NewEncoder(w).Encode(map[string]any{"mallocs": m.Mallocs, "bytes": m.TotalAlloc, "heap": m.HeapAlloc, "calls": o.store.Calls()})
	case "cpu/start":
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		return pprof.StartCPUProfile(f)
	case "cpu/stop":
		pprof.StopCPUProfile()
		return nil
	case "allocs":
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		defer f.Close()
		// The profile shows what was allocated up to the last collection.
		runtime.GC()
		return pprof.Lookup("allocs").WriteTo(f, 0)
	}
	w.WriteHeader(http.StatusNotFound)
	return nil
}
