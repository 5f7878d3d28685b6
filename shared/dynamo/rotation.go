package dynamo

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/rotation"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Rotations implements [rotation.Store]. Jobs and slots share one partition of
// the vault table, so that a role can be let to them alone.
type Rotations struct{ db *DB }

// Rotations returns the store of vault jobs.
func (db *DB) Rotations() Rotations { return Rotations{db} }

// rotationOpen begins the sort keys of slots, which lie behind those of jobs.
const rotationOpen = "OPEN#"

// Job implements [rotation.Store].
func (s Rotations) Job(ctx context.Context, id string) (rotation.Job, error) {
	it, err := s.db.get(ctx, table.Vault, table.Rotation(id), true)
	if err != nil {
		return rotation.Job{}, err
	}
	if it == nil {
		return rotation.Job{}, rotation.ErrAbsent
	}
	return decodeRotation(it)
}

// Jobs implements [rotation.Store].
func (s Rotations) Jobs(ctx context.Context, after string, limit int) ([]rotation.Job, string, error) {
	before := table.Rotation("~")
	if after != "" {
		before = table.Rotation(after)
	}
	out, err := s.db.api.Query(ctx, &dynamodb.QueryInput{
		TableName:                 s.db.name(table.Vault),
		KeyConditionExpression:    aws.String("#pk = :pk AND #sk < :before"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK, "#sk": table.SK},
		ExpressionAttributeValues: item{":pk": str(before.PK), ":before": str(before.SK)},
		ScanIndexForward:          aws.Bool(false), Limit: aws.Int32(int32(limit) + 1), ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		return nil, "", err
	}
	var jobs []rotation.Job
	for _, it := range out.Items {
		if len(jobs) == limit {
			return jobs, jobs[limit-1].ID, nil
		}
		j, err := decodeRotation(it)
		if err != nil {
			return nil, "", err
		}
		jobs = append(jobs, j)
	}
	return jobs, "", nil
}

// Open implements [rotation.Store].
func (s Rotations) Open(ctx context.Context) (map[string]string, error) {
	items, err := s.db.query(ctx, query{role: table.Vault, pk: table.RotationSlot("").PK, prefix: rotationOpen, consistent: true})
	if err != nil {
		return nil, err
	}
	open := map[string]string{}
	for _, it := range items {
		r := read(it)
		slot, _ := strings.CutPrefix(r.str(table.SK), rotationOpen)
		open[slot] = r.str("job")
		if r.err != nil {
			return nil, r.err
		}
	}
	return open, nil
}

// Write implements [rotation.Store].
func (s Rotations) Write(ctx context.Context, w rotation.Write) error {
	actions := []types.TransactWriteItem{s.jobPut(w.Job)}
	lost := []error{rotation.ErrLost}
	if w.Slot != rotation.KeepSlot {
		actions, lost = append(actions, s.slot(w)), append(lost, rotation.ErrTaken)
	}
	if w.Ring != nil {
		actions, lost = append(actions, s.db.ringPut(*w.Ring)), append(lost, vault.ErrRing)
	}
	if len(actions) == 1 && w.Audit == nil {
		put := actions[0].Put
		_, err := s.db.api.PutItem(ctx, &dynamodb.PutItemInput{TableName: put.TableName, Item: put.Item, ConditionExpression: put.ConditionExpression,
			ExpressionAttributeNames: put.ExpressionAttributeNames, ExpressionAttributeValues: put.ExpressionAttributeValues})
		if _, failed := conditionFailed(err); failed {
			return rotation.ErrLost
		}
		return err
	}
	which := func(reasons []types.CancellationReason) error {
		for i, r := range reasons {
			if lostCondition(r) && i < len(lost) {
				return lost[i]
			}
		}
		return nil
	}
	if w.Audit != nil {
		reasons, err := s.db.commitWithAudit(ctx, "dynamo.Rotations", *w.Audit, actions...)
		if lost := which(reasons); lost != nil {
			return lost
		}
		return err
	}
	for try := 0; ; try++ {
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: actions})
		if err == nil {
			return nil
		}
		reasons := cancellation(err)
		if lost := which(reasons); lost != nil {
			return lost
		}
		busy := slices.ContainsFunc(reasons, func(r types.CancellationReason) bool { return aws.ToString(r.Code) == reasonConflict })
		if !busy || try+1 >= vaultTries {
			return err
		}
		if err := backoff(ctx, try); err != nil {
			return err
		}
	}
}

func (s Rotations) jobPut(j rotation.Job) types.TransactWriteItem {
	put := &types.Put{TableName: s.db.name(table.Vault), Item: encodeRotation(j),
		ConditionExpression: aws.String("attribute_not_exists(#pk)"), ExpressionAttributeNames: map[string]string{"#pk": table.PK}}
	if j.Rev > 1 {
		put.ConditionExpression = aws.String("#rev = :rev")
		put.ExpressionAttributeNames = map[string]string{"#rev": "rev"}
		put.ExpressionAttributeValues = item{":rev": num(j.Rev - 1)}
	}
	return types.TransactWriteItem{Put: put}
}

func (s Rotations) slot(w rotation.Write) types.TransactWriteItem {
	key := keyItem(table.RotationSlot(w.Job.Kind.Slot()))
	condition := aws.String("attribute_not_exists(#pk) OR #job = :job OR #job = :over")
	names := map[string]string{"#pk": table.PK, "#job": "job"}
	over := w.Over
	if over == "" {
		over = w.Job.ID
	}
	values := item{":job": str(w.Job.ID), ":over": str(over)}
	if w.Slot == rotation.FreeSlot {
		return types.TransactWriteItem{Delete: &types.Delete{TableName: s.db.name(table.Vault), Key: key,
			ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}}
	}
	key["job"] = str(w.Job.ID)
	return types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Vault), Item: key,
		ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}}
}

func encodeRotation(j rotation.Job) item {
	it := keyItem(table.Rotation(j.ID))
	failures := make([]types.AttributeValue, len(j.Failures))
	for i, f := range j.Failures {
		failures[i] = mapping(item{"org": str(f.Org), "cls": str(string(f.Class)), "cred": str(f.Credential), "v": num(int64(f.Version)),
			"n": str(f.Field), "reason": str(string(f.Reason))})
	}
	for name, v := range map[string]types.AttributeValue{
		"id": str(j.ID), "kind": str(string(j.Kind)), "org": str(j.Org), "from": str(j.From), "to": str(j.To), "km": str(j.Material),
		"epoch": num(j.Epoch), "state": str(string(j.State)), "reversed": boolean(j.Reversed), "pass": num(int64(j.Pass)), "cursor": str(j.Cursor),
		"touched": boolean(j.Touched), "rate": num(int64(j.Rate)), "done": num(j.Done), "skipped": num(j.Skipped), "mended": num(j.Mended),
		"failed": num(j.FailedCount), "failures": list(failures...), "reason": str(j.Reason), "lease_owner": str(j.LeaseOwner),
		"lease_until": millis(j.LeaseUntil), "attempts": num(int64(j.Attempts)), "created_by": str(j.CreatedBy), "created_at": millis(j.CreatedAt),
		"updated_at": millis(j.UpdatedAt), "ended_at": millis(j.EndedAt), "rev": num(j.Rev),
	} {
		it[name] = v
	}
	return it
}

func decodeRotation(it item) (rotation.Job, error) {
	r := read(it)
	j := rotation.Job{
		ID: r.str("id"), Kind: rotation.Kind(r.str("kind")), Org: r.str("org"), From: r.str("from"), To: r.str("to"), Material: r.str("km"),
		Epoch: r.num("epoch"), State: rotation.State(r.str("state")), Reversed: r.bool("reversed"), Pass: int(r.num("pass")), Cursor: r.str("cursor"),
		Touched: r.bool("touched"), Rate: int(r.num("rate")), Done: r.num("done"), Skipped: r.num("skipped"), Mended: r.num("mended"),
		FailedCount: r.num("failed"), Reason: r.str("reason"), LeaseOwner: r.str("lease_owner"), LeaseUntil: r.time("lease_until"),
		Attempts: int(r.num("attempts")), CreatedBy: r.str("created_by"), CreatedAt: r.time("created_at"), UpdatedAt: r.time("updated_at"),
		EndedAt: r.time("ended_at"), Rev: r.num("rev"),
	}
	for _, e := range r.list("failures") {
		f := vaultElement(r, "failures", e)
		j.Failures = append(j.Failures, rotation.Failure{Org: f.str("org"), Class: taxonomy.CredentialClass(f.str("cls")), Credential: f.str("cred"),
			Version: int(f.num("v")), Field: f.str("n"), Reason: vault.Reason(f.str("reason"))})
		vaultAdopt(r, f)
	}
	if r.err == nil && (j.ID == "" || j.Rev <= 0 || j.Kind.Slot() == "") {
		r.fail("id")
	}
	return j, r.err
}
