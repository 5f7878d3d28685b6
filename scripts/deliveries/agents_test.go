package deliveries

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// seat is one conversation of an agent's persona with one person in one room, as
// one app tells of it.
type seat struct {
	n              int
	app            *app
	agent, persona string // marks
	agentID        string
	room, thread   string
	from           string
	lead           string // how a message addresses the agent
	command, named bool
}

// stage is the rooms of the run with everybody in them.
type stage struct {
	w     *world
	org   *org
	seats []*seat
	// inRoom are the apps of a Slack channel: each is told of every post in it.
	inRoom []*app
	groups []*app
}

const slackRoom = "C0ROOM"

// newStage makes three agents with two personas each in one Slack channel, by name
// behind one app and as apps of their own, and in one group of each vendor that has
// them.
func newStage(ctx context.Context, w *world) (*stage, error) {
	o, err := w.newOrg(ctx, "Rooms")
	if err != nil {
		return nil, err
	}
	s := &stage{w: w, org: o}
	shared, err := w.newApp(ctx, o, slackKind(), "TROOM")
	for _, k := range kinds() {
		if k.group == nil || err != nil {
			continue
		}
		var a *app
		a, err = w.newApp(ctx, o, k, "")
		s.groups = append(s.groups, a)
	}
	s.inRoom = []*app{shared}
	for n := 1; n <= 3 && err == nil; n++ {
		name := fmt.Sprintf("agent%d", n)
		own, err := w.newApp(ctx, o, slackKind(), "TROOM")
		if err != nil {
			return nil, err
		}
		s.inRoom = append(s.inRoom, own)
		personas := []string{fmt.Sprintf("persona%d1", n), fmt.Sprintf("persona%d2", n)}
		id, err := o.agent(ctx, name, personas...)
		if err != nil {
			return nil, err
		}
		for i, persona := range personas {
			// The person decides the persona, the name the agent.
			if err := s.seat(ctx, shared, own, name, id, persona, i); err != nil {
				return nil, err
			}
		}
	}
	return s, err
}

func (s *stage) seat(ctx context.Context, shared, own *app, name, id, persona string, i int) error {
	slackUser := []string{"U1", "U2"}[i]
	type bound struct {
		a        *app
		selector map[string]any
	}
	all := []bound{
		{shared, map[string]any{"mention": name, "peer": slackUser}},
		{own, map[string]any{"mention": true, "peer": slackUser}},
	}
	for _, a := range s.groups {
		all = append(all, bound{a, map[string]any{"mention": a.group.called(name), "peer": a.group.people[i]}})
	}
	for _, b := range all {
		if err := b.a.bind(ctx, b.selector, id, persona); err != nil {
			return err
		}
	}
	add := func(x seat) {
		x.n, x.agent, x.persona, x.agentID = len(s.seats)+1, name, persona, id
		s.seats = append(s.seats, &x)
	}
	for _, thread := range []string{"1772600000.000100", "1772600000.000200"} {
		add(seat{app: shared, room: slackRoom, thread: thread, from: slackUser, lead: "<@" + shared.bot + "> " + name + " "})
		add(seat{app: own, room: slackRoom, thread: thread, from: slackUser, lead: "<@" + own.bot + "> "})
	}
	for _, a := range s.groups {
		add(seat{app: a, room: a.group.room, from: a.group.people[i], lead: a.group.lead(name), command: a.group.command, named: a.group.named})
	}
	return nil
}

// say delivers a message to everybody whose vendor tells of it: in a Slack channel
// every app hears a message, and the one that is addressed hears of it twice.
func (s *stage) say(ctx context.Context, x *seat, n, k int) error {
	p := post{n: n, room: x.room, thread: x.thread, from: x.from, text: fmt.Sprintf("%sremember q%dx%d please", x.lead, x.n, k),
		sent: s.w.Clock.Now(), command: x.command, named: x.named}
	type request struct {
		a *app
		b []byte
	}
	requests := []request{{x.app, x.app.event(p)}}
	if slices.Contains(s.inRoom, x.app) {
		requests = nil
		for _, a := range s.inRoom {
			requests = append(requests, request{a, a.event(p)})
		}
		p.mention = true
		requests = append(requests, request{x.app, x.app.event(p)})
	}
	var group sync.WaitGroup
	errs := make([]error, len(requests))
	for i, r := range requests {
		group.Go(func() {
			if status := r.a.deliver(ctx, r.b); status != 200 {
				errs[i] = fmt.Errorf("%s of %s: status %d", r.a.provider, p.text, status)
			}
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestAgents: interleaved messages to three agents with two personas each; what
// is stored, what was posted and what the model was shown holds nothing of another
// conversation. LATCHKEY_SOAK=1 says 1,000 messages.
func TestAgents(t *testing.T) {
	ctx := t.Context()
	w, err := start(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	defer w.stop()
	total := 60
	if soak() {
		total = 1000
	}
	began := time.Now()
	found, err := rooms(ctx, w, 1, total)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found.violations {
		t.Error(f)
	}
	t.Logf("%d messages, %d requests, %d conversations, %d replies, %d stored messages, %d prompts in %.1f s",
		total, found.requests, found.conversations, found.replies, found.stored, found.prompts, time.Since(began).Seconds())
}

type roomsReport struct {
	requests, conversations, replies, stored, prompts int
	violations                                        []string
}

func (r *roomsReport) broken(format string, args ...any) {
	r.violations = append(r.violations, fmt.Sprintf(format, args...))
}

// rooms plays total messages, who says them by the seed, and looks at everything that came of them.
func rooms(ctx context.Context, w *world, seed uint64, total int) (*roomsReport, error) {
	s, err := newStage(ctx, w)
	if err != nil {
		return nil, err
	}
	r := new(roomsReport)
	dice := rand.New(rand.NewPCG(seed, 2))
	said := map[int]int{} // messages per seat
	group, slots := sync.WaitGroup{}, make(chan struct{}, 8)
	var mu sync.Mutex
	var failed error
	for n := 1; n <= total; n++ {
		// Each seat speaks at least once; then anybody.
		x := s.seats[(n-1)%len(s.seats)]
		if n > len(s.seats) {
			x = s.seats[dice.IntN(len(s.seats))]
		}
		said[x.n]++
		k := said[x.n]
		r.requests += 1
		if slices.Contains(s.inRoom, x.app) {
			r.requests += len(s.inRoom)
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := s.say(ctx, x, n, k); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed != nil {
		return nil, failed
	}
	if err := w.until(ctx, "the queue is empty", func() bool {
		visible, inFlight := w.backlog()
		return visible+inFlight == 0
	}); err != nil {
		r.broken("%v", err)
	}
	s.checkSessions(ctx, r, said)
	s.checkPosts(r, said)
	w.vendor.mu.Lock()
	defer w.vendor.mu.Unlock()
	r.violations = append(r.violations, w.vendor.foreign...)
	for word, n := range w.vendor.asked {
		r.prompts += n
		if n != 1 {
			r.broken("the model was asked %d times for %s", n, word)
		}
	}
	return r, nil
}

func (s *stage) bySeat(word string) *seat {
	m := words.FindStringSubmatch(word)
	for _, x := range s.seats {
		if m != nil && fmt.Sprint(x.n) == m[1] {
			return x
		}
	}
	return nil
}

// checkSessions reads every stored conversation.
func (s *stage) checkSessions(ctx context.Context, r *roomsReport, said map[int]int) {
	sessions, err := pages[sessionView](ctx, s.org, "/sessions")
	if err != nil {
		r.broken("sessions: %v", err)
		return
	}
	r.conversations = len(sessions)
	if want := min(len(s.seats), len(said)); len(sessions) != want {
		r.broken("%d sessions for %d conversations", len(sessions), want)
	}
	for _, session := range sessions {
		messages, err := pages[messageView](ctx, s.org, "/sessions/"+session.ID+"/messages")
		if err != nil || len(messages) == 0 {
			r.broken("session %s: %d messages, %v", session.ID, len(messages), err)
			continue
		}
		r.stored += len(messages)
		x := s.bySeat(words.FindString(messages[0].Text))
		if x == nil {
			r.broken("session %s begins with %q", session.ID, messages[0].Text)
			continue
		}
		if session.AgentID != x.agentID || session.PersonaID != x.persona || session.InstallID != x.app.install || session.Channel != x.room || session.Thread != x.thread {
			r.broken("conversation %d of %s %s is stored as %+v", x.n, x.agent, x.persona, session)
		}
		if len(messages) != 2*said[x.n] {
			r.broken("conversation %d has %d messages for %d that were said", x.n, len(messages), said[x.n])
		}
		last := ""
		for i, m := range messages {
			s.checkText(r, x, m.Text, m.Role == "assistant")
			switch word := words.FindString(m.Text); {
			case m.AgentID != x.agentID || m.PersonaID != x.persona:
				r.broken("conversation %d holds a message of %s %s", x.n, m.AgentID, m.PersonaID)
			case i%2 == 0 && m.Role != "user" || i%2 == 1 && (m.Role != "assistant" || word != last):
				r.broken("conversation %d: message %d is %s %q after %q", x.n, i, m.Role, m.Text, last)
			default:
				last = word
			}
		}
	}
}

// checkText: a text of a conversation holds its words only, an answer the marks of
// its own agent and persona.
func (s *stage) checkText(r *roomsReport, x *seat, text string, answer bool) {
	for _, m := range words.FindAllStringSubmatch(text, -1) {
		if m[1] != fmt.Sprint(x.n) {
			r.broken("conversation %d holds %q", x.n, text)
		}
	}
	if answer && (!slices.Equal(agentMarks.FindAllString(text, -1), []string{x.agent}) || !slices.Equal(personaMarks.FindAllString(text, -1), []string{x.persona})) {
		r.broken("conversation %d of %s %s was answered %q", x.n, x.agent, x.persona, text)
	}
}

// checkPosts reads what the vendors were sent: every word once, by its own app, in
// its own thread.
func (s *stage) checkPosts(r *roomsReport, said map[int]int) {
	seen := map[string]int{}
	for _, a := range slices.Concat(s.inRoom, s.groups) {
		for _, p := range a.posts() {
			r.replies++
			word := words.FindString(p.Text)
			x := s.bySeat(word)
			if x == nil || x.app != a || !a.shows(p, x.room, x.thread) {
				r.broken("%s posted %q into %s %s", a.id, p.Text, p.Channel, p.ThreadTS)
				continue
			}
			s.checkText(r, x, p.Text, true)
			seen[word]++
		}
	}
	if all := len(s.w.vendor.Posts()); all != r.replies {
		r.broken("%d of %d posts carry a foreign token", all-r.replies, all)
	}
	for seat, n := range said {
		for k := 1; k <= n; k++ {
			if word := fmt.Sprintf("q%dx%d", seat, k); seen[word] != 1 {
				r.broken("%s was answered %d times", word, seen[word])
			}
		}
	}
}
