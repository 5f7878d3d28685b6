package payment_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/payment"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

type kit struct {
	*testing.T
	store  *vaulttest.Store
	kek    *vaulttest.KEK
	clock  *vaulttest.Clock
	keeper *payment.Keeper
	opener payment.Opener
	n      int
}

func newKit(t *testing.T) *kit {
	k := &kit{T: t, store: vaulttest.NewStore(), kek: vaulttest.NewKEK(), clock: vaulttest.NewClock()}
	v, err := vault.New(vault.Options{Store: k.store, KEK: k.kek, Fields: vaulttest.Fields(), Now: k.clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ref := payment.RefOf(payment.Reference(stripe.ID), stripe.ID)
	if want := (vault.Ref{Org: "operator", ID: stripe.ID, Provider: stripe.ID, Class: taxonomy.Payment}); ref != want {
		t.Fatalf("%+v", ref)
	}
	k.keeper = &payment.Keeper{Vault: v, Ref: ref, Label: "payments", Names: payment.Names{Call: stripe.APIKey, Message: stripe.WebhookSecret}, Overlap: stripe.RollOverlap}
	k.opener = payment.Opener{Vault: v, Ref: ref, Names: payment.Names{Call: stripe.APIKey, Message: stripe.WebhookSecret}}
	return k
}

func (k *kit) op() audit.Op {
	k.n++
	return audit.Op{Actor: "operator:k", ID: "op" + string(rune('a'+k.n)), At: k.clock.Now()}
}

func (k *kit) set(key, signing string, overlap time.Duration) payment.Stored {
	k.Helper()
	v := payment.Values{APIKey: secret.FromString(key), Signing: secret.FromString(signing)}
	if overlap >= 0 {
		v.Overlap = &overlap
	}
	s, err := k.keeper.Set(k.Context(), v, k.op(), k.clock.Now())
	if err != nil {
		k.Fatal(err)
	}
	return s
}

// accepts is the list of secrets that verify now.
func (k *kit) accepts() string {
	k.Helper()
	values, complete, err := k.opener.Accepting(k.Context(), k.clock.Now())
	if err != nil || !complete {
		k.Fatal(complete, err)
	}
	var out []string
	for _, v := range values {
		_ = v.Use(func(b []byte) error { out = append(out, string(b)); return nil })
	}
	return strings.Join(out, " ")
}

func (k *kit) notSetUp(err error) {
	k.Helper()
	if f := fault.As(err); err == nil || f.Code != fault.Unavailable || !strings.Contains(f.Message, "not set up") {
		k.Errorf("%v", err)
	}
}

const (
	one   = "whsec_one_0123456789abcdef"
	two   = "whsec_two_0123456789abcdef"
	three = "whsec_three_0123456789abc"
	key   = "sk_live_0123456789abcdefWXYZ"
)

func TestNothingStored(t *testing.T) {
	k := newKit(t)
	_, err := k.opener.Key(t.Context())
	k.notSetUp(err)
	_, _, err = k.opener.Accepting(t.Context(), k.clock.Now())
	k.notSetUp(err)
	_, err = k.keeper.Finish(t.Context(), k.op(), k.clock.Now())
	k.notSetUp(err)
	if s, err := k.keeper.Stored(t.Context(), k.clock.Now()); err != nil || s.APIKey || s.Signing {
		t.Errorf("%+v %v", s, err)
	}
	// One of the two does not stand for the other.
	k.set("", one, -1)
	_, err = k.opener.Key(t.Context())
	k.notSetUp(err)
	other := newKit(t)
	other.set(key, "", -1)
	_, _, err = other.opener.Accepting(t.Context(), other.clock.Now())
	other.notSetUp(err)
	other.opener.Ref = vault.Ref{}
	_, err = other.opener.Key(t.Context())
	other.notSetUp(err)
}

func TestRotation(t *testing.T) {
	k := newKit(t)
	if s := k.set(key, one, -1); !s.APIKey || !s.Signing || s.Hint != "WXYZ" || len(s.Retiring) != 0 || s.UpdatedBy != "operator:k" {
		t.Fatalf("%+v", s)
	}
	text, err := k.opener.Key(t.Context())
	if err != nil || !text.Equal(secret.FromString(key)) || k.accepts() != one {
		t.Fatal(err, k.accepts())
	}
	// The same again changes nothing, also beside something new.
	if s := k.set(key, two, -1); len(s.Retiring) != 1 || !s.Retiring[0].Equal(k.clock.Now().Add(24*time.Hour)) {
		t.Fatalf("%+v", s)
	}
	if s := k.set("", two, -1); len(s.Retiring) != 1 {
		t.Fatalf("%+v", s)
	}
	if got := k.accepts(); got != two+" "+one {
		t.Fatal(got)
	}
	k.set("", three, time.Hour)
	if got := k.accepts(); got != three+" "+two+" "+one {
		t.Fatal(got)
	}
	k.clock.Advance(time.Hour)
	if got := k.accepts(); got != three+" "+one {
		t.Fatal(got)
	}
	// The message's clock may be ahead of ours.
	values, _, err := k.opener.Accepting(t.Context(), k.clock.Now().Add(24*time.Hour))
	if err != nil || len(values) != 1 {
		t.Errorf("%d %v", len(values), err)
	}
	if s, err := k.keeper.Finish(t.Context(), k.op(), k.clock.Now()); err != nil || len(s.Retiring) != 0 || k.accepts() != three {
		t.Errorf("%+v %v %s", s, err, k.accepts())
	}
	k.set("", one, -1)
	if s := k.set("", two, 0); len(s.Retiring) != 0 || k.accepts() != two {
		t.Errorf("overlap 0: %+v %s", s, k.accepts())
	}
	k.set("sk_live_next_0123456789abcd", "", -1)
	if text, err := k.opener.Key(t.Context()); err != nil || !text.Equal(secret.FromString("sk_live_next_0123456789abcd")) {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	k := newKit(t)
	hour, less, more := time.Hour, -time.Second, payment.MaxOverlap+1
	for name, v := range map[string]payment.Values{
		"nothing":           {},
		"overlap of a key":  {APIKey: secret.FromString(key), Overlap: &hour},
		"negative overlap":  {Signing: secret.FromString(one), Overlap: &less},
		"too long":          {Signing: secret.FromString(one), Overlap: &more},
		"a mask":            {Signing: secret.FromString("whsec_****")},
		"a broken value":    {APIKey: secret.FromString("sk live")},
		"a picture of ours": {APIKey: secret.FromString(secret.Mask)},
	} {
		if _, err := k.keeper.Set(t.Context(), v, k.op(), k.clock.Now()); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if heads, err := k.store.Heads(t.Context(), "operator"); err != nil || len(heads) != 0 {
		t.Errorf("%v %v", heads, err)
	}
}

// TestNotOpened: what does not open is an outage, not a bad signature and not
// "not set up".
func TestNotOpened(t *testing.T) {
	k := newKit(t)
	k.set(key, one, -1)
	k.kek.Refuse(vault.KeyAccessDenied)
	if _, err := k.opener.Key(t.Context()); fault.CodeOf(err) != fault.VaultUnavailable {
		t.Error(err)
	}
	if _, complete, err := k.opener.Accepting(t.Context(), k.clock.Now()); fault.CodeOf(err) != fault.VaultUnavailable || complete {
		t.Error(complete, err)
	}
}
