package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/lkcli"
	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// runLK runs the command-line tool as the operator and decodes its answer.
func runLK(t *testing.T, out any, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := lkcli.Run(t.Context(), lkcli.Env{Args: append(args, "--json"), Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Now: time.Now,
		Getenv: func(name string) string {
			return map[string]string{"LATCHKEY_URL": world.BaseURL, "LATCHKEY_KEY": seeded.OperatorKey}[name]
		}})
	if code != lkcli.ExitDone {
		t.Fatalf("lk %s: %d %s", strings.Join(args, " "), code, stderr.String())
	}
	must(t, json.Unmarshal(stdout.Bytes(), out))
}

// imported is what lk prices import says.
type imported struct {
	Added, Changed, Held []struct {
		Model, Meter, Held string
		RatePico           int64 `json:"rate_pico"`
	}
	Rejected []struct{ Meter string }
	Stored   *struct {
		Version      string
		Active       bool
		ScheduledFor *time.Time `json:"scheduled_for"`
	}
}

// bill is a finished request with what it used and cost.
type bill struct {
	Cost  int64
	Usage struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
	}
	Attempts []struct {
		PriceVersion string `json:"price_version"`
	}
}

func (x *tenant) bill(a answer) bill {
	x.t.Helper()
	if a.Status != http.StatusOK {
		x.t.Fatalf("%d %s", a.Status, a.Body)
	}
	var c bill
	eventually(x.t, "the request is settled", func() bool {
		var r struct {
			bill
			State string
		}
		x.call(http.MethodGet, "/requests/"+a.Header.Get("x-request-id"), nil, &r)
		c = r.bill
		return r.State == "SETTLED"
	})
	return c
}

// inMicro is what tokens cost by decimal prices per token, rounded up once.
func inMicro(c bill, input, output string) int64 {
	sum := new(big.Rat)
	for price, n := range map[string]int64{input: c.Usage.Input, output: c.Usage.Output} {
		usd, ok := new(big.Rat).SetString(price)
		if !ok {
			panic(price)
		}
		sum.Add(sum, usd.Mul(usd, big.NewRat(n*1_000_000, 1)))
	}
	q, rest := new(big.Int).QuoRem(sum.Num(), sum.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return q.Int64()
}

// TestPriceFeed: a published list is looked at, imported, activated and charged
// by, to the micro-credit; what moves too far waits; what is scheduled applies
// from its instant.
func TestPriceFeed(t *testing.T) {
	x := newTenant(t, "free", 100_000_000)
	name := fmt.Sprintf("feed-%d", serial.Add(1))
	file := filepath.Join(t.TempDir(), "prices.json")
	list := func(input, output string) {
		t.Helper()
		must(t, os.WriteFile(file, []byte(`{"openrouter/`+name+`":{"litellm_provider":"openrouter","mode":"chat","input_cost_per_token":`+input+
			`,"output_cost_per_token":`+output+`,"input_cost_per_moon":1}}`), 0o600))
	}
	ask := func(text string) answer {
		t.Helper()
		return post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openrouter/"+name, text, false))
	}
	var versions struct{ Items []struct{ Version string } }
	runLK(t, &versions, "prices", "list")
	before := len(versions.Items)

	// Without --apply nothing happens, and an unknown meter is named.
	list("1.537e-07", "6.1e-07")
	var got imported
	runLK(t, &got, "prices", "import", file)
	if len(got.Added) != 2 || got.Added[0].RatePico != 153_700 || got.Stored != nil || len(got.Rejected) != 1 || got.Rejected[0].Meter != "input_cost_per_moon" {
		t.Fatalf("%+v", got)
	}
	runLK(t, &versions, "prices", "list")
	if a := ask("x"); len(versions.Items) != before || a.Status != http.StatusServiceUnavailable || a.code() != "price_missing" {
		t.Fatalf("%d versions, was %d; %d %s", len(versions.Items), before, a.Status, a.Body)
	}

	// A stored version does not apply before it is activated.
	runLK(t, &got, "prices", "import", file, "--apply")
	if got.Stored == nil || got.Stored.Active {
		t.Fatalf("%+v", got)
	}
	first := got.Stored.Version
	if a := ask("x"); a.code() != "price_missing" {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	runLK(t, &struct{}{}, "prices", "activate", first)
	c := x.bill(ask("charged by the digits of the list"))
	if want := inMicro(c, "1.537e-07", "6.1e-07"); c.Cost != want || c.Usage.Input == 0 || c.Attempts[0].PriceVersion != first {
		t.Errorf("%+v, want %d by %s", c, want, first)
	}

	// A move above a fifth waits for a person; a smaller one does not.
	list("1.9e-07", "6.2e-07")
	runLK(t, &got, "prices", "import", file, "--activate")
	if len(got.Held) != 1 || got.Held[0].Meter != "input_text" || len(got.Changed) != 1 || !got.Stored.Active {
		t.Fatalf("%+v", got)
	}
	c = x.bill(ask("one of two"))
	if want := inMicro(c, "1.537e-07", "6.2e-07"); c.Cost != want {
		t.Errorf("%+v, want %d", c, want)
	}

	// A price that changes while a request runs does not change what it costs.
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	running := make(chan answer, 1)
	go func() {
		a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openrouter/"+name, "while it runs", false))
		if err != nil {
			a.Body = []byte(err.Error())
		}
		running <- a
	}()
	<-barrier.Reached()
	list("1.537e-07", "6.3e-07")
	runLK(t, &got, "prices", "import", file, "--activate")
	barrier.Release()
	if c = x.bill(<-running); c.Cost != inMicro(c, "1.537e-07", "6.2e-07") || c.Attempts[0].PriceVersion == got.Stored.Version {
		t.Errorf("while it ran: %+v", c)
	}
	list("1.9e-07", "6.2e-07")

	// What is scheduled applies from its instant, to requests that begin then.
	began := time.Now().Add(time.Hour).Truncate(time.Second)
	runLK(t, &got, "prices", "import", file, "--activate", "--accept", "openrouter/"+name+"/input_text", "--effective-from", began.UTC().Format(time.RFC3339))
	if len(got.Held) != 0 || got.Stored.Active || got.Stored.ScheduledFor == nil || !got.Stored.ScheduledFor.Equal(began) {
		t.Fatalf("%+v", got)
	}
	later := got.Stored.Version
	if c = x.bill(ask("before")); c.Cost != inMicro(c, "1.537e-07", "6.3e-07") || c.Attempts[0].PriceVersion == later {
		t.Errorf("before its time: %+v", c)
	}
	shiftClock(t, time.Hour+time.Minute)
	if c = x.bill(ask("after")); c.Cost != inMicro(c, "1.9e-07", "6.2e-07") || c.Attempts[0].PriceVersion != later {
		t.Errorf("after its time: %+v", c)
	}
	x.consistent()
}

// TestCuratedPricesAreSeeded: a fresh stack knows the curated list, and a price
// that a kind of input needs is asked for before the vendor is.
func TestCuratedPricesAreSeeded(t *testing.T) {
	var diff struct {
		Added, Changed, Held []struct{}
		Same                 int
	}
	runLK(t, &diff, "prices", "diff")
	if len(diff.Added)+len(diff.Changed)+len(diff.Held) != 0 || diff.Same < 300 {
		t.Errorf("%+v", diff)
	}
	x := newTenant(t, "free", 100_000_000)
	before := len(vendor.Calls())
	body := chatBody(simChat, "", false)
	body["messages"] = []any{map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "listen"},
		map[string]any{"type": "input_audio", "input_audio": map[string]any{"data": "UklGRgAAAABXQVZF", "format": "wav"}}}}}
	a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, body)
	if a.Status != http.StatusServiceUnavailable || a.code() != "price_missing" || !strings.Contains(string(a.Body), "input_audio") || len(vendor.Calls()) != before {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	x.consistent()
}
