package ingest_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/channels/slack"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/ingest"
)

// persons is a vendor whose people have two ids, written "preferred beside"; a
// text "now X" says that the preferred id is X from now on.
type persons struct{ slack.Adapter }

func (a persons) Parse(in webhook.Input) ([]channel.Inbound, error) {
	all, err := a.Adapter.Parse(in)
	if err != nil {
		return nil, err
	}
	e := &all[0].Envelope
	id, beside, _ := strings.Cut(e.Actor, " ")
	e.Space, e.Actor, e.Beside, e.ReplyTo, e.Direct, e.Thread, e.ContentKey = id, id, beside, beside, true, "", ""
	if next, ok := strings.CutPrefix(e.Text, "now "); ok {
		all[0].Kind, all[0].Reason, all[0].Renaming = channel.Renamed, channel.PersonRenamed, channel.Renaming{Old: id, New: next}
	}
	return all, nil
}

func newPersons(t *testing.T) *env {
	e := newEnv(t)
	entry := slack.Entry()
	entry.Adapter, entry.ManyIDs = persons{}, true
	e.in = ingest.New(ingest.Deps{Installs: e.installs, Secrets: e.secrets, Catalog: catalog.New([]channel.Entry{entry}), Dedupe: e.store,
		People: session.People{Store: e.store}, Queue: e.queue, Recorder: e.audit})
	return e
}

func says(event, person, text string) string {
	return body(`{"type":"message","channel":"C1","user":"`+person+`","ts":"1.`+event+`","text":"`+text+`"}`, "Ev"+event, "T1")
}

// TestOnePersonOneGroup: whatever ids are shown at once, one person is one group
// of the queue, and each answer goes to the id that was shown.
func TestOnePersonOneGroup(t *testing.T) {
	for range 20 {
		e := newPersons(t)
		var group sync.WaitGroup
		for i, person := range []string{"49", "US.1 49", "49", "US.1 49"} {
			group.Go(func() {
				if resp := e.in.Handle(t.Context(), e.request(says(string(rune('1'+i)), person, "hi"), "key one", now)); resp.Status != http.StatusOK {
					t.Errorf("%d", resp.Status)
				}
			})
		}
		group.Wait()
		if len(e.queue.jobs) != 4 {
			t.Fatalf("%d jobs", len(e.queue.jobs))
		}
		for _, j := range e.queue.jobs {
			to := j.Envelope.ReplyTo
			if to == "" {
				to = j.Envelope.Space
			}
			if j.Key() != e.queue.jobs[0].Key() || to != "49" {
				t.Fatalf("%+v answers to %s; %+v", j.Key(), to, e.queue.jobs[0].Key())
			}
		}
	}
}

// TestRenamedPerson: the conversation goes on under the new id, and the news
// starts no turn.
func TestRenamedPerson(t *testing.T) {
	e := newPersons(t)
	e.want(e.request(says("1", "US.1 49", "hi"), "key one", now), http.StatusOK, webhook.Accepted)
	for range 2 {
		e.want(e.request(says("2", "US.1", "now US.2"), "key one", now), http.StatusOK, channel.PersonRenamed)
	}
	e.want(e.request(says("3", "US.2", "still me"), "key one", now), http.StatusOK, webhook.Accepted)
	if len(e.queue.jobs) != 2 || e.queue.jobs[1].Key() != e.queue.jobs[0].Key() || e.queue.jobs[1].Envelope.ReplyTo != "US.2" || e.queue.jobs[0].Envelope.ReplyTo != "49" {
		t.Errorf("%+v", e.queue.jobs)
	}
}

// TestPersonUnknownWhileTheStoreIsDown: nothing is queued in a guessed
// conversation, and the vendor's retry is not swallowed.
func TestPersonUnknownWhileTheStoreIsDown(t *testing.T) {
	for _, method := range []string{"Alias", "PutAliases"} {
		e := newPersons(t)
		failOn(e, method)
		r, news := e.request(says("1", "US.1 49", "hi"), "key one", now), e.request(says("2", "US.1", "now US.2"), "key one", now)
		e.want(r, http.StatusServiceUnavailable, webhook.PersonUnavailable)
		e.want(news, http.StatusServiceUnavailable, webhook.PersonUnavailable)
		e.store.Fail = nil
		e.want(r, http.StatusOK, webhook.Accepted)
		failOn(e, method)
		e.want(r, http.StatusOK, webhook.Duplicate)
	}
}

// TestOtherChannelsAskForNobody: the lookup is the vendors' whose people have
// several ids.
func TestOtherChannelsAskForNobody(t *testing.T) {
	e := newEnv(t)
	e.store.Fail = func(m string) error {
		if strings.Contains(m, "Alias") {
			return errors.New("asked")
		}
		return nil
	}
	e.want(e.request(body(`{"type":"message","channel":"D1","channel_type":"im","user":"U1","ts":"1.1","text":"hi"}`, "Ev1", "T1"), "key one", now), http.StatusOK, webhook.Accepted)
}
