// Package sessiontest holds the contract of the session stores as a suite and an
// in-memory implementation of it, so that tests of what is built on the stores
// run against the same rules as DynamoDB.
package sessiontest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/shared/agent/handoff"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	events "github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/session"
)

// Memory implements every interface of the session package.
type Memory struct {
	mu         sync.Mutex
	receipts   map[string]*receipt
	deliveries map[string]session.Delivery
	sessions   map[string]session.Session
	messages   map[string][]session.Message
	turns      map[string]*turn
	aliases    map[string]session.Alias
	rooms      map[string]string
	said       map[string]handoff.Said
	shown      map[string]session.ShownPage
	// Rows takes the audit rows of changes of who answers, nil for nobody; Events are
	// what they told.
	Rows   audit.Store
	Events []events.Event
	// Fail, if set, is asked before every call with the method's name.
	Fail func(method string) error
}

type receipt struct {
	session.Receipt
	expires time.Time
}

type turn struct {
	session.Turn
	parts    []session.Part
	delivery string
	owner    string
	receive  int64
	lease    time.Time
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{receipts: map[string]*receipt{}, deliveries: map[string]session.Delivery{}, sessions: map[string]session.Session{},
		messages: map[string][]session.Message{}, turns: map[string]*turn{}, aliases: map[string]session.Alias{}, rooms: map[string]string{}}
}

func (m *Memory) lock(ctx context.Context, method string) (func(), error) {
	// Outside the lock, so that Fail may panic to end the caller there.
	if m.Fail != nil {
		if err := m.Fail(method); err != nil {
			return nil, err
		}
	}
	// As a store far away does.
	if ctx.Err() != nil {
		return nil, fault.New(fault.Unavailable, "sessiontest", "the time is up")
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

// Receive implements [session.Dedupe].
func (m *Memory) Receive(ctx context.Context, install, key, event string, now time.Time, ttl time.Duration) (session.Receipt, bool, error) {
	unlock, err := m.lock(ctx, "Receive")
	if err != nil {
		return session.Receipt{}, false, err
	}
	defer unlock()
	k := install + "#" + key
	if r := m.receipts[k]; r != nil && r.expires.After(now) {
		return r.Receipt, false, nil
	}
	r := &receipt{session.Receipt{EventID: event, At: now.UTC(), Until: now.Add(ttl).UTC()}, now.Add(ttl)}
	m.receipts[k] = r
	return r.Receipt, true, nil
}

// Queued implements [session.Dedupe].
func (m *Memory) Queued(ctx context.Context, key string, r session.Receipt, d session.Delivery) error {
	unlock, err := m.lock(ctx, "Queued")
	if err != nil {
		return err
	}
	defer unlock()
	if old := m.receipts[d.Install+"#"+key]; old != nil && old.At.Equal(r.At) {
		old.Enqueued = true
	}
	d.At, d.Count = d.At.UTC(), 1
	m.deliveries[fmt.Sprintf("%s#%013d#%s#queued", d.Install, r.At.UnixMilli(), key)] = d
	return nil
}

// Log implements [session.Dedupe].
func (m *Memory) Log(ctx context.Context, d session.Delivery) error {
	unlock, err := m.lock(ctx, "Log")
	if err != nil {
		return err
	}
	defer unlock()
	m.count(fmt.Sprintf("%s#%013d#%s#%s#%s", d.Install, d.At.UTC().Truncate(time.Minute).UnixMilli(), d.EventID, d.Code, d.URLHint), d)
	return nil
}

func (m *Memory) count(k string, d session.Delivery) {
	old, ok := m.deliveries[k]
	if !ok {
		old = d
		old.At = d.At.UTC()
	}
	old.Count++
	m.deliveries[k] = old
}

// Deliveries implements [session.Reader].
func (m *Memory) Deliveries(ctx context.Context, install, after string, limit int) ([]session.Delivery, string, error) {
	unlock, err := m.lock(ctx, "Deliveries")
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	var keys []string
	for k := range m.deliveries {
		if strings.HasPrefix(k, install+"#") && (after == "" || k < after) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	slices.Reverse(keys)
	next := ""
	if len(keys) > limit {
		next, keys = keys[limit-1], keys[:limit]
	}
	var out []session.Delivery
	for _, k := range keys {
		out = append(out, m.deliveries[k])
	}
	return out, next, nil
}

// Open implements [session.Transcript].
func (m *Memory) Open(ctx context.Context, s session.Session, now time.Time) (session.Session, error) {
	unlock, err := m.lock(ctx, "Open")
	if err != nil {
		return session.Session{}, err
	}
	defer unlock()
	k := s.Org + "#" + s.ID
	if old, ok := m.sessions[k]; ok {
		return old, nil
	}
	s.CreatedAt, s.UpdatedAt = now, now
	m.sessions[k] = s
	return s, nil
}

func (m *Memory) add(t session.Turn, msg session.Message) {
	k := t.Org + "#" + t.Session
	s := m.sessions[k]
	msg.Seq = s.Next
	s.Next, s.UpdatedAt = s.Next+1, msg.At
	if msg.Loop != "" {
		s.Loop, msg.Loop = msg.Loop, ""
	}
	if msg.Pin != (session.Pin{}) {
		s.Pin, msg.Pin = msg.Pin, session.Pin{}
	}
	if len(msg.Way) > 0 {
		s.Way, msg.Way = msg.Way, nil
	}
	if msg.Role == session.Human && s.Handoff != nil {
		h := *s.Handoff
		h.LastAt = msg.At
		s.Handoff = &h
	}
	m.sessions[k] = s
	m.show(t, msg.Shown)
	msg.Shown = nil
	m.messages[k] = append(m.messages[k], msg)
}

// Append implements [session.Transcript].
func (m *Memory) Append(ctx context.Context, t session.Turn, msg session.Message) error {
	unlock, err := m.lock(ctx, "Append")
	if err != nil {
		return err
	}
	defer unlock()
	stored := m.turns[t.Org+"#"+t.ID]
	if stored == nil || stored.Fence != t.Fence {
		return session.ErrFenced
	}
	if !stored.Appended {
		stored.Appended, stored.Heard, stored.HeardReceipt = true, t.Heard, slices.Clone(t.HeardReceipt)
		if t.Heard != "" {
			stored.RequestIDs = slices.Clone(t.RequestIDs)
		}
		m.add(t, msg)
	}
	return nil
}

// Quiet implements [session.Transcript].
func (m *Memory) Quiet(ctx context.Context, org, id, loop string) error {
	unlock, err := m.lock(ctx, "Quiet")
	if err != nil {
		return err
	}
	defer unlock()
	x, ok := m.sessions[org+"#"+id]
	if !ok {
		return fault.New(fault.Unavailable, "sessiontest.Quiet", "there is no such session")
	}
	x.Loop = loop
	m.sessions[org+"#"+id] = x
	return nil
}

// Room implements [session.Rooms].
func (m *Memory) Room(ctx context.Context, org, id string) (string, error) {
	unlock, err := m.lock(ctx, "Room")
	if err != nil {
		return "", err
	}
	defer unlock()
	return m.rooms[org+"#"+id], nil
}

// KeepRoom implements [session.Rooms].
func (m *Memory) KeepRoom(ctx context.Context, org, id, was, next string, _ time.Time) error {
	unlock, err := m.lock(ctx, "KeepRoom")
	if err != nil {
		return err
	}
	defer unlock()
	if m.rooms[org+"#"+id] != was {
		return session.ErrChanged
	}
	m.rooms[org+"#"+id] = next
	return nil
}

// Recent implements [session.Transcript].
func (m *Memory) Recent(ctx context.Context, org, id string, from int64, limit int) ([]session.Message, error) {
	unlock, err := m.lock(ctx, "Recent")
	if err != nil {
		return nil, err
	}
	defer unlock()
	all := m.messages[org+"#"+id]
	return slices.Clone(all[max(0, len(all)-limit, min(int(from), len(all))):]), nil
}

// Fold implements [session.Transcript].
func (m *Memory) Fold(ctx context.Context, t session.Turn, s session.Step, old, next session.Summary) error {
	unlock, err := m.lock(ctx, "Fold")
	if err != nil {
		return err
	}
	defer unlock()
	stored, k := m.turns[t.Org+"#"+t.ID], t.Org+"#"+t.Session
	x := m.sessions[k]
	if !stored.takes(t, s) || x.Summary.Before != old.Before {
		return session.ErrFenced
	}
	x.Summary = next
	m.sessions[k] = x
	stored.Steps = append(slices.Clone(stored.Steps), s)
	return nil
}

// Step implements [session.Turns].
func (m *Memory) Step(ctx context.Context, t session.Turn, s session.Step) error {
	unlock, err := m.lock(ctx, "Step")
	if err != nil {
		return err
	}
	defer unlock()
	stored := m.turns[t.Org+"#"+t.ID]
	if !stored.takes(t, s) {
		return session.ErrFenced
	}
	stored.Steps = append(slices.Clone(stored.Steps), s)
	return nil
}

// takes reports whether a step may be stored under a claim.
func (t *turn) takes(claim session.Turn, s session.Step) bool {
	return t != nil && t.Fence == claim.Fence && !slices.ContainsFunc(t.Steps, func(have session.Step) bool { return have.N == s.N })
}

// Claim implements [session.Turns].
func (m *Memory) Claim(ctx context.Context, c session.Claim) (session.Turn, []session.Part, time.Duration, error) {
	unlock, err := m.lock(ctx, "Claim")
	if err != nil {
		return session.Turn{}, nil, 0, err
	}
	defer unlock()
	k := c.Turn.Org + "#" + c.Turn.ID
	t := m.turns[k]
	if t == nil {
		t = &turn{Turn: c.Turn}
		t.CreatedAt = c.Now
		m.turns[k] = t
	} else if t.State.Final() {
		return t.Turn, slices.Clone(t.parts), 0, nil
	} else if lost := t.delivery == c.Delivery && t.receive < c.Receive; !lost && t.State != session.TurnWaiting && t.lease.After(c.Now) && t.owner != c.Owner {
		return t.Turn, nil, t.lease.Sub(c.Now), nil
	}
	t.delivery, t.receive, t.owner, t.lease = c.Delivery, c.Receive, c.Owner, c.Now.Add(c.Lease)
	t.Attempts++
	t.Fence++
	t.UpdatedAt = c.Now
	if t.State = session.TurnRunning; t.Planned {
		t.State = session.TurnAnswered
	}
	return t.Turn, slices.Clone(t.parts), 0, nil
}

// Note implements [session.Turns].
func (m *Memory) Note(ctx context.Context, t session.Turn, now time.Time) error {
	unlock, err := m.lock(ctx, "Note")
	if err != nil {
		return err
	}
	defer unlock()
	stored := m.turns[t.Org+"#"+t.ID]
	if stored == nil || stored.Fence != t.Fence {
		return session.ErrFenced
	}
	stored.State, stored.Code, stored.RequestIDs, stored.Committed, stored.UpdatedAt = t.State, t.Code, t.RequestIDs, t.Committed, now
	return nil
}

// Plan implements [session.Turns].
func (m *Memory) Plan(ctx context.Context, t session.Turn, parts []session.Part, msg session.Message, now time.Time) error {
	unlock, err := m.lock(ctx, "Plan")
	if err != nil {
		return err
	}
	defer unlock()
	stored := m.turns[t.Org+"#"+t.ID]
	if stored == nil || stored.Fence != t.Fence || stored.Planned {
		return session.ErrFenced
	}
	if msg.Role == session.Assistant && msg.Text != "" && m.sessions[t.Org+"#"+t.Session].Handoff != nil {
		return session.ErrTakenOver
	}
	stored.plan(t, parts, now)
	if msg.Text != "" {
		m.add(t, msg)
	}
	return nil
}

func (t *turn) plan(by session.Turn, parts []session.Part, now time.Time) {
	t.Planned, t.State, t.Code, t.Receipt, t.RequestIDs, t.Committed, t.UpdatedAt, t.Notice = true, session.TurnAnswered, by.Code, by.Receipt, by.RequestIDs, by.Committed, now, by.Notice
	t.parts = slices.Clone(parts)
}

// Move implements [session.Turns].
func (m *Memory) Move(ctx context.Context, t session.Turn, from, to session.Part) error {
	unlock, err := m.lock(ctx, "Move")
	if err != nil {
		return err
	}
	defer unlock()
	stored := m.turns[t.Org+"#"+t.ID]
	i := slices.IndexFunc(stored.parts, func(p session.Part) bool { return p.Part == from.Part })
	if i < 0 || stored.parts[i].State != from.State || stored.parts[i].Fence != from.Fence || (from.State == session.Planned || from.Fence != t.Fence) && stored.Fence != t.Fence {
		return session.ErrFenced
	}
	to.Text, to.Voice = stored.parts[i].Text, stored.parts[i].Voice
	if len(to.Receipt) == 0 {
		to.Receipt = stored.parts[i].Receipt
	}
	m.show(stored.Turn, to.Shown)
	to.Shown = nil
	stored.parts[i] = to
	return nil
}

// Session implements [session.Reader].
func (m *Memory) Session(_ context.Context, org, id string) (session.Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[org+"#"+id]
	if !ok {
		return s, fault.New(fault.NotFound, "sessiontest.Session", "there is no such session")
	}
	return s, nil
}

// Sessions implements [session.Reader].
func (m *Memory) Sessions(_ context.Context, org, after string, limit int) ([]session.Session, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []session.Session
	for _, s := range m.sessions {
		if s.Org == org && s.ID > after {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b session.Session) int { return strings.Compare(a.ID, b.ID) })
	if len(out) > limit {
		return out[:limit], out[limit-1].ID, nil
	}
	return out, "", nil
}

// Messages implements [session.Reader].
func (m *Memory) Messages(_ context.Context, org, id, after string, limit int) ([]session.Message, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []session.Message
	for _, x := range m.messages[org+"#"+id] {
		if after == "" || fmt.Sprintf("%012d", x.Seq) > after {
			out = append(out, x)
		}
	}
	if len(out) > limit {
		return out[:limit], fmt.Sprintf("%012d", out[limit-1].Seq), nil
	}
	return out, "", nil
}

// Turn implements [session.Reader].
func (m *Memory) Turn(_ context.Context, org, id string) (session.Turn, []session.Part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.turns[org+"#"+id]
	if t == nil {
		return session.Turn{}, nil, fault.New(fault.NotFound, "sessiontest.Turn", "there is no such turn")
	}
	return t.Turn, slices.Clone(t.parts), nil
}
