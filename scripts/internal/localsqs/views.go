package localsqs

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// QueueView is a queue as GET /_local/queues shows it. OldestAgeSeconds is the
// shifted clock's; 0 for an empty queue. DLQFor names the queues whose failures
// end here, comma-separated, in order.
type QueueView struct {
	Name             string `json:"name"`
	FIFO             bool   `json:"fifo"`
	Visible          int    `json:"visible"`
	InFlight         int    `json:"in_flight"`
	Delayed          int    `json:"delayed"`
	OldestAgeSeconds int64  `json:"oldest_age_seconds"`
	DLQFor           string `json:"dlq_for,omitempty"`
}

// MessageView is a message as GET /_local/failures shows it.
type MessageView struct {
	ID         string               `json:"id"`
	State      string               `json:"state"`
	Body       string               `json:"body"`
	System     map[string]string    `json:"attributes"`
	Attributes map[string]Attribute `json:"message_attributes,omitempty"`
	Sent       time.Time            `json:"sent_at"`
	Receives   int                  `json:"receive_count"`
}

// Queues lists the queues by name.
func (e *Engine) Queues() []QueueView {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.cfg.Clock.Now()
	sources := make(map[string][]string)
	for _, name := range e.names() {
		if target := e.queues[name].settings.deadLetter; target != "" {
			sources[target] = append(sources[target], name)
		}
	}
	out := make([]QueueView, 0, len(e.queues))
	for _, name := range e.names() {
		q := e.queues[name]
		// A failed journal write is reported by the next real operation.
		_ = e.expire(q, now)
		v := QueueView{Name: name, FIFO: q.fifo, DLQFor: strings.Join(sources[name], ",")}
		v.Visible, v.InFlight, v.Delayed = q.counts()
		if front := q.order.Front(); front != nil {
			v.OldestAgeSeconds = max(0, int64(now.Sub(front.Value.(*message).Enqueued)/time.Second))
		}
		out = append(out, v)
	}
	return out
}

// Messages lists the messages of a queue in order, without receiving them, at
// most limit (0 = all).
func (e *Engine) Messages(queueName string, limit int) ([]MessageView, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q, err := e.find(queueName)
	if err != nil {
		return nil, err
	}
	if err := e.expire(q, e.cfg.Clock.Now()); err != nil {
		return nil, err
	}
	out := []MessageView{}
	for el := q.order.Front(); el != nil && (limit == 0 || len(out) < limit); el = el.Next() {
		m := el.Value.(*message)
		out = append(out, MessageView{
			ID: m.ID, State: m.state.String(), Body: m.Body, System: m.system(q.fifo),
			Attributes: m.Attributes, Sent: m.Sent, Receives: m.Receives,
		})
	}
	return out, nil
}

// String names the state.
func (s messageState) String() string {
	switch s {
	case delayed:
		return "delayed"
	case inFlight:
		return "in_flight"
	}
	return "visible"
}

// QueuesHandler serves GET /_local/queues: a JSON array of [QueueView].
func (e *Engine) QueuesHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", "GET")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		body, err := json.Marshal(e.Queues())
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(body, '\n')) // a failed write means the client has gone
	})
}
