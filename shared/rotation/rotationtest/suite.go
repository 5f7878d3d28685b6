package rotationtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// Records are what a vault store offers to jobs.
type Records interface {
	vault.Store
	rotation.Pages
}

// Harness is one fresh, empty set of stores.
type Harness struct {
	Records Records
	Jobs    rotation.Store
	// Lose removes the record of a job, and only that.
	Lose func(id string)
	// Rows lists the audit rows of an organisation, in any order.
	Rows func(org string) []audit.Row
}

// Run holds stores to the guarantees of package rotation.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		run  func(*env)
	}{
		{"jobs are kept", (*env).keepsJobs},
		{"one open job", (*env).oneOpenJob},
		{"key", (*env).key},
		{"key of one organisation", (*env).keyOfOneOrg},
		{"material", (*env).material},
		{"data keys", (*env).dataKeys},
		{"verify", (*env).verify},
		{"prune", (*env).prune},
		{"a new key that does not work", (*env).badKey},
		{"crashes", (*env).crashes},
		{"the cursor follows the work", (*env).cursorBehindTheWork},
		{"lost answers", (*env).lostAnswers},
		{"lost writes", (*env).lostWrites},
		{"lost job", (*env).lostJob},
		{"opens under no key", (*env).opensNowhere},
		{"head without its version", (*env).missingVersion},
		{"throttled", (*env).throttled},
		{"a rotation at the same time", (*env).besideAWriter},
		{"second worker", (*env).secondWorker},
		{"rollback", (*env).rollback},
		{"rollback under a worker", (*env).rollbackUnderAWorker},
		{"end of time", (*env).endOfTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t)
			e := &env{T: t, Harness: h, kek: vaulttest.NewKEK(), clock: vaulttest.NewClock()}
			e.v = e.vault(h.Records)
			e.old, e.new = e.kek.Keys()[0], e.kek.Add()
			c.run(e)
		})
	}
}

type env struct {
	*testing.T
	Harness
	kek      *vaulttest.KEK
	clock    *vaulttest.Clock
	v        *vault.Vault
	old, new string

	mu     sync.Mutex
	n      int
	slept  time.Duration
	events []string
}

func (e *env) vault(store vault.Store) *vault.Vault {
	e.Helper()
	v, err := vault.New(vault.Options{Store: store, KEK: e.kek, Fields: vaulttest.Fields(), Now: e.clock.Now, App: "latchkey", Stage: "test"})
	if err != nil {
		e.Fatal(err)
	}
	return v
}

// id makes ids that sort in their order.
func (e *env) id(time.Time) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	return fmt.Sprintf("id%06d", e.n)
}

func (e *env) sleep(_ context.Context, d time.Duration) {
	e.mu.Lock()
	e.slept += d
	e.mu.Unlock()
	e.clock.Advance(d)
}

// runner is a worker over stores that a test may have changed.
func (e *env) runner(jobs rotation.Store, records Records) *rotation.Runner {
	e.Helper()
	r, err := rotation.NewRunner(rotation.Options{Store: jobs, Vault: e.vault(records), Pages: records, Now: e.clock.Now, Sleep: e.sleep, NewID: e.id,
		OnEvent: func(_ context.Context, ev rotation.Event) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.events = append(e.events, ev.What)
		}})
	if err != nil {
		e.Fatal(err)
	}
	return r
}

func (e *env) service() *rotation.Service {
	return &rotation.Service{Store: e.Jobs, Keys: e.v, Wake: func(context.Context) error { return nil }}
}

func (e *env) op() audit.Op {
	return audit.Op{Actor: "operator:k1", ID: e.id(time.Time{}), At: e.clock.Now()}
}

func (e *env) start(d rotation.Draft) rotation.Job {
	e.Helper()
	if d.Rate == 0 {
		d.Rate = 1000
	}
	j, err := e.service().Start(context.Background(), e.op(), e.id(time.Time{}), d)
	if err != nil {
		e.Fatalf("start: %v (%s)", err, vault.ReasonOf(err))
	}
	return j
}

// run works once on every open job and returns the one that was asked for.
func (e *env) run(id string) rotation.Job {
	e.Helper()
	if _, err := e.runner(e.Jobs, e.Records).RunAll(context.Background()); err != nil {
		e.Fatal(err)
	}
	return e.job(id)
}

func (e *env) job(id string) rotation.Job {
	e.Helper()
	j, err := e.Jobs.Job(context.Background(), id)
	if err != nil {
		e.Fatal(err)
	}
	return j
}

func (e *env) wantState(j rotation.Job, s rotation.State, reason string) {
	e.Helper()
	if j.State != s || j.Reason != reason {
		e.Fatalf("job %s is %s (%q), want %s (%q): %+v", j.ID, j.State, j.Reason, s, reason, j)
	}
	open, err := e.Jobs.Open(context.Background())
	if err != nil || (open[j.Kind.Slot()] == j.ID) == s.Ended() {
		e.Fatalf("slots of a job that is %s: %v, %v", s, open, err)
	}
}

const field = "signing_secret"

func ref(org, id string) vault.Ref {
	return vault.Ref{Org: org, ID: id, Provider: "vendor", Class: taxonomy.ChannelVerify}
}

func text(s string) map[string]secret.Text {
	return map[string]secret.Text{field: secret.FromString(s)}
}

func (e *env) create(r vault.Ref) {
	e.Helper()
	if _, err := e.v.Create(context.Background(), vault.NewCredential{Op: e.op(), Ref: r, Fields: text("value of " + r.Org + " " + r.ID)}); err != nil {
		e.Fatalf("create: %v (%s)", err, vault.ReasonOf(err))
	}
}

// fill stores n credentials over several organisations and classes, one of them
// with a value that drains, one revoked.
func (e *env) fill(n int) []vault.Ref {
	e.Helper()
	var refs []vault.Ref
	for i := range n {
		r := ref(fmt.Sprint("org", i%3), fmt.Sprintf("c%03d", i))
		e.create(r)
		refs = append(refs, r)
	}
	e.rotate(refs[0], "a value in between", time.Hour)
	e.rotate(refs[0], "value of "+refs[0].Org+" "+refs[0].ID, time.Hour)
	gone := ref("org1", "gone")
	e.create(gone)
	if _, err := e.v.Revoke(context.Background(), gone, e.op()); err != nil {
		e.Fatal(err)
	}
	return refs
}

func (e *env) rotate(r vault.Ref, value string, overlap time.Duration) {
	e.Helper()
	if _, err := e.v.Rotate(context.Background(), vault.Rotation{Op: e.op(), Ref: r, Fields: text(value), Overlap: overlap}); err != nil {
		e.Fatalf("rotate: %v (%s)", err, vault.ReasonOf(err))
	}
}

func (e *env) load(r vault.Ref) vault.Credential {
	e.Helper()
	c, err := e.v.Load(context.Background(), r.Org, r.Class, r.ID)
	if err != nil {
		e.Fatal(err)
	}
	return c
}

// reveal opens the live value past every cache.
func (e *env) reveal(r vault.Ref) (string, error) {
	out := ""
	err := e.vault(e.Records).Reveal(context.Background(), e.load(r), vault.Use{Field: field, Purpose: "test"}, func(b []byte) error {
		out = string(b)
		return nil
	})
	return out, err
}

// wantReadable demands that every credential opens with its own value.
func (e *env) wantReadable(refs []vault.Ref) {
	e.Helper()
	for _, r := range refs {
		if got, err := e.reveal(r); err != nil || got != "value of "+r.Org+" "+r.ID {
			e.Fatalf("%s/%s opens as %q, %v (%s)", r.Org, r.ID, got, err, vault.ReasonOf(err))
		}
	}
}

// versions lists all stored versions.
func (e *env) versions() []vault.Version {
	e.Helper()
	var out []vault.Version
	for cursor, n := "", 0; n == 0 || cursor != ""; n++ {
		creds, next, err := e.Records.Page(context.Background(), "", cursor, 50)
		if err != nil {
			e.Fatal(err)
		}
		for _, c := range creds {
			out = append(out, c.Versions...)
		}
		cursor = next
	}
	return out
}

func (e *env) under(arn string) int {
	e.Helper()
	n := 0
	for _, v := range e.versions() {
		if v.Key.KEK == arn {
			n++
		}
	}
	return n
}

// damage changes a stored version past every rule.
func (e *env) damage(r vault.Ref, number int, f func(*vault.Version)) {
	e.Helper()
	c := e.load(r)
	i := slices.IndexFunc(c.Versions, func(v vault.Version) bool { return v.Number == number })
	was, now := c.Versions[i], c.Versions[i]
	now.Fields = map[string]vault.Sealed{}
	for name, s := range was.Fields {
		now.Fields[name] = vault.Sealed{Ciphertext: slices.Clone(s.Ciphertext), Binding: s.Binding}
	}
	now.Key.Blob = slices.Clone(was.Key.Blob)
	f(&now)
	err := e.Records.Write(context.Background(), vault.Change{Rewrap: &vault.Rewrap{Ref: r, Version: now, FromRevision: was.Revision, FromKey: was.Key.KEK}})
	if err != nil {
		e.Fatal(err)
	}
}

// remove deletes a version that the head goes on naming.
func (e *env) remove(r vault.Ref, number int) {
	e.Helper()
	h := e.load(r).Head
	h.Epoch++
	if err := e.Records.Write(context.Background(), vault.Change{Head: &h, Delete: []int{number}}); err != nil {
		e.Fatal(err)
	}
}

func (e *env) wantCode(what string, err error, code fault.Code) {
	e.Helper()
	if fault.CodeOf(err) != code {
		e.Errorf("%s: %v, want %s", what, err, code)
	}
}

// dying is a store whose process is killed at its n-th write, before or after
// it is made, and that answers nothing from then on.
type dying struct {
	at    int
	after bool

	mu   sync.Mutex
	n    int
	dead bool
}

var errKilled = errors.New("rotationtest: killed")

func (d *dying) strike(write func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errKilled
	}
	d.n++
	if d.n != d.at {
		return write()
	}
	d.dead = true
	if d.after {
		_ = write()
	}
	return errKilled
}

func (d *dying) alive() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errKilled
	}
	return nil
}

// dyingJobs and dyingRecords are the two faces of one process.
type dyingJobs struct {
	*dying
	rotation.Store
}

func (d dyingJobs) Write(ctx context.Context, w rotation.Write) error {
	return d.strike(func() error { return d.Store.Write(ctx, w) })
}

func (d dyingJobs) Job(ctx context.Context, id string) (rotation.Job, error) {
	if err := d.alive(); err != nil {
		return rotation.Job{}, err
	}
	return d.Store.Job(ctx, id)
}

type dyingRecords struct {
	*dying
	Records
}

func (d dyingRecords) Write(ctx context.Context, c vault.Change) error {
	return d.strike(func() error { return d.Records.Write(ctx, c) })
}

func (d dyingRecords) Head(ctx context.Context, org string, class taxonomy.CredentialClass, id string) (vault.Head, error) {
	if err := d.alive(); err != nil {
		return vault.Head{}, err
	}
	return d.Records.Head(ctx, org, class, id)
}
