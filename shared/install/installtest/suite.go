package installtest

import (
	"context"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Store is everything an install store offers.
type Store interface {
	install.Store
	install.BindingStore
	// Version gives the number of [install.Install]; not_found if absent.
	Version(ctx context.Context, id string) (int64, error)
}

type suite struct {
	*testing.T
	s    Store
	rows int
}

// row makes an audit row of its own for each write, as operations do.
func (s *suite) row() audit.Row {
	s.rows++
	op := audit.Op{Actor: "key:k", ID: s.Name()[len(s.Name())-4:] + strconv.Itoa(s.rows), At: time.Date(2026, 3, 4, 5, 6, 7, s.rows*1e6, time.UTC)}
	return op.Row("o1", "install.test", "x")
}

func (s *suite) want(err error, code fault.Code, param string) {
	s.Helper()
	if fault.CodeOf(err) != code || code != "" && fault.As(err).Param != param {
		s.Fatalf("%v, want %q %q", err, code, param)
	}
}

func sample(id, org string) install.Install {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8e6, time.UTC)
	return install.Install{ID: id, Org: org, Provider: "chat", Mode: install.Platform, App: "app_1", Label: "L", State: install.Verifying, Before: install.Draft,
		Config: webhook.Config{"app": {"A"}, "keys": {"k1", "k2"}}, PublicURL: "https://x.example/h", Policy: install.Policy{BotMessages: install.BotsAll, Streaming: install.StreamEdits, Approvers: []string{"U1", "U2"}}, CreatedAt: at, UpdatedAt: at, Version: 1,
		Secrets: []install.Secret{{Name: "sign", Fingerprint: "f", Hint: "h"}, {Name: "sign", RetireAt: at}},
		Claims:  []install.Claim{{Field: "config.team", App: "A" + id, Tenant: "T"}, {Field: "secrets.token", Token: "h" + id}}}
}

// Run runs the suite.
func Run(t *testing.T, store Store) {
	s := &suite{T: t, s: store}
	ctx := t.Context()
	a := sample("ia", "o1")
	s.want(store.CreateInstall(ctx, a, s.row()), "", "")
	got, bs, err := store.Install(ctx, "ia")
	if err != nil || len(bs) != 0 || !reflect.DeepEqual(got, a) {
		t.Fatalf("\n%+v\n%+v\n%v", got, a, err)
	}
	_, _, err = store.Install(ctx, "none")
	s.want(err, fault.NotFound, "")
	s.version("ia", a.Version)
	_, err = store.Version(ctx, "none")
	s.want(err, fault.NotFound, "")
	again := sample("ia", "o1")
	again.Claims = nil
	s.want(store.CreateInstall(ctx, again, s.row()), fault.Conflict, "")
	got, _, err = store.InstallOf(ctx, "chat", "Aia", "T")
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Fatalf("%+v %v", got, err)
	}
	for _, none := range [][3]string{{"other", "Aia", "T"}, {"chat", "A", "T"}, {"chat", "Aia", "U"}} {
		_, _, err = store.InstallOf(ctx, none[0], none[1], none[2])
		s.want(err, fault.NotFound, "")
	}
	s.claims(a)
	s.bindings()
	s.lists()
}

func (s *suite) claims(a install.Install) {
	ctx := s.Context()
	b := sample("ib", "o2")
	b.Claims[0] = a.Claims[0]
	s.want(s.s.CreateInstall(ctx, b, s.row()), fault.Conflict, "config.team")
	b = sample("ib", "o2")
	b.Claims[1] = a.Claims[1]
	s.want(s.s.CreateInstall(ctx, b, s.row()), fault.Conflict, "secrets.token")
	b = sample("ib", "o2")
	s.want(s.s.CreateInstall(ctx, b, s.row()), "", "")

	next := b
	next.Version, next.Claims = 2, []install.Claim{b.Claims[0], {Field: "secrets.token", Token: a.Claims[1].Token}}
	s.want(s.s.UpdateInstall(ctx, b, next, s.row()), fault.Conflict, "secrets.token")
	next.Claims = []install.Claim{b.Claims[0], {Field: "secrets.token", Token: "new"}}
	s.want(s.s.UpdateInstall(ctx, b, next, s.row()), "", "")
	kept := next
	kept.State = install.Suspended
	s.want(s.s.UpdateInstall(ctx, next, kept, s.row()), fault.Internal, "")
	stale := next
	stale.Version = 3
	s.want(s.s.UpdateInstall(ctx, b, stale, s.row()), fault.Conflict, "")
	// The old token of b is free again.
	c := sample("ic", "o1")
	c.Claims[1].Token = b.Claims[1].Token
	s.want(s.s.CreateInstall(ctx, c, s.row()), "", "")
	// Revoking a frees both of its claims.
	gone := a
	gone.State, gone.Claims, gone.Version = install.Revoked, nil, 2
	s.want(s.s.UpdateInstall(ctx, a, gone, s.row()), "", "")
	d := sample("id", "o3")
	d.Claims = a.Claims
	s.want(s.s.CreateInstall(ctx, d, s.row()), "", "")
	got, _, err := s.s.Install(ctx, "ib")
	if err != nil || !reflect.DeepEqual(got, next) {
		s.Fatalf("\n%+v\n%+v\n%v", got, next, err)
	}
}

// version wants the number of an install, read alone and with the install.
func (s *suite) version(id string, want int64) {
	s.Helper()
	got, err := s.s.Version(s.Context(), id)
	whole, _, failed := s.s.Install(s.Context(), id)
	if got != want || err != nil || whole.Version != want || failed != nil {
		s.Errorf("%s has version %d (%v), with the install %d (%v), want %d", id, got, err, whole.Version, failed, want)
	}
}

func (s *suite) bindings() {
	ctx := s.Context()
	b := install.Binding{Org: "o2", Install: "ib", AgentID: "ag", PersonaID: "pe", CreatedAt: time.Unix(1772600767, 0).UTC(),
		Selector: install.Selector{Account: "E", Team: "T", Channel: "C", Peer: "U", Thread: "1.2", Mention: "sales"}}
	b.ID = install.BindingID(b.Install, b.Selector)
	s.version("ib", 2)
	s.want(s.s.CreateBinding(ctx, b, s.row()), "", "")
	s.version("ib", 3)
	s.want(s.s.CreateBinding(ctx, b, s.row()), fault.Conflict, "selector")
	s.version("ib", 3)
	b.AgentID = "other"
	s.want(s.s.UpdateBinding(ctx, b, s.row()), "", "")
	s.version("ib", 4)
	// Who read the install before that may not write it.
	was, _, err := s.s.Install(ctx, "ib")
	stale := was
	stale.Version--
	next := stale
	next.Version++
	s.want(err, "", "")
	s.want(s.s.UpdateInstall(ctx, stale, next, s.row()), fault.Conflict, "")
	_, bs, err := s.s.Install(ctx, "ib")
	if err != nil || len(bs) != 1 || bs[0] != b {
		s.Fatalf("%+v %v", bs, err)
	}
	s.want(s.s.DeleteBinding(ctx, b, s.row()), "", "")
	s.version("ib", 5)
	none := b
	none.Install, none.ID = "none", install.BindingID("none", b.Selector)
	s.want(s.s.CreateBinding(ctx, none, s.row()), fault.NotFound, "")
	s.want(s.s.DeleteBinding(ctx, b, s.row()), fault.NotFound, "")
	s.want(s.s.UpdateBinding(ctx, b, s.row()), fault.NotFound, "")
}

func (s *suite) lists() {
	page, next, err := s.s.Installs(s.Context(), "o1", "", 1)
	if err != nil || len(page) != 1 || page[0].ID != "ia" || next == "" {
		s.Fatalf("%+v %q %v", page, next, err)
	}
	page, next, err = s.s.Installs(s.Context(), "o1", next, 1)
	if err != nil || len(page) != 1 || page[0].ID != "ic" || next != "" {
		s.Fatalf("%+v %q %v", page, next, err)
	}
	if page, _, err = s.s.Installs(s.Context(), "none", "", 5); err != nil || len(page) != 0 {
		s.Fatalf("%+v %v", page, err)
	}
}
