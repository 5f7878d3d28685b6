package connectiontest

import (
	"context"
	"reflect"
	"sync"
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
	SetCooldown(ctx context.Context, org, id string, c connection.Cooldown, seen int64) error
}

// Run runs the suite; open gives an empty store.
func Run(t *testing.T, open func(t *testing.T) Store) {
	for name, f := range map[string]func(*testing.T, context.Context, Store){
		"RoundTrip": testRoundTrip, "Versions": testVersions, "UniqueKeys": testUniqueKeys, "Cooldown": testCooldown, "Parallel": testParallel,
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
		Health:   connection.Health{Status: connection.Healthy, Reason: "r", CheckedAt: now(), LatencyMS: 12, ModelCount: 3, VoiceCount: 4},
		Cooldown: connection.Cooldown{Failures: 2, Until: now().Add(time.Minute)}, Status: connection.Active, Class: taxonomy.AIKey,
		Hint: "wxyz", Fingerprint: fingerprint, CreatedAt: now(), Version: 1,
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
	want := connection.Cooldown{Failures: 1, Until: now().Add(5 * time.Minute)}
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
