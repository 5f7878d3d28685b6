package connectiontest

import (
	"context"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Store is what an implementation offers.
type Store interface {
	connection.Store
	connection.Limiter
	probed
	SetCooldown(ctx context.Context, org, id string, c connection.Cooldown, seen int64) error
	DueProbes(ctx context.Context, now time.Time, limit int) ([]connection.Name, error)
}

// probed is what probes write.
type probed interface {
	connection.HealthStore
	connection.OfferStore
}

// Run runs the suite; open gives an empty store.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for name, f := range map[string]func(*testing.T, context.Context, Store){
		"RoundTrip": testRoundTrip, "Versions": testVersions, "UniqueKeys": testUniqueKeys, "Cooldown": testCooldown, "Parallel": testParallel,
		"Health": testHealth, "HealthRaces": testHealthRaces, "Due": testDue, "Limits": testLimits, "Offers": testOffers,
	} {
		t.Run(name, func(t *testing.T) { f(t, t.Context(), open(t)) })
	}
}

func now() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) }

func row(id string) audit.Row {
	return audit.Op{Actor: "key:k1", ID: id, At: now()}.Row("a1", "connection.x", "c1")
}

func sample(id, fingerprint string) connection.Connection {
	return connection.Connection{
		ID: id, Org: "a1", Provider: taxonomy.OpenAICompatible, Label: "Büro", BaseURL: "https://x.example/v1", Origin: "https://x.example",
		Models: []string{"m1", "m2"}, Priority: 7, Enabled: true, BillingSource: taxonomy.Private, AllowPlatformFallback: true,
		DefaultVoiceID: "v", Capabilities: []taxonomy.Capability{taxonomy.CapText, taxonomy.CapTools},
		Health: connection.Health{Status: connection.Healthy, Reason: "r", Probe: connection.TestText, HTTPStatus: 200, CheckedAt: now(),
			Since: now().Add(-time.Hour), LatencyMS: 12, ModelCount: 3, VoiceCount: 4},
		Cooldown: connection.Cooldown{Failures: 2, Until: now().Add(time.Minute)}, Status: connection.Active, Class: taxonomy.AIKey,
		Hint: "wxyz", Fingerprint: fingerprint, PreviousUntil: now().Add(time.Hour), CreatedAt: now(), Version: 1,
	}
}

func code(t *testing.T, err error, want fault.Code, param string) {
	t.Helper()
	if fault.CodeOf(err) != want || err != nil && fault.As(err).Param != param {
		t.Fatalf("got %v, want code %q param %q", err, want, param)
	}
}

func testRoundTrip(t *testing.T, ctx context.Context, s Store) {
	c := sample("c1", "f1")
	code(t, s.CreateConnection(ctx, c, row("r1")), "", "")
	got, err := s.Connection(ctx, "a1", "c1")
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Fatalf("read back %+v, %v\nwant %+v", got, err, c)
	}
	keyless := connection.Connection{ID: "c0", Org: "a1", Keyless: true, Status: connection.Active, Health: connection.Health{Status: connection.Unknown}, Version: 1}
	code(t, s.CreateConnection(ctx, keyless, row("r2")), "", "")
	all, err := s.Connections(ctx, "a1")
	if err != nil || len(all) != 2 || all[0].ID != "c0" || !all[0].Keyless || !all[0].CreatedAt.IsZero() || !reflect.DeepEqual(all[1], c) {
		t.Fatalf("list %+v, %v", all, err)
	}
	if none, err := s.Connections(ctx, "a2"); err != nil || len(none) != 0 {
		t.Fatalf("another organisation sees %+v, %v", none, err)
	}
	_, err = s.Connection(ctx, "a2", "c1")
	code(t, err, fault.NotFound, "")
}

func testVersions(t *testing.T, ctx context.Context, s Store) {
	old := sample("c1", "f1")
	code(t, s.CreateConnection(ctx, old, row("r1")), "", "")
	code(t, s.CreateConnection(ctx, old, row("r2")), fault.Conflict, "")
	next := old
	next.Label, next.Version = "New", 2
	code(t, s.UpdateConnection(ctx, old, next, row("r3")), "", "")
	code(t, s.UpdateConnection(ctx, old, next, row("r4")), fault.Conflict, "")
	code(t, s.DeleteConnection(ctx, old, row("r5")), fault.Conflict, "")
	code(t, s.DeleteConnection(ctx, next, row("r6")), "", "")
	_, err := s.Connection(ctx, "a1", "c1")
	code(t, err, fault.NotFound, "")
}

func testUniqueKeys(t *testing.T, ctx context.Context, s Store) {
	a, b := sample("a", "f1"), sample("b", "f1")
	code(t, s.CreateConnection(ctx, a, row("r1")), "", "")
	code(t, s.CreateConnection(ctx, b, row("r2")), fault.Conflict, "api_key")
	elsewhere := sample("e", "f1")
	elsewhere.Origin = "https://y.example"
	code(t, s.CreateConnection(ctx, elsewhere, row("r3")), "", "")
	foreign := sample("f", "f1")
	foreign.Org = "a2"
	code(t, s.CreateConnection(ctx, foreign, row("r4")), "", "")

	b.Fingerprint = "f2"
	code(t, s.CreateConnection(ctx, b, row("r5")), "", "")
	taken := b
	taken.Fingerprint, taken.Version = "f1", 2
	code(t, s.UpdateConnection(ctx, b, taken, row("r6")), fault.Conflict, "api_key")
	rotated := a
	rotated.Fingerprint, rotated.Version = "f3", 2
	code(t, s.UpdateConnection(ctx, a, rotated, row("r7")), "", "")
	code(t, s.UpdateConnection(ctx, b, taken, row("r8")), "", "")
	revoked := taken
	revoked.Status, revoked.Version = connection.Revoked, 3
	code(t, s.UpdateConnection(ctx, taken, revoked, row("r9")), "", "")
	code(t, s.CreateConnection(ctx, sample("c", "f1"), row("r10")), "", "")
	code(t, s.DeleteConnection(ctx, revoked, row("r11")), "", "")
	code(t, s.CreateConnection(ctx, sample("d", "f1"), row("r12")), fault.Conflict, "api_key")
	code(t, s.DeleteConnection(ctx, rotated, row("r13")), "", "")
	code(t, s.CreateConnection(ctx, sample("d", "f3"), row("r14")), "", "")
}

func testCooldown(t *testing.T, ctx context.Context, s Store) {
	c := sample("c1", "f1")
	c.Cooldown = connection.Cooldown{}
	code(t, s.CreateConnection(ctx, c, row("r1")), "", "")
	code(t, connection.Cool(ctx, s, "a1", "c1", 401, 0, now()), "", "")
	got, _ := s.Connection(ctx, "a1", "c1")
	want := connection.Cooldown{Failures: 1, Until: now().Add(5 * time.Minute), Refused: true}
	if got.Cooldown != want || got.Version != 2 {
		t.Fatalf("%+v version %d, want %+v", got.Cooldown, got.Version, want)
	}
	code(t, s.SetCooldown(ctx, "a1", "c1", connection.Cooldown{}, 1), fault.Conflict, "")
	code(t, connection.Recover(ctx, s, got), "", "")
	if got, _ = s.Connection(ctx, "a1", "c1"); got.Cooldown != (connection.Cooldown{}) {
		t.Fatalf("not recovered: %+v", got.Cooldown)
	}
	code(t, connection.Cool(ctx, s, "a1", "gone", 401, 0, now()), "", "")
	if _, err := s.Connection(ctx, "a1", "gone"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal("cooling made a connection")
	}
}

// testParallel checks that no failure of simultaneous calls is lost.
func testParallel(t *testing.T, ctx context.Context, s Store) {
	c := sample("c1", "f1")
	c.Cooldown = connection.Cooldown{}
	code(t, s.CreateConnection(ctx, c, row("r1")), "", "")
	const calls = 3
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if err := connection.Cool(ctx, s, "a1", "c1", 403, 0, now()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := s.Connection(ctx, "a1", "c1"); got.Cooldown.Failures != calls {
		t.Fatalf("%d failures counted, want %d", got.Cooldown.Failures, calls)
	}
}

func seen(p connection.Probe, v connection.Verdict, at time.Time) connection.Seen {
	return connection.Seen{Probe: p, Verdict: v, At: at, HTTPStatus: 200, LatencyMS: 5}
}

// testHealth: a result is stored beside everything else, and an older one is not.
func testHealth(t *testing.T, ctx context.Context, s Store) {
	c := sample("c1", "f1")
	code(t, s.CreateConnection(ctx, c, row("r1")), "", "")
	later := now().Add(time.Minute)
	code(t, connection.Record(ctx, s, c, seen(connection.TestAuth, connection.Refused, later)), "", "")
	want := c
	want.Version = 2
	want.Health = connection.Health{Status: connection.Failed, Probe: connection.TestAuth, HTTPStatus: 200, CheckedAt: later, Since: later,
		LatencyMS: 5, ModelCount: 3, VoiceCount: 4}
	got, err := s.Connection(ctx, "a1", "c1")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v\nwant %+v", got, err, want)
	}
	code(t, connection.Record(ctx, s, c, seen(connection.TestAuth, connection.Accepted, now().Add(time.Second))), "", "")
	if got, _ = s.Connection(ctx, "a1", "c1"); !reflect.DeepEqual(got, want) {
		t.Fatalf("an older result was stored: %+v", got.Health)
	}
	off := got
	off.Enabled, off.Version = false, 3
	code(t, s.UpdateConnection(ctx, got, off, row("r2")), "", "")
	code(t, connection.Record(ctx, s, off, seen(connection.TestAuth, connection.Accepted, later.Add(time.Minute))), "", "")
	if got, _ = s.Connection(ctx, "a1", "c1"); got.Health.Status != connection.Healthy {
		t.Fatalf("the health of a disabled connection was not stored: %+v", got.Health)
	}
	code(t, connection.Record(ctx, s, sample("gone", "f9"), seen(connection.TestAuth, connection.Accepted, later)), "", "")
	if _, err := s.Connection(ctx, "a1", "gone"); fault.CodeOf(err) != fault.NotFound {
		t.Fatal("a probe made a connection")
	}
}

// testHealthRaces: what was probed before a change says nothing after it, and a
// change that was read before a probe does not undo it.
func testHealthRaces(t *testing.T, ctx context.Context, s Store) {
	for id, change := range map[string]func(*connection.Connection){
		"key":      func(c *connection.Connection) { c.Fingerprint = "f2" + c.ID },
		"endpoint": func(c *connection.Connection) { c.BaseURL = "https://z.example" },
		"revoked":  func(c *connection.Connection) { c.Status = connection.Revoked },
	} {
		c := sample(id, "f"+id)
		code(t, s.CreateConnection(ctx, c, row("c"+id)), "", "")
		next := c
		change(&next)
		next.Version = 2
		code(t, s.UpdateConnection(ctx, c, next, row("u"+id)), "", "")
		code(t, connection.Record(ctx, s, c, seen(connection.TestAuth, connection.Refused, now().Add(time.Minute))), "", "")
		if got, _ := s.Connection(ctx, "a1", id); got.Health != c.Health {
			t.Errorf("%s: the result of the old one was stored: %+v", id, got.Health)
		}
	}
	c := sample("c1", "f1")
	code(t, s.CreateConnection(ctx, c, row("r1")), "", "")
	code(t, connection.Record(ctx, s, c, seen(connection.TestAuth, connection.Refused, now().Add(time.Minute))), "", "")
	stale := c
	stale.Label, stale.Version = "New", 2
	code(t, s.UpdateConnection(ctx, c, stale, row("r2")), fault.Conflict, "")
	// A cooldown in between is no obstacle.
	code(t, connection.Cool(ctx, s, "a1", "c1", 401, 0, now()), "", "")
	code(t, connection.Record(ctx, s, c, seen(connection.TestAuth, connection.Accepted, now().Add(2*time.Minute))), "", "")
	if got, _ := s.Connection(ctx, "a1", "c1"); got.Health.Status != connection.Healthy || got.Cooldown.Failures != 3 {
		t.Fatalf("%+v %+v", got.Health, got.Cooldown)
	}
}

func testDue(t *testing.T, ctx context.Context, s Store) {
	put := func(id string, change func(*connection.Connection)) {
		c := sample(id, "f"+id)
		change(&c)
		code(t, s.CreateConnection(ctx, c, row("r"+id)), "", "")
	}
	put("fresh", func(*connection.Connection) {})
	put("yesterday", func(c *connection.Connection) { c.Health.CheckedAt = now().Add(-24 * time.Hour) })
	put("failed", func(c *connection.Connection) {
		c.Health.Status, c.Health.CheckedAt = connection.Failed, now().Add(-15*time.Minute)
	})
	put("unverified", func(c *connection.Connection) {
		c.Health = connection.Health{Status: connection.Unverified, CheckedAt: now().Add(-time.Minute), Since: now().Add(-time.Minute)}
	})
	put("never", func(c *connection.Connection) {
		c.Health, c.CreatedAt = connection.Health{Status: connection.Unknown}, now().Add(-time.Second)
	})
	put("revoked", func(c *connection.Connection) { c.Status, c.Health.CheckedAt = connection.Revoked, time.Time{} })
	put("off", func(c *connection.Connection) { c.Enabled, c.Health.CheckedAt = false, time.Time{} })
	for limit, want := range map[int][]string{10: {"unverified", "never", "failed", "yesterday"}, 2: {"unverified", "never"}} {
		due, err := s.DueProbes(ctx, now(), limit)
		var ids []string
		for _, d := range due {
			ids = append(ids, d.ID)
			if d.Org != "a1" {
				t.Errorf("organisation %q", d.Org)
			}
		}
		if err != nil || !reflect.DeepEqual(ids, want) {
			t.Errorf("limit %d: %v %v, want %v", limit, ids, err, want)
		}
	}
	c, _ := s.Connection(ctx, "a1", "unverified")
	code(t, connection.Record(ctx, s, c, seen(connection.TestAuth, connection.Accepted, now())), "", "")
	if due, _ := s.DueProbes(ctx, now(), 10); len(due) != 3 {
		t.Errorf("due after a probe: %v", due)
	}
}

// testLimits: exactly as many as allowed get through at once, windows and names
// and organisations are apart, and the time to wait ends with the window.
func testLimits(t *testing.T, ctx context.Context, s Store) {
	minute := connection.Limit{Name: "x-minute", Window: time.Minute, Max: 5}
	at := now().Add(20 * time.Second)
	var through, refused atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			switch err := s.Take(ctx, "a1", at, minute); fault.CodeOf(err) {
			case "":
				through.Add(1)
			case fault.RateLimited:
				refused.Add(1)
				if f := fault.As(err); f.RetryAfter != 40*time.Second {
					t.Errorf("wait %v", f.RetryAfter)
				}
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if through.Load() != 5 || refused.Load() != 15 {
		t.Fatalf("%d through, %d refused", through.Load(), refused.Load())
	}
	code(t, s.Take(ctx, "a2", at, minute), "", "")
	code(t, s.Take(ctx, "a1", at, connection.Limit{Name: "y-minute", Window: time.Minute, Max: 1}), "", "")
	code(t, s.Take(ctx, "a1", now().Add(time.Minute), minute), "", "")
	hour := connection.Limit{Name: "x-hour", Window: time.Hour, Max: 2}
	code(t, s.Take(ctx, "a3", at, minute, hour), "", "")
	code(t, s.Take(ctx, "a3", at, minute, hour), "", "")
	err := s.Take(ctx, "a3", at, minute, hour)
	code(t, err, fault.RateLimited, "")
	if f := fault.As(err); f.RetryAfter != time.Hour-20*time.Second {
		t.Errorf("wait %v", f.RetryAfter)
	}
}
