// Package probe asks vendors about connections: is the key good, what is there,
// does a completion or a voice work.
//
// [Runner] makes one probe over the adapters of package providers with a key it
// is handed. [Station] does so for stored connections: it reads the connection,
// opens its key for the one probe and records the health. It runs in the function
// conform, the only one besides the callers that may open keys and is not reached
// from outside; [Remote] asks it from the console, [Dispatcher] hands it what is
// due from sweep. Both speak the events of wire.go.
//
// Guarantees: a prompt and its answer are fixed or dropped, never stored or
// logged; of the vendor's answer only a fault code, the HTTP status, counts, the
// time it took and the ids of listed models come out; a key goes only to the origin it was saved for; a
// probe ends after [AuthTimeout] or [CallTimeout]. A completion or spoken word is
// paid by the key's owner at the vendor and is not metered.
//
// Limits: how many probes a person may start is package connection's rule. Two
// probes of one connection at once do no harm; the one that began later counts.
package probe

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/model"
	"github.com/latchkey/latchkey/shared/providers"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/speech"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// AuthTimeout bounds test_auth and list_models, CallTimeout the other two with
// the list they may need.
const (
	AuthTimeout = 5 * time.Second
	CallTimeout = 20 * time.Second
)

const (
	prompt    = "Reply with the word OK."
	utterance = "OK"
	// maxOutput is small, and above the 16 that some endpoints ask for at least.
	maxOutput = 20
	maxAnswer = 8 << 20
	// anyVoice is spoken where the connection names none: the endpoints without a
	// list of voices speak OpenAI's dialect, whose first voice this is
	// (platform.openai.com/docs, text to speech, read 2026-11).
	anyVoice = "alloy"
)

// Runner makes probes. It is safe for concurrent use.
type Runner struct {
	Entries []providers.Entry
	// Client returns the HTTP client that may reach a provider.
	Client func(e *providers.Entry) *http.Client
	Now    func() time.Time
}

// Offered lists the probes that a vendor has an answer to.
func Offered(e *providers.Entry) []connection.Probe {
	var out []connection.Probe
	for _, p := range []struct {
		name connection.Probe
		has  bool
	}{
		{connection.TestAuth, e.CheckKey != nil}, {connection.ListModels, e.ListModels != nil}, {connection.TestText, e.NewChat != nil},
		{connection.TestVoice, e.ListVoices != nil || e.NewSynthesizer != nil},
	} {
		if p.has {
			out = append(out, p.name)
		}
	}
	return out
}

// CheckKey implements [connection.KeyChecker]. A vendor that has nothing to check
// a key with is not called.
func (r *Runner) CheckKey(ctx context.Context, c connection.Connection, key secret.Text) connection.Seen {
	e := r.entry(c.Provider)
	if e == nil || e.CheckKey == nil {
		return connection.Seen{Probe: connection.TestAuth, Verdict: connection.NoCheck, At: r.Now().UTC().Truncate(time.Millisecond)}
	}
	seen, err := r.Run(ctx, c, key, connection.TestAuth, "")
	if err != nil {
		// Only a vendor without the probe makes an error of this one.
		return connection.Seen{Probe: connection.TestAuth, Verdict: connection.Undecided, Reason: string(fault.CodeOf(err)), At: r.Now().UTC().Truncate(time.Millisecond)}
	}
	return seen
}

// Run makes one probe of c with its key. It fails with invalid_request if the
// vendor does not have the probe, or if it needs a model that nobody named; what
// the vendor answers is no error.
func (r *Runner) Run(ctx context.Context, c connection.Connection, key secret.Text, p connection.Probe, name string) (connection.Seen, error) {
	seen, _, err := r.listing(ctx, c, key, p, name)
	return seen, err
}

// listing is Run with the models of the list that ListModels read: sorted, at most
// [connection.MaxOffered].
func (r *Runner) listing(ctx context.Context, c connection.Connection, key secret.Text, p connection.Probe, name string) (connection.Seen, []connection.Offered, error) {
	e, err := r.offering(c, p)
	if err != nil {
		return connection.Seen{}, nil, err
	}
	limit := AuthTimeout
	if p == connection.TestText || p == connection.TestVoice {
		limit = CallTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	start := r.Now().UTC()
	a := &asking{e: e, c: c, p: p, seen: connection.Seen{Probe: p, At: start.Truncate(time.Millisecond)}}
	base := c.BaseURL
	if base == "" {
		base = e.DefaultBaseURL
	}
	a.t = model.Target{BaseURL: base, Key: key, Now: start, MaxBytes: maxAnswer, HeaderTimeout: limit, IdleTimeout: limit,
		HTTP: egress.Observe(r.Client(e), func(status int) { a.seen.HTTPStatus = status })}
	err = a.ask(ctx, c.Unprefixed(name))
	if fault.As(err) != nil && fault.As(err).Op == opRefuse {
		return connection.Seen{}, nil, err
	}
	a.judge(err)
	a.seen.LatencyMS = r.Now().Sub(start).Milliseconds()
	return a.seen, a.offered, nil
}

// offering is the vendor of c, if it has the probe.
func (r *Runner) offering(c connection.Connection, p connection.Probe) (*providers.Entry, error) {
	e := r.entry(c.Provider)
	if e == nil {
		return nil, refuse("provider", "this provider is not available any more")
	}
	if offered := Offered(e); !slices.Contains(offered, p) {
		return nil, connection.NoSuchProbe(offered)
	}
	return e, nil
}

func (r *Runner) entry(id taxonomy.Provider) *providers.Entry {
	for i := range r.Entries {
		if r.Entries[i].ID == id {
			return &r.Entries[i]
		}
	}
	return nil
}

// opRefuse marks the errors of our own, which are not the vendor's.
const opRefuse = "probe.Run"

func refuse(param, message string) error {
	return fault.New(fault.InvalidRequest, opRefuse, message).WithParam(param)
}

// asking is one probe on its way.
type asking struct {
	e    *providers.Entry
	c    connection.Connection
	p    connection.Probe
	t    model.Target
	seen connection.Seen
	// listed says that the answer may be given to anybody.
	listed  bool
	offered []connection.Offered
}

func (a *asking) ask(ctx context.Context, name string) error {
	switch a.p {
	case connection.ListModels:
		a.listed = true
		list, err := a.e.ListModels(ctx, a.t)
		a.seen.ModelCount, a.offered = int64(len(list)), offered(list)
		return err
	case connection.TestText:
		return a.complete(ctx, name)
	case connection.TestVoice:
		if a.e.ListVoices == nil {
			return a.speak(ctx, name)
		}
		a.listed = true
		voices, err := a.e.ListVoices(ctx, a.t)
		a.seen.VoiceCount = int64(len(voices))
		return err
	}
	return a.e.CheckKey(ctx, a.t)
}

// offered keeps what can be shown and asked for of a list.
func offered(list []model.Listed) []connection.Offered {
	var out []connection.Offered
	for _, m := range list {
		if (connection.Connection{}).CheckModel(m.ID) == nil {
			out = append(out, connection.Offered{Model: m.ID, ContextTokens: int64(max(m.ContextTokens, 0)), MaxOutputTokens: int64(max(m.MaxOutputTokens, 0))})
		}
	}
	slices.SortFunc(out, func(a, b connection.Offered) int { return strings.Compare(a.Model, b.Model) })
	out = slices.CompactFunc(out, func(a, b connection.Offered) bool { return a.Model == b.Model })
	return out[:min(len(out), connection.MaxOffered)]
}

// judge says what the outcome means for the key. An endpoint that the
// organisation names often has no list of models, which is also how its key is
// checked; a vendor of ours that suddenly has none has told us nothing.
func (a *asking) judge(err error) {
	s := &a.seen
	code := fault.CodeOf(err)
	s.Reason = string(code)
	missing := s.HTTPStatus == http.StatusNotFound || s.HTTPStatus == http.StatusMethodNotAllowed || s.HTTPStatus == http.StatusBadRequest
	switch {
	case err == nil && a.listed:
		s.Verdict = connection.Listed
	case err == nil:
		s.Verdict = connection.Accepted
	case code == fault.ProviderKeyInvalid, code == fault.ProviderQuotaExhausted:
		s.Verdict = connection.Refused
	case missing && a.e.Tenant() && (a.p == connection.TestAuth || a.p == connection.ListModels):
		s.Verdict = connection.NoCheck
	default:
		s.Verdict = connection.Undecided
	}
}

// complete asks for the smallest completion.
func (a *asking) complete(ctx context.Context, name string) error {
	if name == "" && len(a.c.Models) > 0 {
		name = a.c.Unprefixed(a.c.Models[0])
	}
	if name == "" {
		var err error
		if name, err = a.pick(ctx, writes); err != nil {
			return err
		}
	}
	_, err := a.e.NewChat().Complete(ctx, model.Call{Target: a.t, Request: &model.Request{Model: name, MaxOutputTokens: maxOutput,
		Messages: []model.Message{{Role: model.RoleUser, Parts: []model.Part{model.Text(prompt)}}}}})
	return err
}

// speak has one word spoken and hears it to its end.
func (a *asking) speak(ctx context.Context, name string) error {
	for i := 0; name == "" && i < len(a.c.Models); i++ {
		if m := a.c.Unprefixed(a.c.Models[i]); speaks(model.Listed{ID: m}) {
			name = m
		}
	}
	if name == "" {
		var err error
		if name, err = a.pick(ctx, speaks); err != nil {
			return err
		}
	}
	voice := a.c.DefaultVoiceID
	if voice == "" {
		voice = anyVoice
	}
	audio, err := a.e.NewSynthesizer().Synthesize(ctx, speech.SynthesizeCall{Target: a.t,
		Request: &speech.SynthesizeRequest{Model: name, Input: utterance, Voice: voice, Format: speech.AudioMP3}})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, audio.Body)
	if closeErr := audio.Body.Close(); err == nil {
		err = closeErr
	}
	return err
}

// pick takes the first listed model that fits.
func (a *asking) pick(ctx context.Context, fits func(model.Listed) bool) (string, error) {
	if a.e.ListModels == nil {
		return "", refuse("model", "name the model to test with: this provider has no list to take one from")
	}
	list, err := a.e.ListModels(ctx, a.t)
	if fault.CodeOf(err) == fault.InvalidRequest {
		return "", refuse("model", "name the model to test with: this provider did not list its models")
	}
	if err != nil {
		return "", err
	}
	for _, m := range list {
		if fits(m) {
			return m.ID, nil
		}
	}
	return "", refuse("model", "name the model to test with: none in the provider's list fits this probe")
}

// Where a list does not say what its models are for, their names do.
var (
	spokenWords = [...]string{"tts", "voice", "speech", "audio"}
	otherWords  = [...]string{"embed", "whisper", "transcribe", "moderation", "image", "dall-e", "rerank", "realtime", "ocr"}
)

func writes(m model.Listed) bool {
	if len(m.Outputs) > 0 {
		return slices.Contains(m.Outputs, "text")
	}
	return !names(m.ID, spokenWords[:]) && !names(m.ID, otherWords[:])
}

func speaks(m model.Listed) bool {
	if len(m.Outputs) > 0 {
		return slices.Contains(m.Outputs, "audio") || slices.Contains(m.Outputs, "speech")
	}
	return names(m.ID, spokenWords[:]) && !names(m.ID, otherWords[:])
}

func names(id string, words []string) bool {
	id = strings.ToLower(id)
	return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(id, w) })
}
