package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/connection/connectiontest"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/probe"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

type station struct {
	*bench
	*probe.Station
	store *connectiontest.Memory
	kek   *vaulttest.KEK
	vault *vault.Vault
	mu    sync.Mutex
	used  []vault.Event
}

func openStation(t *testing.T) *station {
	t.Helper()
	s := &station{bench: open(t, nil), store: connectiontest.NewMemory(nil), kek: vaulttest.NewKEK()}
	var err error
	if s.vault, err = vault.New(vault.Options{Store: vaulttest.NewStore(), KEK: s.kek, Fields: vaulttest.Fields(), Now: func() time.Time { return s.now }, App: "latchkey", Stage: "test",
		OnUse: func(_ context.Context, e vault.Event) { s.mu.Lock(); defer s.mu.Unlock(); s.used = append(s.used, e) }}); err != nil {
		t.Fatal(err)
	}
	s.Station = &probe.Station{Runner: s.r, Store: s.store, Offers: s.store, Vault: s.vault}
	return s
}

// add stores a connection with a key of its own, due at once.
func (s *station) add(id string, change func(*connection.Connection)) connection.Connection {
	s.Helper()
	c := s.c
	c.ID, c.Fingerprint, c.CreatedAt, c.Version = id, "f"+id, s.now.Add(-time.Minute), 1
	c.Health = connection.Health{Status: connection.Unverified, Reason: "provider_timeout"}
	if change != nil {
		change(&c)
	}
	if !c.Keyless {
		if _, err := s.vault.Create(s.Context(), vault.NewCredential{Ref: c.Ref(), Origin: s.c.Origin, Op: vaulttest.Op(),
			Fields: map[string]secret.Text{connection.KeyField: secret.FromString(key + id)}}); err != nil {
			s.Fatal(err)
		}
	}
	if err := s.store.CreateConnection(s.Context(), c, audit.Row{}); err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *station) health(id string) connection.Health {
	s.Helper()
	c, err := s.store.Connection(s.Context(), "o1", id)
	if err != nil {
		s.Fatal(err)
	}
	return c.Health
}

func TestAProbeOpensTheKeyAndRecordsTheHealth(t *testing.T) {
	s := openStation(t)
	s.add("c1", nil)
	seen, err := s.Probe(t.Context(), "o1", "c1", connection.TestText, "")
	if err != nil || seen.Verdict != connection.Accepted {
		t.Fatalf("%+v %v", seen, err)
	}
	if h := s.health("c1"); h.Status != connection.Healthy || h.Reason != "" || h.Probe != connection.TestText || !h.CheckedAt.Equal(s.now) {
		t.Errorf("%+v", h)
	}
	if s.v.keys[0] != "Bearer "+key+"c1" {
		t.Errorf("sent %v", s.v.keys)
	}
	if len(s.used) != 1 || s.used[0].Purpose != "test_text" || s.used[0].Field != connection.KeyField {
		t.Errorf("opened %+v", s.used)
	}
	s.add("keyless", func(c *connection.Connection) { c.Keyless, c.Fingerprint = true, "" })
	if seen, err := s.Probe(t.Context(), "o1", "keyless", connection.TestAuth, ""); err != nil || seen.Verdict != connection.Accepted || s.v.keys[len(s.v.keys)-1] != "" {
		t.Errorf("keyless: %+v %v, sent %v", seen, err, s.v.keys)
	}
}

func TestProbesThatAreNotMade(t *testing.T) {
	s := openStation(t)
	s.add("c1", func(c *connection.Connection) { c.Models = []string{"m1"} })
	s.add("revoked", func(c *connection.Connection) { c.Status = connection.Revoked })
	s.add("moved", func(c *connection.Connection) { c.Origin = "https://elsewhere.example" })
	for name, c := range map[string]struct {
		org, id string
		p       connection.Probe
		model   string
		code    fault.Code
		param   string
	}{
		"unknown":              {"o1", "nope", connection.TestAuth, "", fault.NotFound, ""},
		"another organisation": {"o2", "c1", connection.TestAuth, "", fault.NotFound, ""},
		"revoked":              {"o1", "revoked", connection.TestAuth, "", fault.Conflict, ""},
		"saved for elsewhere":  {"o1", "moved", connection.TestAuth, "", fault.VaultUnavailable, ""},
		"no such probe":        {"o1", "c1", "everything", "", fault.InvalidRequest, "probe"},
		"a foreign model":      {"o1", "c1", connection.TestText, "m2", fault.InvalidRequest, "model"},
	} {
		_, err := s.Probe(t.Context(), c.org, c.id, c.p, c.model)
		if fault.CodeOf(err) != c.code || fault.As(err).Param != c.param {
			t.Errorf("%s: %v, want %s %q", name, err, c.code, c.param)
		}
	}
	s.kek.Refuse(vault.KeyDisabled)
	if _, err := s.Probe(t.Context(), "o1", "c1", connection.TestAuth, ""); fault.CodeOf(err) != fault.VaultUnavailable {
		t.Errorf("key service down: %v", err)
	}
	if len(s.used) != 1 || len(s.v.calls) != 0 || s.health("c1").CheckedAt != (time.Time{}) {
		t.Errorf("calls %v, health %+v", s.v.calls, s.health("c1"))
	}
	s.kek.Refuse("")
	s.now = s.now.Add(time.Minute) // a refusing key service is remembered for some seconds
	s.store.Before = func(string) error { return fault.New(fault.Unavailable, "t", "down") }
	if _, err := s.Probe(t.Context(), "o1", "c1", connection.TestAuth, ""); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("a result that could not be stored: %v", err)
	}
}

func refs(ids ...string) []probe.Ref {
	out := make([]probe.Ref, len(ids))
	for i, id := range ids {
		out[i] = probe.Ref{Org: "o1", Connection: id}
	}
	return out
}

func TestBatch(t *testing.T) {
	s := openStation(t)
	ids := []string{"gone"}
	for i := range 12 {
		id := fmt.Sprint("c", i)
		s.add(id, nil)
		ids = append(ids, id)
	}
	s.add("fresh", func(c *connection.Connection) {
		c.Health = connection.Health{Status: connection.Healthy, CheckedAt: s.now.Add(-time.Hour)}
	})
	s.add("off", func(c *connection.Connection) { c.Enabled = false })
	s.add("moved", func(c *connection.Connection) { c.Origin = "https://elsewhere.example" })
	ids = append(ids, "fresh", "off", "moved")
	n, err := s.Batch(t.Context(), refs(ids...))
	if err != nil || n != 13 || len(s.v.calls) != 12 {
		t.Fatalf("%d probed, %v, %d calls", n, err, len(s.v.calls))
	}
	for i := range 12 {
		if h := s.health(fmt.Sprint("c", i)); h.Status != connection.Healthy {
			t.Errorf("c%d: %+v", i, h)
		}
	}
	// What cannot be probed is not in the way of the others next time.
	if h := s.health("moved"); h.Status != connection.Unverified || h.Reason != string(fault.VaultUnavailable) || !h.CheckedAt.Equal(s.now) {
		t.Errorf("moved: %+v", h)
	}
	if h := s.health("fresh"); !h.CheckedAt.Equal(s.now.Add(-time.Hour)) {
		t.Errorf("probed although not due: %+v", h)
	}
	// Handed over twice, probed once.
	if n, err = s.Batch(t.Context(), refs(ids...)); err != nil || n != 0 || len(s.v.calls) != 12 {
		t.Errorf("again: %d probed, %v, %d calls", n, err, len(s.v.calls))
	}
}

func TestABatchThatCannotBeRecordedFails(t *testing.T) {
	s := openStation(t)
	s.add("c1", nil)
	s.add("c2", nil)
	s.store.Before = func(string) error { return fault.New(fault.Unavailable, "t", "down") }
	if _, err := s.Batch(t.Context(), refs("c1", "c2")); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

// TestUnverifiedHealsByItself: from saving with the vendor down to being used.
func TestUnverifiedHealsByItself(t *testing.T) {
	s := openStation(t)
	s.add("c1", nil)
	s.v.status["/v1/models"] = 503
	for range 2 {
		if n, err := s.Batch(t.Context(), refs("c1")); n != 1 || err != nil {
			t.Fatalf("%d %v", n, err)
		}
		if h := s.health("c1"); h.Status != connection.Unverified || h.Reason != string(fault.ProviderOverloaded) {
			t.Fatalf("%+v", h)
		}
		s.now = s.now.Add(time.Minute)
	}
	s.v.status["/v1/models"] = 0
	if n, err := s.Batch(t.Context(), refs("c1")); n != 1 || err != nil || s.health("c1").Status != connection.Healthy {
		t.Fatalf("%d %v %+v", n, err, s.health("c1"))
	}
}

// fakeFunction stands for the function conform and for the Lambda service.
type fakeFunction struct {
	answer   []byte
	err      error
	failAt   int
	payloads [][]byte
}

func (f *fakeFunction) Invoke(_ context.Context, function string, payload []byte) ([]byte, error) {
	f.payloads = append(f.payloads, payload)
	if function != topology.Conform {
		return nil, fault.New(fault.Internal, "t", "wrong function")
	}
	return f.answer, f.err
}

func (f *fakeFunction) InvokeAsync(ctx context.Context, function string, payload []byte) error {
	if f.failAt > 0 && len(f.payloads)+1 == f.failAt {
		return fault.New(fault.Unavailable, "t", "down")
	}
	_, err := f.Invoke(ctx, function, payload)
	return err
}

func TestRemote(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	seen := connection.Seen{Probe: connection.ListModels, Verdict: connection.Listed, HTTPStatus: 200, At: now, LatencyMS: 7, ModelCount: 9, VoiceCount: 1}
	good, _ := json.Marshal(probe.Reported(seen))
	refusal, _ := json.Marshal(probe.Refused(fault.New(fault.InvalidRequest, "x", "no").WithParam("model")))
	f := &fakeFunction{answer: good}
	ask := func() (connection.Seen, error) {
		return probe.Remote{Invoker: f}.Probe(t.Context(), "o1", "c1", connection.ListModels, "m", now)
	}
	if got, err := ask(); err != nil || got != seen {
		t.Errorf("%+v %v", got, err)
	}
	ev, err := probe.ParseEvent(f.payloads[0])
	if err != nil || ev.Org != "o1" || ev.Connection != "c1" || ev.Probe != connection.ListModels || ev.Model != "m" || !ev.At.Equal(now) {
		t.Errorf("sent %s: %v", f.payloads[0], err)
	}
	f.answer = refusal
	if _, err := ask(); fault.CodeOf(err) != fault.InvalidRequest || fault.As(err).Param != "model" || fault.As(err).Message != "no" {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", "{}", "null", "[]", string(good) + "x", `{"seen":{},"error":{}}`, `{"seen":{"more":1}}`, strings.Repeat(" ", 65<<10) + string(good)} {
		f.answer = []byte(bad)
		if _, err := ask(); fault.CodeOf(err) != fault.Unavailable {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
	f.err = fault.New(fault.Unavailable, "t", "down")
	if _, err := ask(); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("%v", err)
	}
}

func TestParseEvent(t *testing.T) {
	at := `"at":"2026-11-21T12:00:00Z"`
	many := make([]probe.Ref, 26)
	for i := range many {
		many[i] = probe.Ref{Org: "o", Connection: "c"}
	}
	tooMany, _ := json.Marshal(many)
	enough, _ := json.Marshal(many[:25])
	for raw, ok := range map[string]bool{
		`{"org":"o","connection":"c","probe":"test_auth",` + at + `}`:                  true,
		`{"org":"o","connection":"c","probe":"test_text","model":"m",` + at + `}`:      true,
		`{"batch":[{"org":"o","connection":"c"}],` + at + `}`:                          true,
		`{"batch":` + string(enough) + `,` + at + `}`:                                  true,
		`{"batch":` + string(tooMany) + `,` + at + `}`:                                 false,
		`{"org":"o","connection":"c","probe":"test_auth"}`:                             false,
		`{"org":"o","connection":"c","probe":"test_auth","at":"1960-01-01T00:00:00Z"}`: false,
		`{"org":"o","connection":"c",` + at + `}`:                                      true,
		`{` + at + `}`: false,
		`{"batch":[{"org":"o#x","connection":"c"}],` + at + `}`:                             false,
		`{"batch":[],"probe":"test_auth",` + at + `}`:                                       false,
		`{"org":"o/x","connection":"c","probe":"test_auth",` + at + `}`:                     false,
		`{"org":"o","connection":"","probe":"test_auth",` + at + `}`:                        false,
		`{"org":"o","connection":"c","probe":"test_auth","key":"k",` + at + `}`:             false,
		`{"org":"o","connection":"c","probe":"test_auth",` + at + `}{}`:                     false,
		`{"org":"o","connection":"c","probe":"` + strings.Repeat("p", 65) + `",` + at + `}`: false,
		`[]`: false, ``: false, `null`: false,
	} {
		if _, err := probe.ParseEvent([]byte(raw)); (err == nil) != ok || err != nil && fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%.120s: %v", raw, err)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(`{"org":"o","connection":"c","probe":"test_auth","at":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{"batch":[{"org":"o","connection":"c"}],"at":"2026-11-21T12:00:00Z"}`))
	f.Add([]byte(`{"batch":null,"at":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ev, err := probe.ParseEvent(raw)
		if err != nil {
			return
		}
		if len(ev.Batch) > probe.MaxBatch || (ev.Org == "") == (len(ev.Batch) == 0) || ev.At.Unix() <= 0 {
			t.Fatalf("%q became %+v", raw, ev)
		}
		again, err := json.Marshal(ev)
		if err != nil {
			return // a year that JSON cannot hold
		}
		if _, err := probe.ParseEvent(again); err != nil {
			t.Fatalf("%s is not an event: %v", again, err)
		}
	})
}

type fakeQueue struct {
	due   []connection.Name
	limit int
	err   error
}

func (q *fakeQueue) DueProbes(_ context.Context, _ time.Time, limit int) ([]connection.Name, error) {
	q.limit = limit
	return q.due[:min(limit, len(q.due))], q.err
}

func TestDispatcher(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	q := &fakeQueue{}
	for i := range 130 {
		q.due = append(q.due, connection.Name{Org: "o1", ID: fmt.Sprint("c", i)})
	}
	f := &fakeFunction{}
	d := probe.Dispatcher{Queue: q, Invoker: f}
	if n, err := d.Run(t.Context(), now); n != 100 || err != nil || len(f.payloads) != 4 || q.limit != 100 {
		t.Fatalf("%d %v, %d events, limit %d", n, err, len(f.payloads), q.limit)
	}
	var ids []string
	for _, p := range f.payloads {
		ev, err := probe.ParseEvent(p)
		if err != nil || !ev.At.Equal(now) || len(ev.Batch) != 25 {
			t.Fatalf("%s: %v", p, err)
		}
		for _, r := range ev.Batch {
			ids = append(ids, r.Connection)
		}
	}
	if len(ids) != 100 || ids[0] != "c0" || ids[99] != "c99" || len(slices.Compact(slices.Sorted(slices.Values(ids)))) != 100 {
		t.Errorf("handed over %v", ids)
	}
	f = &fakeFunction{failAt: 3}
	d.Invoker = f
	if n, err := d.Run(t.Context(), now); n != 50 || fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("%d %v", n, err)
	}
	q.due = nil
	if n, err := d.Run(t.Context(), now); n != 0 || err != nil || len(f.payloads) != 2 {
		t.Errorf("nothing due: %d %v", n, err)
	}
	q.err = fault.New(fault.Unavailable, "t", "down")
	if n, err := d.Run(t.Context(), now); n != 0 || fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("%d %v", n, err)
	}
}
