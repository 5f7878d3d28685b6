package profiles_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

var update = flag.Bool("update", false, "write the table of differences in CONTRIBUTING.md")

// difference is a request about which a vendor's verifier and ours disagree.
type difference struct {
	sdk, request string
	theirs       bool // accepted by the vendor's verifier
	ours         webhook.Reason
	why          string
}

// differences are all of them. One that is not listed, or is listed and gone,
// fails the test.
func differences() []difference {
	const (
		empty  = "signed with nothing, no secret configured"
		twice  = "the header twice, the good one first"
		past   = "signed ten minutes ago"
		future = "signed for ten minutes from now"
	)
	noSecret := func(sdk string) difference {
		return difference{sdk, empty, true, webhook.NoSecret, "a missing secret must be an error, or everybody knows the key"}
	}
	repeated := func(sdk string) difference {
		return difference{sdk, twice, true, webhook.HeaderDuplicate, "the gateway joins repeated headers; which one counts must not depend on it"}
	}
	return []difference{
		noSecret("stripe-go v86.1.0"), repeated("stripe-go v86.1.0"),
		{"stripe-go v86.1.0", future, true, webhook.Future, "a signature for later could be kept and used then"},
		{"stripe-go v86.1.0", "a damaged signature before the good one", true, webhook.SigFormat, "Stripe sends none; what is damaged is not guessed at"},
		repeated("slack-go v0.35.0"),
		{"slack-go v0.35.0", "two times in two headers", true, webhook.HeaderDuplicate, "as above, for the time"},
		noSecret("standard-webhooks v0.0.1"), repeated("standard-webhooks v0.0.1"),
		{"standard-webhooks v0.0.1", "a time with a sign", true, webhook.SigFormat, "the library signs its own reading of the time, we the bytes; both are refused or equal for what a vendor sends"},
		noSecret("go-github v89.0.0"), repeated("go-github v89.0.0"),
		{"go-github v89.0.0", "SHA-1", true, webhook.AlgRefused, "GitHub sends SHA-256 beside it; the weaker one is a downgrade"},
		{"go-github v89.0.0", "SHA-512", true, webhook.AlgRefused, "GitHub documents SHA-256 only"},
		noSecret("line-bot-sdk-go v8.14.0"), repeated("line-bot-sdk-go v8.14.0"),
		{"line-bot-sdk-go v8.14.0", "a line break inside the signature", true, webhook.SigFormat, "Go's base64 decoder skips line breaks; one signature must have one form"},
		noSecret("twilio-go v1.31.0"), repeated("twilio-go v1.31.0"),
		{"twilio-go v1.31.0", "a body of JSON and its hash in capitals", false, "", "the value in hex is the same"},
		{"twilio-go v1.31.0", "a form with one name twice, each value signed", false, "", "Twilio's libraries for other languages sign every value; so does Twilio"},
		{"twilio-go v1.31.0", "a form with one name twice, the first value signed", true, webhook.SigMismatch, "as above: the second value would not be signed"},
		{"twilio-go v1.31.0", "the port 443 signed with the URL", true, webhook.SigMismatch, "the URL that is stored is the one configured at Twilio, with or without port"},
		{"twilio-go v1.31.0", "another query than the configured one", false, "", "what is signed and read is the URL as stored; a query that a proxy rewrote is not looked at"},
		repeated(discordSDK),
		{discordSDK, past, true, webhook.Stale, "Discord documents no window; five minutes is our policy"},
		{discordSDK, future, true, webhook.Future, "as above"},
	}
}

const discordSDK = "npm discord-interactions 4.4.0"

// discord is Discord's own verifier, which is asked in Node.
func discord() sdk {
	seed := strings.Repeat("07", ed25519.SeedSize)
	raw, _ := hex.DecodeString(seed)
	private := ed25519.NewKeyFromSeed(raw)
	public := hex.EncodeToString(private.Public().(ed25519.PublicKey))
	const sig, stamp = "X-Signature-Ed25519", "X-Signature-Timestamp"
	keys := func(k string) func(*webhook.Input) {
		return func(in *webhook.Input) { in.Config["public_keys"] = []string{k} }
	}
	return sdk{name: discordSDK, scheme: rowOf(taxonomy.ProfileDiscord), key: seed, body: `{"type":1}`, header: sig,
		config: webhook.Config{"public_keys": {public}},
		sign: func(in *webhook.Input, _ string, at time.Time) {
			in.Header.Add(stamp, strconv.FormatInt(at.Unix(), 10))
			in.Header.Add(sig, hex.EncodeToString(ed25519.Sign(private, []byte(in.Header.Values(stamp)[0]+string(in.Body)))))
		},
		more: []attempt{
			{name: "another application's key", edit: keys(strings.Repeat("22", 32))},
			{name: "a key of 31 bytes", edit: keys(public[2:])},
			{name: "a key that is no hex", edit: keys(strings.Repeat("z", 64))},
			{name: "no key", edit: keys("")},
			{name: "another time than the signed one", edit: amend(stamp, func(v string) string { return v[:len(v)-1] + strconv.Itoa(9-int(v[len(v)-1]-'0')) })},
		}}
}

// missing says that something of Node's is not there to be compared with. Under
// ./scripts/test, which installs it, that is a failure.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("LATCHKEY_TEST_NODE_MODULES") != "" {
		t.Fatalf("%s is missing, although ./scripts/setup installs what comes from npm and asks for Node", what)
	}
	t.Logf("%s is not installed (./scripts/setup does it): not compared", what)
}

// inNode asks Discord's library; ok is false if it is not installed.
func inNode(t *testing.T, requests []webhook.Input) (verdicts []bool, ok bool) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		missing(t, "Node")
		return nil, false
	}
	type question struct{ Body, Signature, Time, Key string }
	var ask []question
	for _, in := range requests {
		h := headers(in)
		ask = append(ask, question{string(in.Body), h.Get("X-Signature-Ed25519"), h.Get("X-Signature-Timestamp"), in.Config.Get("public_keys")})
	}
	b, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	const programme = `
let lib; try { lib = require('discord-interactions'); } catch { console.log('null'); process.exit(0); }
Promise.all(JSON.parse(require('fs').readFileSync(0, 'utf8')).map(q => lib.verifyKey(q.Body, q.Signature, q.Time, q.Key)))
  .then(v => console.log(JSON.stringify(v)));`
	cmd := exec.CommandContext(t.Context(), node, "-e", programme)
	cmd.Dir = filepath.Join("..", "..", "..")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &verdicts); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if verdicts == nil {
		missing(t, discordSDK)
	} else if len(verdicts) != len(requests) {
		t.Fatalf("%d verdicts on %d requests", len(verdicts), len(requests))
	}
	return verdicts, verdicts != nil
}

// TestVendorVerifiers asks every vendor's verifier and ours about the same
// requests. Where they disagree the difference is listed, with the reason.
func TestVendorVerifiers(t *testing.T) {
	now := time.Now()
	var found []difference
	compare := func(s sdk, a attempt, theirs bool, ours webhook.Reason) {
		switch {
		case a.name == "valid" && (!theirs || ours != ""):
			t.Errorf("%s: a valid request: theirs %v, ours %q", s.name, theirs, ours)
		case theirs != (ours == ""):
			found = append(found, difference{s.name, a.name, theirs, ours, ""})
		}
	}
	for _, s := range sdks() {
		for _, a := range s.attempts() {
			in, key := s.request(a, now)
			compare(s, a, s.verify(in, key), s.ours(in, key, now))
		}
	}
	list := differences()
	d := discord()
	attempts := slices.DeleteFunc(d.attempts(), func(a attempt) bool { return a.with != nil }) // it has no secret
	var requests []webhook.Input
	for _, a := range attempts {
		in, _ := d.request(a, now)
		requests = append(requests, in)
	}
	if verdicts, ok := inNode(t, requests); ok {
		for i, a := range attempts {
			compare(d, a, verdicts[i], d.ours(requests[i], "", now))
		}
	} else {
		list = slices.DeleteFunc(list, func(x difference) bool { return x.sdk == discordSDK })
	}
	same := func(a, b difference) bool {
		return a.sdk == b.sdk && a.request == b.request && a.theirs == b.theirs && a.ours == b.ours
	}
	for _, x := range found {
		if !slices.ContainsFunc(list, func(y difference) bool { return same(x, y) }) {
			t.Errorf("not listed: %s: %s: theirs %v, ours %q", x.sdk, x.request, x.theirs, x.ours)
		}
	}
	for _, x := range list {
		if !slices.ContainsFunc(found, func(y difference) bool { return same(x, y) }) {
			t.Errorf("listed and not seen: %s: %s", x.sdk, x.request)
		}
	}
}

const (
	tableBegin = "<!-- verifiers: written by go test ./shared/webhook/profiles -run TestDifferencesAreDocumented -update -->\n"
	tableEnd   = "<!-- end of verifiers -->\n"
)

func table() string {
	var b strings.Builder
	b.WriteString("| vendor's verifier | request | there | here | because |\n|---|---|---|---|---|\n")
	for _, d := range differences() {
		there, here := "refused", "accepted"
		if d.theirs {
			there, here = "accepted", "`"+string(d.ours)+"`"
		}
		b.WriteString("| " + d.sdk + " | " + d.request + " | " + there + " | " + here + " | " + d.why + " |\n")
	}
	return b.String()
}

func TestDifferencesAreDocumented(t *testing.T) {
	file := filepath.Join("..", "..", "..", "CONTRIBUTING.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(b), tableBegin)
	was, tail, closed := strings.Cut(rest, tableEnd)
	if !ok || !closed {
		t.Fatal("CONTRIBUTING.md has no table of verifiers")
	}
	if was == table() {
		return
	}
	if !*update {
		t.Fatal("the table of verifiers in CONTRIBUTING.md is old: run with -update")
	}
	if err := os.WriteFile(file, []byte(head+tableBegin+table()+tableEnd+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}
