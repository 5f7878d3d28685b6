package deliveries

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// visible is what the vendors' people saw of each word.
func (r *run) visible() map[string][]mockvendor.Post {
	out := map[string][]mockvendor.Post{}
	for _, p := range r.w.vendor.Posts() {
		word := words.FindString(p.Text)
		if word == "" {
			r.wrong("a post belongs to no message: %q", p.Text)
			continue
		}
		out[word] = append(out[word], p)
	}
	return out
}

// check reads everything that came of the plan and holds it against what was
// accepted.
func (r *run) check(ctx context.Context) error {
	visible := r.visible()
	for i, o := range r.p.orgs {
		if err := r.checkOrg(ctx, o, r.p.apps[i], visible); err != nil {
			return err
		}
	}
	for word := range visible {
		r.wrong("%s was answered although no turn says so", word)
	}
	r.checkQueue()
	r.disturbed()
	failures, err := r.w.Failures()
	for _, f := range failures {
		r.wrong("given up: %s %s %v", f.Source, f.Name, f.Body)
	}
	r.w.vendor.mu.Lock()
	defer r.w.vendor.mu.Unlock()
	for _, f := range r.w.vendor.foreign {
		r.wrong("%s", f)
	}
	for _, n := range r.w.vendor.asked {
		if n > 1 {
			r.c.repeated++
		}
	}
	return err
}

// checkQueue: a conversation has one group, and no group two conversations.
func (r *run) checkQueue() {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	for _, m := range r.w.mixed {
		r.wrong("%s", m)
	}
	for _, t := range r.p.talks {
		groups := map[string]bool{}
		for _, e := range t.events {
			if q := r.w.queued[e.word]; q != nil {
				for g := range q.groups {
					groups[g] = true
				}
			}
		}
		if len(groups) != 1 {
			r.wrong("conversation %d went through %d groups", t.n, len(groups))
		}
	}
}

// answered is one message and its turn.
type answered struct {
	word string
	turn string
}

// checkOrg reads the organisation's conversations, turns and charges.
func (r *run) checkOrg(ctx context.Context, o *org, a *app, visible map[string][]mockvendor.Post) error {
	sessions, err := pages[sessionView](ctx, o, "/sessions")
	if err != nil {
		return err
	}
	talks := map[string]*talk{}
	for _, t := range r.p.talks {
		if t.app == a {
			talks[t.room+"/"+t.thread] = t
		}
	}
	if len(sessions) != len(talks) {
		r.wrong("%d sessions for %d conversations of %s", len(sessions), len(talks), a.provider)
	}
	var all []answered
	for _, s := range sessions {
		t := talks[s.Channel+"/"+s.Thread]
		if t == nil || s.InstallID != a.install {
			r.wrong("a session of no conversation: %+v", s)
			continue
		}
		messages, err := pages[messageView](ctx, o, "/sessions/"+s.ID+"/messages")
		if err != nil {
			return err
		}
		all = append(all, r.checkTalk(t, messages)...)
	}
	charged, err := r.checkTurns(ctx, o, a, all, visible)
	if err != nil {
		return err
	}
	return r.checkCharges(ctx, o, charged)
}

// checkTalk: every accepted message stands once, in the order in which the queue
// took it and in which the vendor saw it accepted, with one answer.
func (r *run) checkTalk(t *talk, messages []messageView) []answered {
	place, answers := map[string]int{}, map[string]int{}
	var out []answered
	for i, m := range messages {
		found := words.FindStringSubmatch(m.Text)
		want := 1
		if found != nil && m.Role == "assistant" {
			want = t.app.partsOf(found[0])
		}
		all := words.FindAllString(m.Text, -1)
		if found == nil || found[1] != fmt.Sprint(t.n) || len(all) != want || slices.ContainsFunc(all, func(w string) bool { return w != found[0] }) {
			r.wrong("conversation %d holds %q", t.n, m.Text)
			continue
		}
		word := found[0]
		if m.Role == "assistant" {
			answers[word]++
			continue
		}
		if _, twice := place[word]; twice {
			r.wrong("%s stands twice in its conversation", word)
			continue
		}
		place[word] = i
		out = append(out, answered{word, m.TurnID})
	}
	for _, e := range t.events {
		if e.began == 0 {
			continue // the run ended early, which is said elsewhere
		}
		_, stored := place[e.word]
		if e.accepted > 0 {
			r.c.accepted++
		}
		switch {
		case e.givenUp():
			// Nobody knows of it; what was taken is answered, once.
			if stored {
				r.c.taken++
			}
			if stored != (answers[e.word] == 1) || answers[e.word] > 1 {
				r.wrong("%s, given up: stored %v, %d answers", e.word, stored, answers[e.word])
			}
		case (e.accepted > 0) != stored || answers[e.word] != 1:
			r.wrong("%s: accepted %v, stored %v, %d answers", e.word, e.accepted > 0, stored, answers[e.word])
		}
	}
	r.checkOrder(t, place)
	return out
}

func (r *run) checkOrder(t *talk, place map[string]int) {
	events := slices.DeleteFunc(slices.Clone(t.events), func(e *event) bool {
		_, stored := place[e.word]
		return !stored
	})
	slices.SortFunc(events, func(a, b *event) int { return cmp.Compare(place[a.word], place[b.word]) })
	for i, a := range events {
		for _, b := range events[i+1:] {
			// b stands behind a.
			if b.accepted > 0 && a.began > 0 && b.accepted < a.began {
				r.wrong("%s stands before %s, which had been accepted before it was sent", a.word, b.word)
			}
			if a.k > b.k {
				r.c.overtaken.Add(1)
			}
		}
		if i == 0 {
			continue
		}
		r.w.mu.Lock()
		before, after := r.w.queued[events[i-1].word], r.w.queued[a.word]
		r.w.mu.Unlock()
		if before != nil && after != nil && before.sequence >= after.sequence {
			r.wrong("%s stands before %s, the queue took it later", events[i-1].word, a.word)
		}
	}
}

// checkTurns reads every turn and holds its outbox against what was visible; it
// returns the requests of each turn.
func (r *run) checkTurns(ctx context.Context, o *org, a *app, all []answered, visible map[string][]mockvendor.Post) (map[string][]string, error) {
	turns := make([]turnView, len(all))
	errs := make([]error, len(all))
	var group sync.WaitGroup
	slots := make(chan struct{}, 6)
	for i, x := range all {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = o.call(ctx, "GET", "/turns/"+x.turn, nil, &turns[i])
		})
	}
	group.Wait()
	requests, seen := map[string][]string{}, map[string]string{}
	for i, t := range turns {
		word := all[i].word
		if errs[i] != nil {
			return nil, errs[i]
		}
		if other, twice := seen[t.ID]; twice {
			r.wrong("%s and %s have one turn", word, other)
		}
		seen[t.ID], requests[word] = word, t.RequestIDs
		r.checkOutbox(a, word, t, visible[word])
		delete(visible, word)
	}
	return requests, nil
}

// checkOutbox holds the parts of a turn against what was seen of each.
func (r *run) checkOutbox(a *app, word string, t turnView, posts []mockvendor.Post) {
	if t.State != "done" && t.State != "ended" || len(t.Outbox) != a.partsOf(word) {
		r.wrong("the turn of %s is %s %s with the parts %v", word, t.State, t.Code, t.Outbox)
		return
	}
	r.c.visible += len(posts)
	seen := make([][]mockvendor.Post, 2)
	for _, p := range posts {
		if p.KeyHash != mockvendor.Hash(a.token) || !r.place(a, word, p) {
			r.wrong("%s was answered in %s %s with the key %s", word, p.Channel, p.ThreadTS, p.KeyHash)
		}
		if len(p.Before) > 0 {
			r.wrong("%s was answered over %q", word, p.Before)
		}
		k := 0
		if strings.Contains(p.Text, secondPart) {
			k = 1
		} else if receives := r.w.receives(word); len(seen[1]) > 0 && !lateFirst(t.Outbox[0].State, receives) {
			r.wrong("%s: the second part was seen before the first, which is %s after %d receptions", word, t.Outbox[0].State, receives)
		}
		seen[k] = append(seen[k], p)
	}
	gone := false
	for k, part := range t.Outbox {
		posts, receives := seen[k], r.w.receives(word)
		r.w.vendor.mu.Lock()
		did := r.w.vendor.did[sent{word, k > 0}]
		r.w.vendor.mu.Unlock()
		switch part.State {
		case "sent":
			r.c.sent++
		case "unknown":
			r.c.unknown++
			r.c.visibleUnknown += len(posts)
		case "failed":
			r.c.failed++
		}
		ok := explained(part.State, did, receives, len(posts)) && (part.State != "sent" || a.name(posts[0]) == part.ProviderMessageID)
		if gone {
			// Nothing goes out behind a part that was refused.
			ok = part.State == "failed" && len(posts) == 0
		}
		if gone = gone || part.State == "failed"; gone && t.State != "ended" {
			ok = false
		}
		if !ok {
			r.wrong("%s, part %d: the outbox says %s (turn %s), %d replies were seen, %d receptions, the vendor: %q", word, k+1, part.State, t.State, len(posts), receives, did)
		}
	}
}

// lateFirst reports whether a first part may be seen after the second: its process
// was killed or frozen with the request on its way, so the next one, which cannot know
// whether it arrives, wrote it down as unknown and went on. What was sent for certain
// stands in order.
func lateFirst(state string, receives int) bool { return state == "unknown" && receives > 1 }

// explained reports whether what the outbox says of a part can have come of what
// its vendor did to the send, and of how often the message was received: more than
// once when its process was killed or frozen.
func explained(state string, did misbehaviour, receives, posts int) bool {
	switch did {
	case keeps500, keepsCut, hangs:
		return state == "unknown" && posts == 1
	case drops500:
		return state == "unknown" && posts == 0
	case refuses:
		return state == "failed" && posts == 0 || state == "unknown" && posts == 0 && receives > 1
	case killsAll:
		return (state == "unknown" || state == "sent") && posts == 1
	}
	return state == "sent" && posts == 1 || state == "unknown" && posts <= 1 && receives > 1
}

// disturbed notes what a plan must have met and did not: of a run in which nothing
// goes wrong nothing follows.
func (r *run) disturbed() {
	c := &r.c
	none := func(what string, n int64) {
		if n == 0 {
			r.wrong("a plan without disturbance: no %s", what)
		}
	}
	none("process of turn was killed", c.turnKills.Load())
	none("process of webhook was killed", c.webhookKills.Load())
	none("process was frozen", c.frozen.Load())
	none("message was received again", int64(r.w.receivedAgain()))
	none("request was a repeat of an accepted one", c.repeats.Load())
	none("request failed and was made again", c.retries.Load())
	none("messages overtook each other", c.overtaken.Load())
	for _, k := range kinds() {
		var posts []mockvendor.Post
		for _, a := range r.p.apps {
			if a.provider == k.provider {
				posts = append(posts, a.posts()...)
			}
		}
		if k.missing != nil && len(posts) > 0 {
			if what := k.missing(posts); what != "" {
				none(what, 0)
			}
		}
	}
	r.w.vendor.mu.Lock()
	defer r.w.vendor.mu.Unlock()
	none("send met a failure", int64(len(r.w.vendor.met)))
	for what, n := range r.p.meant {
		// Whether processes are killed and asked to wait depends on receptions, too.
		if n >= 3 && what != killsAll && what != limits {
			none("send was "+string(what), int64(r.w.vendor.met[what]))
		}
	}
}

// place reports whether an answer went to where the message came from.
func (r *run) place(a *app, word string, p mockvendor.Post) bool {
	m := words.FindStringSubmatch(word)
	for _, t := range r.p.talks {
		if fmt.Sprint(t.n) != m[1] {
			continue
		}
		return t.app == a && a.shows(p, t.room, t.thread)
	}
	return false
}

// checkCharges: one of a turn's requests is charged, once, and nothing else.
func (r *run) checkCharges(ctx context.Context, o *org, requests map[string][]string) error {
	entries, err := pages[struct {
		Kind      string
		RequestID string `json:"request_id"`
	}](ctx, o, "/entries")
	if err != nil {
		return err
	}
	charged := map[string]int{}
	total := 0
	for _, e := range entries {
		if e.Kind == "usage" {
			charged[e.RequestID]++
			total++
		}
	}
	for word, ids := range requests {
		n := 0
		for _, id := range ids {
			n += charged[id]
		}
		if n != 1 {
			r.wrong("the turn of %s was charged %d times for %d requests", word, n, len(ids))
		}
	}
	if total != len(requests) {
		r.wrong("%d charges for %d turns of %s", total, len(requests), o.id)
	}
	return nil
}
