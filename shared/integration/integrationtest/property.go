package integrationtest

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/integration/opener"
)

// model is one integration under random operations. want is the last value that
// was written; vendor counts uses of consumed refresh tokens.
type model struct {
	w      *World
	t      *rapid.T
	vendor *Vendor
	id     string
	want   integration.Values
	rev    int64
}

// Property runs random sequences of reads, refreshes, mode changes, backfills,
// imports, purges and crashes. Throughout, the value that is read is the last
// one written, byte for byte, and no consumed refresh token is used.
func Property(t *testing.T, open Open) {
	store, kek := open(t)
	w := NewWorld(t, store, kek)
	rapid.Check(t, func(t *rapid.T) {
		m := &model{w: w, t: t, vendor: NewVendor(w), id: w.NewID(time.Time{})}
		m.importValue(rapid.SampledFrom([]integration.Shape{integration.ShapePlaintext, integration.ShapeCipher}).Draw(t, "shape"))
		t.Repeat(map[string]func(*rapid.T){
			"":         func(*rapid.T) { m.check() },
			"read":     func(*rapid.T) { m.crashing(func(o *opener.Opener) { _, _ = o.Open(context.Background(), Org, m.id) }) },
			"refresh":  func(*rapid.T) { m.refresh() },
			"refresh2": func(*rapid.T) { m.refresh() },
			"mode":     func(*rapid.T) { m.mode() },
			"backfill": func(*rapid.T) { m.crashing(m.backfill) },
			"import":   func(*rapid.T) { m.importAgain() },
			"purge":    func(*rapid.T) { m.purge() },
			"wait": func(t *rapid.T) {
				w.Clock.Advance(rapid.SampledFrom([]time.Duration{time.Second, opener.LeaseTime, integration.Verified}).Draw(t, "wait"))
			},
		})
	})
}

// crashing runs f in a process of its own that may die at any call.
func (m *model) crashing(f func(*opener.Opener)) {
	s := &Crashing{Store: m.w.Store}
	if rapid.Bool().Draw(m.t, "dies") {
		s.At, s.After = rapid.IntRange(1, 14).Draw(m.t, "at"), rapid.Bool().Draw(m.t, "after")
	}
	f(m.w.Opener(s))
}

// check reads with a healthy process, and looks into every copy that counts as
// current.
func (m *model) check() {
	ctx, o := context.Background(), m.w.Opener(nil)
	v, err := o.Open(ctx, Org, m.id)
	if err != nil {
		m.t.Fatalf("the value cannot be read: %v (%s)", err, integration.ReasonOf(err))
	}
	if !v.Values.Equal(m.want) {
		m.t.Fatalf("read from %s: not the last value written", v.From)
	}
	if n := m.vendor.Misuse(); n != 0 {
		m.t.Fatalf("a consumed refresh token was used %d times", n)
	}
	i, err := m.w.Service.Get(ctx, Org, m.id)
	if err != nil || v.Rev != i.Rev || i.Rev < m.rev || i.New.Rev > i.Rev || i.Legacy.Rev > i.Rev {
		m.t.Fatalf("%v, rev %d of %+v", err, v.Rev, i)
	}
	m.rev = i.Rev
	if i.NewCurrent() {
		c, err := m.w.Vault.Load(ctx, Org, i.Ref().Class, i.Credential)
		if err != nil {
			m.t.Fatal(err)
		}
		if err := m.w.Vault.Reveal(ctx, c, use(), func(frame []byte) error {
			values, rev, err := integration.Unframe(i.Credential, frame)
			if err != nil || rev != i.Rev || !values.Equal(m.want) {
				m.t.Fatalf("the new copy counts as current and is not: %v", err)
			}
			return nil
		}); err != nil {
			m.t.Fatal(err)
		}
	}
	if c, err := m.w.Store.Legacy(ctx, Org, m.id); (err == nil) != i.HasLegacy() || err == nil && c.Rev != i.Legacy.Rev {
		m.t.Fatalf("legacy copy of rev %d, head says %d: %v", c.Rev, i.Legacy.Rev, err)
	}
}

func (m *model) importValue(shape integration.Shape) {
	m.want = m.vendor.Connect()
	m.w.Import(m.id, shape, m.want)
}

func (m *model) importAgain() {
	i, _ := m.w.Service.Get(context.Background(), Org, m.id)
	if i.Mode == integration.LegacyOnly {
		m.importValue(i.Legacy.Shapes[Access])
	}
}

func (m *model) refresh() {
	ctx := context.Background()
	seen, err := m.w.Opener(nil).Open(ctx, Org, m.id)
	if err != nil {
		m.t.Fatal(err)
	}
	m.crashing(func(o *opener.Opener) {
		var answered integration.Values
		v, err := o.Refresh(ctx, Org, m.id, seen.Rev, func(ctx context.Context, v opener.Value) (integration.Values, error) {
			out, err := m.vendor.Exchange(ctx, v)
			answered = out
			return out, err
		})
		after, readErr := m.w.Opener(nil).Open(ctx, Org, m.id)
		switch {
		case readErr != nil:
			m.t.Fatalf("the value is gone: %v", readErr)
		case err == nil && !v.Values.Equal(after.Values):
			m.t.Fatal("a result was returned that is not stored")
		case answered != nil && after.Values.Equal(answered):
			m.want = answered
		case integration.ReasonOf(err) == integration.RefreshUnfinished:
			m.want = m.vendor.Connect()
			if _, err := m.w.Opener(nil).Replace(ctx, Org, m.id, m.want); err != nil {
				m.t.Fatal(err)
			}
		}
	})
}

func (m *model) mode() {
	to := rapid.SampledFrom(integration.Modes()[:4]).Draw(m.t, "mode")
	_, err := m.w.Service.SetMode(context.Background(), m.w.Op(), Org, m.id, to)
	if err != nil && fault.CodeOf(err) != fault.Conflict {
		m.t.Fatal(err)
	}
}

// backfill deals with this integration alone.
func (m *model) backfill(o *opener.Opener) {
	before := m.id[:len(m.id)-1]
	_, _, _ = o.Backfill(context.Background(), Org, before, 12)
}

func (m *model) purge() {
	i, err := m.w.Service.Get(context.Background(), Org, m.id)
	if err != nil {
		m.t.Fatal(err)
	}
	_, err = m.w.Service.Purge(context.Background(), m.w.Op(), Org, m.id)
	may := i.Mode == integration.NewOnly && i.NewCurrent() && i.HasLegacy() && !i.New.VerifiedAt.IsZero() &&
		!m.w.Clock.Now().Before(i.New.VerifiedAt.Add(integration.Verified))
	if (err == nil) != may || err != nil && fault.CodeOf(err) != fault.Conflict {
		m.t.Fatalf("purged %v, may %v: %+v", err, may, i)
	}
}
