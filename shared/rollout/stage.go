package rollout

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Stages of a subject.
const (
	Off    = taxonomy.RolloutOff
	Canary = taxonomy.RolloutCanary
	On     = taxonomy.RolloutOn
)

// Subjects that are no channel.
const (
	// AIConnections is organisations' own keys for models and speech.
	AIConnections = "ai_connections"
	// CreditLedger is the cutover of organisations from their legacy counter.
	CreditLedger = "credit_ledger"
)

// Bounds of a record.
const (
	// MaxCanary bounds the organisations of a canary.
	MaxCanary = 50
	maxReason = 200
)

// Record is the stage of a subject. Version is 0 where nobody has set one: then it
// is the default of this build.
type Record struct {
	Subject string
	Stage   taxonomy.RolloutStage
	// Orgs are the organisations of the canary, sorted; they stay known while the
	// subject is on, so that a rollback finds them.
	Orgs    []string
	Reason  string // of the last rollback
	By      string // actor of the last change
	At      time.Time
	Version int64
}

// Store keeps records. A write puts its audit row in the same transaction.
type Store interface {
	// Stage reads consistently; a record of version 0 if none is stored.
	Stage(ctx context.Context, subject string) (Record, error)
	// Stages reads all that are stored.
	Stages(ctx context.Context) ([]Record, error)
	// PutStage stores next as version seen+1, else conflict.
	PutStage(ctx context.Context, next Record, seen int64, row audit.Row) error
}

// Orgs finds organisations.
type Orgs interface {
	// Org fails with not_found.
	Org(ctx context.Context, id string) (org.Org, error)
}

// Service carries the rules of stages. It is safe for concurrent use.
type Service struct {
	Store Store
	// Matrix is what promotes a channel to everybody; the zero File promotes none.
	Matrix File
	// Channels are those that this build can install.
	Channels []taxonomy.Channel
	Orgs     Orgs
	// Proof is what promotes the subjects that are no channel.
	Proof Proof
}

// Proof says of one organisation of a canary why it does not show that a subject
// works; empty if it does.
type Proof interface {
	Shows(ctx context.Context, subject, org string) (why string, err error)
}

func invalid(param, message string) error {
	return fault.New(fault.InvalidRequest, "rollout", message).WithParam(param)
}

func conflict(message string) error { return fault.New(fault.Conflict, "rollout", message) }

// Subjects lists every subject by name.
func (s *Service) Subjects() []string {
	out := []string{AIConnections, CreditLedger}
	for _, c := range s.Channels {
		out = append(out, string(c))
	}
	slices.Sort(out)
	return out
}

// IsChannel reports whether a subject is a channel of this build.
func (s *Service) IsChannel(subject string) bool {
	return slices.Contains(s.Channels, taxonomy.Channel(subject))
}

// resolve gives a subject that nobody has set its default: what worked before there
// were stages is on, a channel only if its column is green.
func (s *Service) resolve(r Record) Record {
	if r.Version > 0 {
		return r
	}
	if r.Stage = On; s.IsChannel(r.Subject) && s.Matrix.Promotable(taxonomy.Channel(r.Subject)) != nil {
		r.Stage = Off
	}
	return r
}

// Get reads one subject. Errors: not_found, unavailable.
func (s *Service) Get(ctx context.Context, subject string) (Record, error) {
	if !slices.Contains(s.Subjects(), subject) {
		return Record{}, fault.New(fault.NotFound, "rollout.Get", "there is no such subject; GET /api/rollout lists them")
	}
	r, err := s.Store.Stage(ctx, subject)
	return s.resolve(r), err
}

// List reads all subjects, by name.
func (s *Service) List(ctx context.Context) ([]Record, error) {
	stored, err := s.Store.Stages(ctx)
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, subject := range s.Subjects() {
		r := Record{Subject: subject}
		if k := slices.IndexFunc(stored, func(o Record) bool { return o.Subject == subject }); k >= 0 {
			r = stored[k]
		}
		out = append(out, s.resolve(r))
	}
	return out, nil
}

// Admits reports whether the stage is for an organisation. A channel that is on is
// for everybody only as long as its column is green in this build; the operator's own
// apps belong to all organisations of a stage.
func (s *Service) Admits(r Record, orgID string) bool {
	switch {
	case r.Stage != Canary && r.Stage != On:
		return false
	case orgID == org.Operator || slices.Contains(r.Orgs, orgID):
		return true
	}
	return r.Stage == On && (!s.IsChannel(r.Subject) || s.Matrix.Promotable(taxonomy.Channel(r.Subject)) == nil)
}

// Admit returns nil if a subject's stage is for an organisation, else conflict.
// Errors: not_found for what is no subject, unavailable.
func (s *Service) Admit(ctx context.Context, subject, orgID string) error {
	r, err := s.Get(ctx, subject)
	if err != nil || s.Admits(r, orgID) {
		return err
	}
	why := "is off"
	switch r.Stage {
	case Canary:
		why = "is tried with some organisations, and this one is not among them"
	case On:
		why = "is on, but its security matrix is not green in this build"
	}
	return conflict(subject + " " + why + "; the operator rolls it out: lk rollout promote " + subject)
}

// Promotion is a step forward.
type Promotion struct {
	Subject string
	Stage   taxonomy.RolloutStage
	Orgs    []string
	// Version is the version that was seen; nil to take any.
	Version *int64
}

// Promote brings a subject to canary, changes the organisations of its canary, or
// brings it to on, which it must reach from canary and with proof: for a channel a
// green column, for others [Proof] of every organisation of the canary. What is so
// already is not written again. It returns the record before and after. Errors:
// invalid_request, not_found, conflict with what stands in the way, unavailable.
func (s *Service) Promote(ctx context.Context, op audit.Op, p Promotion) (before, after Record, err error) {
	if before, err = s.seen(ctx, p.Subject, p.Version); err != nil {
		return before, before, err
	}
	after = before
	switch p.Stage {
	case Canary:
		if before.Stage == On {
			if len(before.Orgs) == 0 {
				return before, before, conflict("it is on without a canary; roll it back to off, then promote it to canary: what is active goes on")
			}
			return before, before, conflict("it is on; roll it back to canary")
		}
		if after.Orgs, err = s.canary(ctx, p.Orgs, before.Orgs); err != nil {
			return before, before, err
		}
	case On:
		if len(p.Orgs) > 0 {
			return before, before, invalid("org_ids", "on is for every organisation; leave org_ids out")
		}
		if before.Stage == Off {
			return before, before, conflict("on comes after canary: promote it to canary with organisations first")
		}
		if before.Stage == Canary {
			if err := s.proven(ctx, before); err != nil {
				return before, before, err
			}
		}
	default:
		return before, before, invalid("stage", "stage is canary or on; a rollback leads to off")
	}
	after.Stage, after.Reason = p.Stage, ""
	if after.Stage == before.Stage && slices.Equal(after.Orgs, before.Orgs) {
		return before, before, nil
	}
	after, err = s.put(ctx, op, "rollout.promote", before, after)
	return before, after, err
}

// canary checks the organisations of a canary: those that were in it already are
// not looked up again.
func (s *Service) canary(ctx context.Context, ids, known []string) ([]string, error) {
	out := slices.Clone(ids)
	slices.Sort(out)
	if len(out) < 1 || len(out) > MaxCanary || len(slices.Compact(slices.Clone(out))) != len(out) {
		return nil, invalid("org_ids", "a canary has 1 to 50 organisations, each once")
	}
	for _, id := range out {
		if slices.Contains(known, id) {
			continue
		}
		missing := invalid("org_ids", "org_ids names an organisation that does not exist")
		if org.CheckID(id) != nil {
			return nil, missing
		}
		_, err := s.Orgs.Org(ctx, id)
		switch {
		case fault.CodeOf(err) == fault.NotFound:
			return nil, missing
		case err != nil:
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) proven(ctx context.Context, r Record) error {
	if s.IsChannel(r.Subject) {
		return s.Matrix.Promotable(taxonomy.Channel(r.Subject))
	}
	var missing []string
	for _, id := range r.Orgs {
		why, err := s.Proof.Shows(ctx, r.Subject, id)
		if err != nil {
			return err
		}
		if why != "" {
			missing = append(missing, id+" "+why)
		}
	}
	const shown = 5
	if len(missing) == 0 && len(r.Orgs) > 0 {
		return nil
	}
	return conflict("the canary does not show yet that this works: " + strings.Join(missing[:min(len(missing), shown)], "; "))
}

// Retreat is a step back.
type Retreat struct {
	Subject string
	Reason  string
	// To is off or canary; empty is the stage before.
	To      taxonomy.RolloutStage
	Version *int64
}

// Rollback takes a subject to the stage before, or to the one that is named: from on
// to its canary, or to off if it had none; from canary to off. Off stays off, and a
// stage that is named and there already stays, so both may be repeated. Errors:
// invalid_request, not_found, conflict, unavailable.
func (s *Service) Rollback(ctx context.Context, op audit.Op, r Retreat) (before, after Record, err error) {
	reason := strings.TrimSpace(r.Reason)
	if reason == "" || len(reason) > maxReason || !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return before, before, invalid("reason", "say why, in at most 200 bytes of plain text")
	}
	if before, err = s.seen(ctx, r.Subject, r.Version); err != nil {
		return before, before, err
	}
	to := r.To
	switch {
	case to == "" && before.Stage == On && len(before.Orgs) > 0:
		to = Canary
	case to == "":
		to = Off
	case to != Off && to != Canary:
		return before, before, invalid("to", "to is off or canary")
	}
	switch {
	case to == before.Stage:
		return before, before, nil
	case to == Canary && before.Stage == Off:
		return before, before, conflict("it is off; promote it to canary")
	case to == Canary && len(before.Orgs) == 0:
		return before, before, conflict("it had no canary to go back to; roll it back to off")
	}
	after = before
	if after.Stage, after.Reason = to, reason; to == Off {
		after.Orgs = nil
	}
	after, err = s.put(ctx, op, "rollout.rollback", before, after)
	return before, after, err
}

func (s *Service) seen(ctx context.Context, subject string, version *int64) (Record, error) {
	r, err := s.Get(ctx, subject)
	if err == nil && version != nil && *version != r.Version {
		return r, fault.New(fault.Conflict, "rollout", "the stage was changed meanwhile; read it again").WithParam("version")
	}
	return r, err
}

func (s *Service) put(ctx context.Context, op audit.Op, action string, before, after Record) (Record, error) {
	after.By, after.At, after.Version = op.Actor, op.At.UTC().Truncate(time.Millisecond), before.Version+1
	row := op.Row(org.Operator, action, after.Subject, "state", string(after.Stage), "changed", string(before.Stage)+" to "+string(after.Stage),
		"org_ids", strings.Join(after.Orgs, " "), "reason", after.Reason)
	if err := s.Store.PutStage(ctx, after, before.Version, row); err != nil {
		return before, err
	}
	return after, nil
}

// Undo is the commands that take a change back, without the name of the tool. A
// subject that had no canary before it was on needs one to come back.
func Undo(before, after Record) []string {
	if before.Stage == after.Stage && slices.Equal(before.Orgs, after.Orgs) {
		return nil
	}
	back := "rollout rollback " + after.Subject + " --reason WHY"
	canary := func(orgs []string) string {
		if len(orgs) == 0 {
			orgs = []string{"ORG"}
		}
		return "rollout promote " + after.Subject + " --stage canary --org-ids " + strings.Join(orgs, ",")
	}
	on := "rollout promote " + after.Subject + " --stage on"
	switch {
	case before.Stage == Off:
		return []string{back + " --to off"}
	case before.Stage == Canary && after.Stage == On:
		return []string{back + " --to canary"}
	case before.Stage == Canary:
		return []string{canary(before.Orgs)}
	case after.Stage == Canary: // from on
		return []string{on}
	}
	return []string{canary(before.Orgs), on}
}
