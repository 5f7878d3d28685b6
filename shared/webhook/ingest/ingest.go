// Package ingest takes one webhook request from the HTTP boundary to the queue.
//
// Order: find the install that the path names → verify the raw bytes with that
// install's secrets → parse → answer a handshake → compare the identity in the
// body with the install → pick the binding → dedupe → enqueue → acknowledge.
// Nothing unverified is acted on (a small body without a signature is looked at,
// to name its record), no secret is searched across installs, and 200 is only said
// after every event of the request is durably queued or known to need nothing; after
// seven seconds the rest is left to the vendor's retry, which goes through what is done
// again, at three calls an event: a batch of more than some hundred events may end
// where it ended before. One event of another tenant refuses the whole request; in a
// batch of a platform's app it is recorded and dropped alone. The first event that cannot be stored ends it with 503, so that the
// order holds; the vendor's retry finds the earlier ones done.
//
// A path that names an app of the platform is verified with the app's secrets and
// no others; the tenant that each verified event names leads to its install. A
// tenant without one is answered with 200 and recorded as unbound; an install of
// an organisation's own app is never found that way.
//
// An unknown, foreign, draft, suspended or revoked install gives the answer of a
// bad signature, after the same work on a secret that nobody has. Bodies are
// constant: which check failed is written to the delivery log and the
// [Recorder], never to the sender. A store, vault or queue that does not answer
// is 503, and the vendor's retry finds a state that does not swallow it.
//
// An event is unknown, received or queued ([session.Dedupe]). Whoever dies, or
// fails, before the message is sent leaves it received: the next delivery queues
// it. Before it is marked: the next delivery queues it again, under an id that the
// queue drops for five minutes and the turn's claim for ever. After: a repeat.
//
// What an install's requests were verified with is remembered for a minute, sealed,
// and used while the install that is read has the same version; it lets requests in
// and refuses none. A request that it lets in asks for its event's receipt while
// the version is read. So a first delivery makes four calls in three rounds (version
// with receipt, message, mark), where nothing is remembered five in five; a repeat
// four in three (version with receipt, mark, log).
//
// A sender whose requests to an install are refused again and again is answered
// 429 and recorded once a minute; a request that verifies is never counted nor
// limited. Counts are in memory, one set per process, bounded, and need no store.
//
// A channel for browsers has no vendor: a page asks with a visitor's token. Whether the
// page is one of the install's is checked behind that, so that nobody learns of an
// install without one, and before anything is written; GET reads what the visitor was
// shown, in two calls (the install, or its version where it is remembered, and the
// rows), and one more where nothing is remembered. A message costs a round more there
// than elsewhere.
//
// The clock is the request's own; an [Ingest] is safe for concurrent use.
package ingest

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/webhook"
)

// MaxBody bounds a webhook body.
const MaxBody = 1 << 20

// longest is after what time no further event of a request is begun: the vendor is
// asked to come again, which a process that is ended in the middle would not do.
const longest = 7 * time.Second

// Installs reads installs; not_found if absent.
type Installs interface {
	Install(ctx context.Context, id string) (install.Install, []install.Binding, error)
	// Version reads the number that every change of an install or its bindings raises.
	Version(ctx context.Context, id string) (int64, error)
	// InstallOf finds the install that holds a tenant of a platform app.
	InstallOf(ctx context.Context, provider, app, tenant string) (install.Install, []install.Binding, error)
}

// Secrets reads and opens what verifies; see [install.Opener].
type Secrets interface {
	Verifier(ctx context.Context, i install.Install) (vault.Credential, error)
	Verifying(ctx context.Context, cred vault.Credential, name string, now time.Time) (vault.Accepted, error)
	Retired(ctx context.Context, cred vault.Credential, name string) ([]secret.Text, error)
}

// Queue is a first-in-first-out queue per group. It drops a message whose id it
// has seen within five minutes.
type Queue interface {
	Send(ctx context.Context, group, id string, body []byte) error
}

// Recorder writes audit records. It must not block and cannot fail the request.
type Recorder interface {
	Record(ctx context.Context, e Event)
}

// Keys finds the key sets that some vendors' requests are verified with, for a
// request at now; [keyset.Sets] fetches them.
type Keys interface {
	For(ctx context.Context, now time.Time) webhook.KeySets
}

// Claims reads states that somebody may say in a conversation; not_found if nobody
// began one.
type Claims interface {
	Consent(ctx context.Context, hash string) (consent.State, error)
}

// Deps are the dependencies of [Ingest]; all are required, but Keys and Claims where no
// entry of the catalog has any.
type Deps struct {
	Claims   Claims
	Installs Installs
	Secrets  Secrets
	Keys     Keys
	Catalog  install.Catalog
	Dedupe   session.Dedupe
	People   session.People
	Queue    Queue
	Recorder Recorder
	// Shown is needed where an entry of Catalog is for browsers.
	Shown session.ShownReader
}

// Ingest handles webhook requests.
type Ingest struct {
	d      Deps
	floods floods
	memory memory
}

// New returns an Ingest.
func New(d Deps) *Ingest { return &Ingest{d: d} }

// Request is a request at the boundary.
type Request struct {
	Provider string // from the path
	Install  string // from the path
	Input    webhook.Input
	// TooLarge and Undecodable are set by whoever read the body.
	TooLarge    bool
	Undecodable bool
	Now         time.Time
	RequestID   string
	Source      string
}

// decoy takes the place of the secret of an install that may not be shown to
// exist. It is public and opens nothing: its result is thrown away.
const decoy = "an install that does not exist has this secret"

// decoyKey is the same where a public key verifies: that of RFC 8032 7.1, test 1.
const decoyKey = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

// decoyURL is the same where the URL is signed.
const decoyURL = "https://decoy.invalid/"

// call is one request on its way.
type call struct {
	*Ingest
	r      Request
	entry  channel.Entry
	inst   install.Install
	binds  []install.Binding
	result webhook.Result
	in     channel.Inbound
	// versions are the numbers of the secret's values that were tried.
	versions []int
	retired  bool
	// hint says why a signature over the URL does not match.
	hint webhook.URLHint
	// cred is what verifies, read at readAt; kept says that it was remembered.
	cred   vault.Credential
	readAt time.Time
	kept   bool
	// trial says that nothing may be read.
	trial bool
	ahead *ahead
}

// Handle answers one request.
func (g *Ingest) Handle(ctx context.Context, r Request) Response {
	r.Input.Install = r.Install
	c := &call{Ingest: g, r: r}
	var known bool
	if c.entry, known = g.d.Catalog.Find(taxonomy.Channel(r.Provider)); c.entry.Browsers != nil {
		return c.browser(ctx)
	}
	return c.handle(ctx, known)
}

func (c *call) handle(ctx context.Context, known bool) Response {
	r := c.r
	if known && !slices.Contains(c.entry.Methods, r.Input.Method) {
		return c.end(ctx, webhook.Method, session.Refused)
	}
	if r.TooLarge || len(r.Input.Body) > MaxBody {
		return c.end(ctx, webhook.TooLarge, session.Refused)
	}
	if r.Undecodable {
		return c.end(ctx, webhook.BadPayload, session.Refused)
	}
	if known {
		c.foresee(ctx)
	}
	if why := c.resolve(ctx, known); why != "" {
		if why != webhook.InstallLookup && known {
			c.pretend(ctx)
		}
		return c.end(ctx, why, session.Refused)
	}
	if c.entry.Handshake != nil && r.Input.Method == http.MethodGet {
		return c.handshake(ctx)
	}
	if why := c.verify(ctx); why != "" {
		return c.end(ctx, why, session.Refused)
	}
	if c.entry.Browsers != nil {
		return c.visit(ctx)
	}
	return c.dispatch(ctx)
}

// pretend does the work of a verification whose result nobody asks for.
func (c *call) pretend(ctx context.Context) {
	in := c.r.Input
	in.PublicURL, in.Config = decoyURL, webhook.Config{webhook.KeysSetting: {decoyKey}}
	if c.entry.Keys != nil {
		in.Config, in.Keys = c.entry.Keys.Decoy, c.keys(ctx)
	}
	_, _ = webhook.Verify(c.entry.Scheme, in, []secret.Text{secret.FromString(decoy)}, c.r.Now)
}

// keys are the key sets that the request may be verified with, nil for none.
func (c *call) keys(ctx context.Context) webhook.KeySets {
	if c.entry.Keys == nil || c.d.Keys == nil {
		return nil
	}
	return c.d.Keys.For(ctx, c.r.Now)
}

// handshake answers the vendor's unsigned check of the URL.
func (c *call) handshake(ctx context.Context) Response {
	tokens, why := c.open(ctx, c.entry.HandshakeSecret, false)
	if why != "" {
		return c.end(ctx, why, session.Refused)
	}
	challenge, refusal := c.entry.Handshake(c.r.Input, tokens.Values)
	if refusal != nil {
		return c.end(ctx, refusal.Reason, session.Refused)
	}
	return c.challenge(ctx, challenge)
}

// open opens the values of a secret of the install, those that are remembered if
// they may be.
func (c *call) open(ctx context.Context, name string, remembered bool) (vault.Accepted, webhook.Reason) {
	got, err := c.accepted(ctx, name, remembered)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return got, webhook.NoSecret
	case err != nil:
		return got, webhook.SecretUnavailable
	}
	c.versions = got.Versions
	return got, ""
}

func (c *call) challenge(ctx context.Context, text string) Response {
	resp := c.end(ctx, webhook.Handshake, session.Answered)
	if text != "" {
		resp.ContentType, resp.Body = contentText, text
	}
	return resp
}

// resolve finds the install and says why it may not be shown to exist.
func (c *call) resolve(ctx context.Context, known bool) webhook.Reason {
	if !known || !table.ValidID(c.r.Install) {
		return webhook.InstallUnknown
	}
	inst, binds, err := c.read(ctx)
	switch {
	case fault.CodeOf(err) == fault.NotFound:
		return webhook.InstallUnknown
	case err != nil:
		return webhook.InstallLookup
	}
	c.inst, c.binds = inst, binds
	switch {
	case inst.Provider != c.entry.ID:
		return webhook.ProviderMismatch
	case inst.Mode == install.Platform || (inst.Mode == install.App) != strings.HasPrefix(inst.ID, install.AppPrefix):
		return webhook.InstallUnknown // it has no path of its own
	case !inst.State.Verifies():
		return webhook.InstallInactive
	}
	c.entry = c.entry.For(inst.Config)
	return ""
}

// verify checks the raw request under the install's own secrets only. What is
// remembered lets a request in, but refuses none: then it is read again.
func (c *call) verify(ctx context.Context) webhook.Reason {
	if a := c.ahead.of(c.inst); a != nil {
		c.result, c.versions, c.cred, c.readAt = a.call.result, a.call.versions, a.call.cred, a.call.readAt
		c.remember()
		return ""
	}
	why := c.check(ctx, true)
	if why != "" && c.kept {
		why = c.check(ctx, false)
	}
	if why == "" {
		c.remember()
	}
	return why
}

func (c *call) check(ctx context.Context, remembered bool) webhook.Reason {
	c.kept = false
	secrets := vault.Accepted{Complete: true}
	if c.entry.Scheme.NeedsSecret() {
		var why webhook.Reason
		if secrets, why = c.open(ctx, c.entry.VerifySecret, remembered); why != "" {
			return why
		}
	}
	in := c.r.Input
	in.PublicURL, in.Config, in.Keys = c.inst.PublicURL, c.inst.Verifying(c.r.Now), c.keys(ctx)
	result, refusal := webhook.Verify(c.entry.Scheme, in, secrets.Values, c.r.Now)
	if refusal == nil {
		c.result = result
		return ""
	}
	switch {
	case refusal.Reason == webhook.SigMissing && c.unsignedHandshake():
		return webhook.HandshakeRefused
	case refusal.Reason != webhook.SigMismatch || c.kept:
		return refusal.Reason
	case !secrets.Complete:
		// The value that did not open may be the one that signed.
		return webhook.SecretUnavailable
	}
	c.retired = c.signedByRetired(ctx, in)
	if s, ok := c.entry.Scheme.(webhook.URLSigner); ok && len(in.Body) <= maxHandshake {
		c.hint = s.URLHint(in, secrets.Values)
	}
	return webhook.SigMismatch
}

// maxHandshake bounds the unverified body that is looked at for its kind, or for the
// URL that was signed, so that the time of the answer does not tell an install from
// none.
const maxHandshake = 4 << 10

// unsignedHandshake reports whether the body of a request without a signature is
// a handshake, which a vendor signs like anything else. Only the record is named
// after it.
func (c *call) unsignedHandshake() bool {
	if len(c.r.Input.Body) > maxHandshake {
		return false
	}
	all, err := c.entry.Adapter.Parse(c.r.Input)
	return err == nil && len(all) > 0 && all[0].Kind == channel.Handshake
}

// signedByRetired reports whether a value signed the request that was replaced
// and verifies no more. It changes nothing but the record: somebody has to be
// told that the vendor was not given the new one.
func (c *call) signedByRetired(ctx context.Context, in webhook.Input) bool {
	if in.Config = c.inst.Retired(c.r.Now); in.Config != nil && !c.entry.Scheme.NeedsSecret() {
		_, refusal := webhook.Verify(c.entry.Scheme, in, nil, c.r.Now)
		return refusal == nil
	}
	in.Config = c.inst.Config
	ended := func(s install.Secret) bool {
		return s.Name == c.entry.VerifySecret && !s.RetireAt.IsZero() && !c.r.Now.Before(s.RetireAt)
	}
	if !slices.ContainsFunc(c.inst.Secrets, ended) {
		return false
	}
	values, _ := c.d.Secrets.Retired(ctx, c.cred, c.entry.VerifySecret)
	if len(values) == 0 {
		return false
	}
	_, refusal := webhook.Verify(c.entry.Scheme, in, values, c.r.Now)
	return refusal == nil
}

// dispatch handles a verified request.
func (c *call) dispatch(ctx context.Context) Response {
	all, err := c.parse()
	if err != nil || len(all) == 0 {
		return c.end(ctx, webhook.BadPayload, session.Refused)
	}
	if all[0].Kind == channel.Handshake {
		c.in.Ack = all[0].Ack
		return c.challenge(ctx, all[0].Challenge)
	}
	if c.inst.Mode == install.App {
		return c.ofApp(ctx, all)
	}
	for _, c.in = range all {
		if !c.entry.SameTenant(c.inst.Config, c.in.Identity) {
			return c.end(ctx, webhook.TenantMismatch, session.Refused)
		}
	}
	var resp Response
	enough, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for _, c.in = range all {
		if enough.Err() != nil {
			return c.later(ctx)
		}
		if resp = c.one(ctx); resp.Status != http.StatusOK {
			return resp
		}
	}
	return resp
}

// one handles one event of the request.
func (c *call) one(ctx context.Context) Response {
	if c.inst.State != install.Active {
		return c.end(ctx, webhook.NotDispatched, session.Ignored)
	}
	_, tenant := c.entry.Claimed(c.inst.Config)
	job := session.Job{Org: c.inst.Org, Install: c.inst.ID, EventID: c.in.Envelope.EventID, Tenant: tenant,
		Identity: c.in.Identity, Envelope: c.in.Envelope, ReceivedAt: c.r.Now.UTC(), RequestID: c.r.RequestID}
	if job.Envelope.Integrity = channel.ByChannel; c.result.BodySigned {
		job.Envelope.Integrity = channel.Signed
	}
	kind := c.in.Kind
	if kind == channel.Ignored && c.in.Reason == channel.BotIgnored && c.inst.Policy.Admits(c.in.Envelope) {
		kind = channel.Message
	}
	switch kind {
	case channel.Renamed:
		return c.renamed(ctx)
	case channel.Revoked:
		job.Kind = session.JobRevoked
	case channel.Message:
		b, ok := install.Match(c.binds, c.in.Envelope)
		if !ok {
			return c.end(ctx, webhook.Unbound, session.Unbound)
		}
		job.Kind, job.AgentID, job.PersonaID = session.JobMessage, b.AgentID, b.PersonaID
	case channel.Pressed:
		return c.pressed(ctx, job)
	default:
		return c.end(ctx, c.in.Reason, session.Ignored)
	}
	return c.enqueue(ctx, job)
}

// enqueue makes the event durable exactly once as far as anybody can tell: the
// queue drops a second message of one event, and so does the turn's claim.
func (c *call) enqueue(ctx context.Context, job session.Job) Response {
	e := c.in.Envelope
	key := c.key()
	receipt, err, lost := c.receive(ctx, key, &job.Envelope)
	switch {
	case err != nil:
		return c.end(ctx, webhook.DedupeUnavailable, session.Failed)
	case receipt.Enqueued && receipt.EventID == e.EventID:
		return c.end(ctx, webhook.Duplicate, session.Duplicated)
	case receipt.Enqueued:
		return c.end(ctx, webhook.DuplicateContent, session.Duplicated)
	case lost != nil:
		return c.end(ctx, webhook.PersonUnavailable, session.Failed)
	}
	job.EventID = receipt.EventID
	body, err := job.Encode()
	if err != nil {
		return c.end(ctx, webhook.TooLarge, session.Refused)
	}
	if err := c.d.Queue.Send(ctx, job.Key().Hash(), session.QueueID(c.inst.ID, receipt.EventID), body); err != nil {
		return c.end(ctx, webhook.EnqueueFailed, session.Failed)
	}
	d := c.delivery(webhook.Accepted, session.Enqueued)
	if job.Kind == session.JobMessage {
		d.TurnID = session.TurnID(c.inst.ID, job.EventID)
	}
	if err := c.d.Dedupe.Queued(ctx, key, receipt, d); err != nil {
		// Already queued; the retry that this asks for only repairs the mark.
		return c.end(ctx, webhook.DedupeUnavailable, session.Failed)
	}
	return c.tell(ctx, webhook.Accepted, http.StatusOK, 0)
}
