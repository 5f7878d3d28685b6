package dynamo

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Rollouts implements [rollout.Store] on the config table: one item per subject, in
// one partition. Safe for concurrent use.
type Rollouts struct{ db *DB }

var _ rollout.Store = Rollouts{}

// Rollouts returns the store of stages.
func (db *DB) Rollouts() Rollouts { return Rollouts{db} }

// aStage is the attribute of a stage.
const aStage = "stage"

// decodeStage gives a record of version 0 for an absent item. A stage that is none is
// an error, so that nothing is admitted by it.
func decodeStage(subject string, it item) (rollout.Record, error) {
	out := rollout.Record{Subject: subject}
	if it == nil {
		return out, nil
	}
	outer := read(it)
	out.Version = outer.num("v")
	r := read(outer.sub(aStage))
	out.Stage, out.Reason, out.By, out.At = taxonomy.RolloutStage(r.str("st")), r.str("why"), r.str("by"), r.time("at")
	if orgs := r.strs("orgs"); len(orgs) > 0 {
		out.Orgs = orgs
	}
	if err := errors.Join(outer.err, r.err); err != nil {
		return out, err
	}
	if out.Version < 1 || out.Stage != rollout.Off && out.Stage != rollout.Canary && out.Stage != rollout.On {
		return out, errors.New("no stage")
	}
	return out, nil
}

// Stage implements [rollout.Store].
func (s Rollouts) Stage(ctx context.Context, subject string) (rollout.Record, error) {
	const op = "dynamo.Stage"
	if !table.ValidID(subject) {
		return rollout.Record{}, fault.New(fault.NotFound, op, "there is no such subject")
	}
	it, err := s.db.get(ctx, table.Config, table.Rollout(subject), true)
	if err != nil {
		return rollout.Record{}, configDown(op, err)
	}
	r, err := decodeStage(subject, it)
	if err != nil {
		return rollout.Record{}, storedBadly(op, err)
	}
	return r, nil
}

// Stages implements [rollout.Store].
func (s Rollouts) Stages(ctx context.Context) ([]rollout.Record, error) {
	const op = "dynamo.Stages"
	items, err := s.db.query(ctx, query{role: table.Config, pk: table.Rollout("").PK, consistent: true})
	if err != nil {
		return nil, configDown(op, err)
	}
	var out []rollout.Record
	for _, it := range items {
		r, err := decodeStage(read(it).str(table.SK), it)
		if err != nil {
			return nil, storedBadly(op, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// PutStage implements [rollout.Store].
func (s Rollouts) PutStage(ctx context.Context, next rollout.Record, seen int64, row audit.Row) error {
	return s.db.setVersioned(ctx, "dynamo.PutStage", table.Rollout(next.Subject), aStage, mapping(item{
		"st": str(string(next.Stage)), "orgs": strs(next.Orgs), "why": str(next.Reason), "by": str(next.By), "at": millis(next.At)}), seen, row)
}
