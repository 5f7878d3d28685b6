package deliveries

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
)

// misbehaviour is what a channel vendor does with the first send of an answer.
type misbehaviour string

const (
	behaves  misbehaviour = ""
	keeps500 misbehaviour = "posted, answered 500"
	drops500 misbehaviour = "not posted, answered 500"
	keepsCut misbehaviour = "posted, connection dropped"
	hangs    misbehaviour = "posted, never answered"
	refuses  misbehaviour = "refused"
	limits   misbehaviour = "asked to wait"
	killsAll misbehaviour = "posted, every turn process killed"
)

// sent is one message of an answer: a word's first or second.
type sent struct {
	word   string
	second bool
}

// vendor is the simulated vendors behind what they are told to do wrong.
type vendor struct {
	*mockvendor.Server
	w *world

	mu      sync.Mutex
	planned map[string]misbehaviour // by word, taken by the first send
	met     map[misbehaviour]int
	did     map[sent]misbehaviour
	// foreign are prompts that hold words of two conversations, or marks that do
	// not belong to them.
	foreign []string
	asked   map[string]int
	marks   map[string]string // "agent persona" that a conversation's prompts showed
	kill    func() bool
	// filler is how much more the answer to a word says, so that it takes two messages.
	filler func(word string) int
	// answers has one element while the model has answered since it was last taken.
	answers chan struct{}
}

// The marks of agents and personas in instructions and answers.
var (
	agentMarks   = regexp.MustCompile(`\bagent[0-9]+\b`)
	personaMarks = regexp.MustCompile(`\bpersona[0-9]+\b`)
)

func newVendor(w *world) *vendor {
	v := &vendor{Server: mockvendor.New(), w: w, planned: map[string]misbehaviour{}, met: map[misbehaviour]int{},
		did:    map[sent]misbehaviour{},
		filler: func(string) int { return 0 }, asked: map[string]int{}, marks: map[string]string{},
		answers: make(chan struct{}, 1)}
	v.Respond(v.answer)
	return v
}

// answer is the model: it says whose instructions it was given, and the word of
// the last user message. The whole prompt must be of one conversation.
func (v *vendor) answer(conversation []mockvendor.Said) string {
	var who, whole strings.Builder
	last := ""
	for _, m := range conversation {
		if m.Role == "system" {
			who.WriteString(m.Text + " ")
			continue
		}
		whole.WriteString(m.Text + " ")
		if m.Role == "user" {
			last = m.Text
		}
	}
	word := words.FindStringSubmatch(last)
	if word == nil {
		return ""
	}
	marks := strings.Join(append(agentMarks.FindAllString(who.String(), -1), personaMarks.FindAllString(who.String(), -1)...), " ")
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range words.FindAllStringSubmatch(whole.String(), -1) {
		if m[1] != word[1] {
			v.foreign = append(v.foreign, "a prompt for "+word[0]+" holds "+m[0])
		}
	}
	for _, m := range append(agentMarks.FindAllString(whole.String(), -1), personaMarks.FindAllString(whole.String(), -1)...) {
		if !slices.Contains(strings.Fields(marks), m) {
			v.foreign = append(v.foreign, "a prompt for "+word[0]+" to "+marks+" holds "+m)
		}
	}
	if marks == "" {
		return "" // not an answer: the product asks on its own behalf
	}
	v.asked[word[0]]++
	if was, known := v.marks[word[1]]; known && was != marks {
		v.foreign = append(v.foreign, "conversation "+word[1]+" was answered by "+was+" and "+marks)
	}
	v.marks[word[1]] = marks
	select {
	case v.answers <- struct{}{}:
	default:
	}
	answer := "This is " + marks + " and I heard " + word[0]
	if n := v.filler(word[0]); n > 0 {
		answer += ". " + strings.Repeat("and so on ", n) + secondPart + word[0]
	}
	return answer
}

// secondPart stands in what a vendor's limit puts into a second message.
const secondPart = "so much for "

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	k, sends := sendsOf(r, body)
	if !sends {
		v.Server.ServeHTTP(w, r)
		return
	}
	what := v.take(sent{string(words.Find(body)), bytes.Contains(body, []byte(secondPart))})
	switch what {
	case drops500:
		http.Error(w, `{"ok":false}`, http.StatusInternalServerError)
		return
	case limits:
		w.Header().Set("Retry-After", "1")
		http.Error(w, `{"ok":false}`, http.StatusTooManyRequests)
		return
	case refuses:
		w.Header().Set("Content-Type", "application/json")
		k.refuse(w)
		return
	case behaves:
		v.Server.ServeHTTP(w, r)
		return
	}
	kept := httptest.NewRecorder()
	v.Server.ServeHTTP(kept, r)
	switch what {
	case keeps500:
		http.Error(w, `{"ok":false}`, http.StatusInternalServerError)
		return
	case keepsCut:
		panic(http.ErrAbortHandler)
	case hangs:
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(kept.Code)
	_, _ = w.Write(kept.Body.Bytes())
}

// take is what happens to a send of an answer. A vendor asks to wait, and processes
// are killed, only while the message has receptions left.
func (v *vendor) take(s sent) misbehaviour {
	word := s.word
	v.mu.Lock()
	what, planned := v.planned[word]
	v.mu.Unlock()
	if !planned || what == limits && v.w.receives(word) > 2 {
		return behaves
	}
	v.mu.Lock()
	delete(v.planned, word)
	v.mu.Unlock()
	if what == killsAll && (v.kill == nil || !v.kill()) {
		return behaves
	}
	v.mu.Lock()
	v.met[what]++
	v.did[s] = what
	v.mu.Unlock()
	return what
}
