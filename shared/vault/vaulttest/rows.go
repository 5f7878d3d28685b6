package vaulttest

import (
	"context"
	"reflect"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/vault"
)

// rowsOf is what a store must have beside [vault.Store] for the suite to see
// that audit rows were written, in the order of writing.
type rowsOf interface {
	AuditRows(ctx context.Context, org string) ([]audit.Row, error)
}

// auditRows: every write that somebody decided leaves exactly its row, with the
// write or not at all; machine work and refusals leave none.
func (e *env) auditRows() {
	const f = "signing_secret"
	ctx := context.Background()
	e.create(ref("c1"), f, "one-CNRY")
	e.rotate(ref("c1"), time.Minute, f, "two-CNRY")
	e.clock.Advance(2 * time.Minute)
	if h, err := e.v.Prune(ctx, ref("c1"), "function:sweep"); err != nil || len(h.Drains) != 0 {
		e.Fatalf("%+v, %v", h, err)
	}
	e.rotate(ref("c1"), time.Minute, f, "three-CNRY")
	finish := func() {
		if _, err := e.v.FinishRotation(ctx, ref("c1"), f, Op()); err != nil {
			e.Fatal(err)
		}
	}
	finish()
	finish() // changes nothing
	e.mustMove(e.load(ref("c1")), 3, e.second())
	for range 2 {
		if _, err := e.v.Quarantine(ctx, ref("c1"), 3, Op()); err != nil {
			e.Fatal(err)
		}
	}
	for range 2 {
		if _, err := e.v.Revoke(ctx, ref("c1"), Op()); err != nil {
			e.Fatal(err)
		}
	}
	want := []audit.Row{e.want("create", "1", f), e.want("rotate", "2", f), e.want("rotate", "3", f), e.want("finish", "3", ""), e.want("quarantine", "3", ""), e.want("revoke", "3", "")}
	e.wantRows(want)

	// A row that cannot be written takes the write with it.
	e.create(ref("c2"), f, "one")
	clash := e.vault(clashing{e.store}, "latchkey", "test")
	before := e.load(ref("c2"))
	_, err := clash.Rotate(ctx, vault.Rotation{Op: Op(), Ref: ref("c2"), Fields: texts(f, "two"), Overlap: time.Hour})
	if fault.CodeOf(err) != fault.VaultUnavailable {
		e.Errorf("a write whose row exists already: %v", err)
	}
	if after := e.load(ref("c2")); !reflect.DeepEqual(after, before) {
		e.Errorf("the credential was changed without its row: %+v", after.Head)
	}
	e.wantRows(append(want, e.want("create", "1", f)))

	// Nobody's operation is nobody's right to write.
	for name, op := range map[string]audit.Op{"nobody": {ID: "op1", At: e.clock.Now()}, "no id": {Actor: "a", At: e.clock.Now()}, "no time": {Actor: "a", ID: "op1"}} {
		_, err := e.v.Create(ctx, vault.NewCredential{Op: op, Ref: ref("c3"), Fields: texts(f, "one")})
		e.wantCode(name, err, fault.Internal, "")
		_, err = e.v.Rotate(ctx, vault.Rotation{Op: op, Ref: ref("c2"), Fields: texts(f, "three")})
		e.wantCode(name, err, fault.Internal, "")
		_, err = e.v.FinishRotation(ctx, ref("c2"), "", op)
		e.wantCode(name, err, fault.Internal, "")
		_, err = e.v.Revoke(ctx, ref("c2"), op)
		e.wantCode(name, err, fault.Internal, "")
	}
}

func (e *env) want(verb, version, fields string) audit.Row {
	r := Op().Row(testOrg, "credential."+verb, "c1", "class", string(ref("c1").Class), "provider", testProvider, "version", version, "fields", fields)
	return r
}

// wantRows compares the rows without what only the store and the vault know.
func (e *env) wantRows(want []audit.Row) {
	e.Helper()
	store, ok := e.store.(rowsOf)
	if !ok {
		e.Fatal("the store does not show its audit rows")
	}
	got, err := store.AuditRows(context.Background(), testOrg)
	if err != nil || len(got) != len(want) {
		e.Fatalf("%d audit rows, %v; want %d: %+v", len(got), err, len(want), got)
	}
	for i, r := range got {
		w := want[i]
		if r.ID == "" || r.ID == Op().ID {
			e.Errorf("row %d has no id of its own: %q", i, r.ID)
		}
		r.ID, r.Seq, r.Prev, r.Hash, r.Target = w.ID, 0, audit.Hash{}, audit.Hash{}, w.Target
		if !reflect.DeepEqual(r, w) {
			e.Errorf("row %d: %+v\nwant %+v", i, r, w)
		}
	}
}

// clashing gives every write the row of the create, which exists.
type clashing struct{ vault.Store }

func (c clashing) Write(ctx context.Context, change vault.Change) error {
	rows, err := c.Store.(rowsOf).AuditRows(ctx, testOrg)
	if err != nil {
		return err
	}
	change.Row = &rows[0]
	return c.Store.Write(ctx, change)
}
