package ingest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/vault"
)

// Limits of what a process remembers of installs.
const (
	// memoryTTL is by the requests' clock, from when the credential was read.
	memoryTTL      = 60 * time.Second
	memoryInstalls = 256
	memoryBytes    = 8 << 20
	// What one counts for beside its secrets.
	installBytes, bindingBytes = 16 << 10, 2 << 10
)

// remembered is an install as a verified request met it, with what verified it,
// sealed. It is what is stored as long as that has the same version.
type remembered struct {
	inst   install.Install
	binds  []install.Binding
	cred   vault.Credential
	readAt time.Time
}

func (r remembered) bytes() int {
	n := installBytes + bindingBytes*len(r.binds)
	for _, v := range r.cred.Versions {
		n += len(v.Key.Blob)
		for _, f := range v.Fields {
			n += len(f.Ciphertext)
		}
	}
	return n
}

// memory holds a bounded number of installs. The zero value is ready; safe for
// concurrent use. Lambda runs one request at a time in a process, so that
// requests do not wait for each other's reads.
type memory struct {
	mu    sync.Mutex
	all   map[string]remembered
	bytes int
}

// get returns what is fresh at now. A clock that went back leaves an age unknown.
func (m *memory) get(id string, now time.Time) (remembered, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.all[id]
	if age := now.Sub(r.readAt); ok && (age < 0 || age >= memoryTTL) {
		m.drop(id)
		return remembered{}, false
	}
	return r, ok
}

// put remembers an install in the place of any other ones.
func (m *memory) put(r remembered) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(r.inst.ID)
	size := r.bytes()
	if size > memoryBytes {
		return
	}
	for id := range m.all {
		if len(m.all) < memoryInstalls && m.bytes+size <= memoryBytes {
			break
		}
		m.drop(id)
	}
	if m.all == nil {
		m.all = map[string]remembered{}
	}
	m.all[r.inst.ID] = r
	m.bytes += size
}

func (m *memory) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(id)
}

func (m *memory) drop(id string) {
	if r, ok := m.all[id]; ok {
		m.bytes -= r.bytes()
		delete(m.all, id)
	}
}

// remember keeps what verified the request.
func (c *call) remember() {
	if !c.readAt.IsZero() { // else nothing secret verifies
		c.memory.put(remembered{c.inst, c.binds, c.cred, c.readAt})
	}
}

// accepted opens the values of a secret: of the credential that is remembered
// for this version of the install if that is enough, else of the one that is
// stored.
func (c *call) accepted(ctx context.Context, name string, remembered bool) (vault.Accepted, error) {
	if kept, ok := c.memory.get(c.inst.ID, c.r.Now); ok && remembered && kept.inst.Version == c.inst.Version {
		got, err := c.d.Secrets.Verifying(ctx, kept.cred, name, c.r.Now)
		if err == nil && got.Complete {
			c.cred, c.readAt, c.kept = kept.cred, kept.readAt, true
			return got, nil
		}
	}
	if c.trial {
		return vault.Accepted{}, errTrial
	}
	cred, err := c.d.Secrets.Verifier(ctx, c.inst)
	if err != nil {
		return vault.Accepted{}, err
	}
	c.cred, c.readAt = cred, c.r.Now
	return c.d.Secrets.Verifying(ctx, cred, name, c.r.Now)
}

var errTrial = fault.New(fault.VaultUnavailable, "ingest", "what is remembered does not suffice")

// ahead is what was done for a request while its install was read.
type ahead struct {
	call     *call             // as of the install that is remembered
	all      []channel.Inbound // nil: not parsed
	dedupe   string            // its key, until it is taken
	same     bool              // what is stored has the version that is remembered
	receipt  session.Receipt
	received error
}

// foresee reads the version of a message's install and, at the same time, asks for
// the receipt of its event, if what is remembered verifies the request and would
// queue it. Another version, or none, and the install is read as for any other
// request, and decides; a receipt alone swallows nothing then. Of a browser's request
// the version alone is read: nothing is written before limit and origin are looked at.
func (c *call) foresee(ctx context.Context) {
	kept, ok := c.memory.get(c.r.Install, c.r.Now)
	if !ok || kept.inst.Provider != c.entry.ID || kept.inst.Mode == install.App || kept.inst.State != install.Active {
		return
	}
	t := &call{Ingest: c.Ingest, r: c.r, entry: c.entry.For(kept.inst.Config), inst: kept.inst, binds: kept.binds, trial: true}
	if t.check(ctx, true) != "" {
		return
	}
	if t.entry.Browsers != nil {
		c.foreseen(ctx, &ahead{call: t}, func() {})
		return
	}
	all, err := t.parse()
	if err != nil || len(all) == 0 {
		return
	}
	t.in = all[0]
	bound := t.in.Kind == channel.Revoked
	if t.in.Kind == channel.Message {
		_, bound = install.Match(t.binds, t.in.Envelope)
	}
	other := func(in channel.Inbound) bool { return !t.entry.SameTenant(t.inst.Config, in.Identity) }
	// Who a person is is not asked ahead: that may write what outlives the request.
	if !bound || slices.ContainsFunc(all, other) || t.entry.ManyIDs && t.in.Envelope.Direct {
		return
	}
	a := &ahead{call: t, all: all, dedupe: t.key()}
	c.foreseen(ctx, a, func() { a.receipt, a.received = t.take(ctx, a.dedupe) })
}

// foreseen reads the version while beside does something else.
func (c *call) foreseen(ctx context.Context, a *ahead, beside func()) {
	var group sync.WaitGroup
	group.Go(func() {
		v, err := c.d.Installs.Version(ctx, c.r.Install)
		a.same = err == nil && v == a.call.inst.Version
	})
	beside()
	group.Wait()
	c.ahead = a
	if !a.same {
		c.memory.forget(c.r.Install)
	}
}

// read reads the install that the path names, once.
func (c *call) read(ctx context.Context) (install.Install, []install.Binding, error) {
	if a := c.ahead; a != nil && a.same {
		return a.call.inst, a.call.binds, nil
	}
	return c.d.Installs.Install(ctx, c.r.Install)
}

// of returns what was verified and read ahead, nil if the install is another one
// than it was done with.
func (a *ahead) of(i install.Install) *ahead {
	if a == nil || a.call.inst.ID != i.ID || a.call.inst.Version != i.Version {
		return nil
	}
	return a
}

// parse reads the events of a verified request.
func (c *call) parse() ([]channel.Inbound, error) {
	if a := c.ahead.of(c.inst); a != nil && a.all != nil {
		return a.all, nil
	}
	in := c.r.Input
	in.Config = c.inst.Config
	return c.entry.Adapter.Parse(in)
}

// take returns the receipt that was asked for, once.
func (a *ahead) take(key, event string) (session.Receipt, error, bool) {
	if a == nil || a.dedupe != key || a.call.in.Envelope.EventID != event {
		return session.Receipt{}, nil, false
	}
	a.dedupe = ""
	return a.receipt, a.received, true
}
