package dynamo

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/table"
)

func decodeTurn(it item) (session.Turn, error) {
	r := read(it)
	t := session.Turn{Org: r.str("org"), ID: r.str("id"), Install: r.str("inst"), EventID: r.str("ev"), Session: r.str("sess"), AgentID: r.str("agent"),
		PersonaID: r.str("pers"), State: session.TurnState(r.str("st")), Code: r.str("code"), Notice: r.str("why"), Attempts: r.num("att"), Fence: r.num("fc"),
		RequestIDs: r.strs("reqs"), Receipt: r.bin("rcpt"), Committed: r.bool("cm"), Appended: r.bool("app"), Planned: r.bool("plan"),
		Heard: r.str("hd"), HeardReceipt: r.bin("hdrc"),
		CreatedAt: r.time("at"), UpdatedAt: r.time("mod")}
	if t.Planned && t.State == session.TurnRunning {
		t.State = session.TurnAnswered
	}
	return t, r.err
}

func decodePart(it item) (session.Part, error) {
	r := read(it)
	return session.Part{Part: int(r.num("n")), State: session.PartState(r.str("st")), ProviderMessageID: r.str("pid"), Code: r.str("code"),
		Text: r.str("text"), Format: r.str("form"), Voice: r.str("vc"), Spoken: r.str("say"), Ask: r.str("ask"), Receipt: r.bin("rcpt"), Fence: r.num("fc")}, r.err
}

func partItem(p session.Part) item {
	it := item{"n": num(int64(p.Part)), "st": str(string(p.State)), "pid": str(p.ProviderMessageID), "code": str(p.Code), "text": str(p.Text), "form": str(p.Format), "fc": num(p.Fence)}
	if p.Ask != "" {
		it["ask"] = str(p.Ask)
	}
	if p.Voice != "" {
		it["vc"], it["say"] = str(p.Voice), str(p.Spoken)
	}
	return it
}

// storedState keeps the state that a part of the answer adds out of the table:
// answered is running with a plan.
func storedState(s session.TurnState) string {
	if s == session.TurnAnswered {
		s = session.TurnRunning
	}
	return string(s)
}

// Claim implements [session.Turns].
func (s Sessions) Claim(ctx context.Context, c session.Claim) (session.Turn, []session.Part, time.Duration, error) {
	const op = "dynamo.Claim"
	t := c.Turn
	out, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Turn(t.Org, t.ID)),
		UpdateExpression: aws.String("SET #org = :org, #id = :id, #inst = :inst, #ev = :ev, #sess = :sess, #agent = :agent, #pers = :pers, " +
			"#at = if_not_exists(#at, :now), #mod = :now, #st = :running, #dlv = :dlv, #rcv = :rcv, #own = :own, #lease = :lease ADD #att :one, #fc :one"),
		// A final turn is never claimed. A later reception of the same message
		// proves that the earlier invocation lost it; any other claimer waits for
		// the lease.
		ConditionExpression: aws.String("attribute_not_exists(#pk) OR (NOT #st IN (:done, :ended) AND " +
			"(#st = :waiting OR #lease <= :now OR #own = :own OR (#dlv = :dlv AND #rcv < :rcv)))"),
		ExpressionAttributeNames: map[string]string{"#pk": table.PK, "#org": "org", "#id": "id", "#inst": "inst", "#ev": "ev", "#sess": "sess", "#agent": "agent",
			"#pers": "pers", "#at": "at", "#mod": "mod", "#st": "st", "#dlv": "dlv", "#rcv": "rcv", "#own": "own", "#lease": "lease", "#att": "att", "#fc": "fc"},
		ExpressionAttributeValues: item{":org": str(t.Org), ":id": str(t.ID), ":inst": str(t.Install), ":ev": str(t.EventID), ":sess": str(t.Session),
			":agent": str(t.AgentID), ":pers": str(t.PersonaID), ":now": millis(c.Now), ":running": str(string(session.TurnRunning)),
			":done": str(string(session.TurnDone)), ":ended": str(string(session.TurnEnded)), ":waiting": str(string(session.TurnWaiting)),
			":dlv": str(c.Delivery), ":rcv": num(c.Receive), ":own": str(c.Owner), ":lease": millis(c.Now.Add(c.Lease)), ":one": num(1)},
		ReturnValues:                        types.ReturnValueAllNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	})
	it, lost := conditionFailed(err)
	switch {
	case err != nil && !lost:
		return session.Turn{}, nil, 0, sessionsDown(op, err)
	case err == nil:
		it = out.Attributes
	}
	got, err := decodeTurn(it)
	if err != nil {
		return session.Turn{}, nil, 0, storedBadly(op, err)
	}
	if lost && !got.State.Final() {
		return got, nil, max(read(it).time("lease").Sub(c.Now), time.Second), nil
	}
	if !got.Planned && got.Attempts <= 1 {
		return got, nil, 0, nil
	}
	whole, parts, err := s.Turn(ctx, t.Org, t.ID)
	got.Steps = whole.Steps
	return got, parts, 0, err
}

// Turn implements [session.Reader].
func (s Sessions) Turn(ctx context.Context, org, id string) (session.Turn, []session.Part, error) {
	const op = "dynamo.Turn"
	missing := fault.New(fault.NotFound, op, "there is no such turn")
	if !table.ValidID(id) {
		return session.Turn{}, nil, missing
	}
	items, err := s.db.query(ctx, query{role: table.Sessions, pk: table.Turn(org, id).PK, consistent: true})
	if err != nil {
		return session.Turn{}, nil, sessionsDown(op, err)
	}
	var t session.Turn
	var parts []session.Part
	var steps []session.Step
	for _, it := range items {
		switch sk := read(it).str(table.SK); {
		case sk == table.Turn(org, id).SK:
			t, err = decodeTurn(it)
		case strings.HasPrefix(sk, stepPrefix):
			var st session.Step
			st, err = decodeStep(it)
			steps = append(steps, st)
		default:
			var p session.Part
			p, err = decodePart(it)
			parts = append(parts, p)
		}
		if err != nil {
			return session.Turn{}, nil, storedBadly(op, err)
		}
	}
	if t.ID == "" {
		return session.Turn{}, nil, missing
	}
	t.Steps = steps
	return t, parts, nil
}

// fenceCheck serves conditions on a turn's fence.
func fenceCheck(t session.Turn) (names map[string]string, values item) {
	return map[string]string{"#fc": "fc"}, item{":fc": num(t.Fence)}
}

// Note implements [session.Turns].
func (s Sessions) Note(ctx context.Context, t session.Turn, now time.Time) error {
	names, values := fenceCheck(t)
	names["#st"], names["#code"], names["#reqs"], names["#cm"], names["#mod"] = "st", "code", "reqs", "cm", "mod"
	values[":st"], values[":code"], values[":reqs"], values[":cm"], values[":mod"] = str(storedState(t.State)), str(t.Code), strs(t.RequestIDs), boolean(t.Committed), millis(now)
	_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Turn(t.Org, t.ID)),
		UpdateExpression:         aws.String("SET #st = :st, #code = :code, #reqs = :reqs, #cm = :cm, #mod = :mod"),
		ConditionExpression:      aws.String("#fc = :fc"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	})
	return fencedOr("dynamo.Note", err)
}

// fencedOr maps a lost condition to [session.ErrFenced].
func fencedOr(op string, err error) error {
	if _, lost := conditionFailed(err); lost {
		return session.ErrFenced
	}
	if err != nil {
		return sessionsDown(op, err)
	}
	return nil
}

// Append implements [session.Transcript].
func (s Sessions) Append(ctx context.Context, t session.Turn, m session.Message) error {
	if t.Appended {
		return nil
	}
	names, values := fenceCheck(t)
	names["#app"], values[":yes"] = "app", boolean(true)
	set := "SET #app = :yes"
	if t.Heard != "" {
		names["#hd"], names["#hdrc"], names["#reqs"] = "hd", "hdrc", "reqs"
		values[":hd"], values[":hdrc"], values[":reqs"] = str(t.Heard), bin(append([]byte{}, t.HeardReceipt...)), strs(t.RequestIDs)
		set += ", #hd = :hd, #hdrc = :hdrc, #reqs = :reqs"
	}
	mark := types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Turn(t.Org, t.ID)),
		UpdateExpression:         aws.String(set),
		ConditionExpression:      aws.String("#fc = :fc AND attribute_not_exists(#app)"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
	old, err := s.commitMessage(ctx, "dynamo.Append", t, &m, mark)
	if err == session.ErrFenced && read(old).num("fc") == t.Fence && read(old).bool("app") {
		return nil
	}
	return err
}

// planning are the writes of a plan; the first is conditional on the turn.
func (s Sessions) planning(t session.Turn, parts []session.Part, now time.Time) []types.TransactWriteItem {
	names, values := fenceCheck(t)
	names["#plan"], names["#st"], names["#code"], names["#rcpt"], names["#reqs"], names["#cm"], names["#mod"] = "plan", "st", "code", "rcpt", "reqs", "cm", "mod"
	values[":yes"], values[":st"], values[":code"], values[":reqs"], values[":cm"], values[":mod"] =
		boolean(true), str(string(session.TurnRunning)), str(t.Code), strs(t.RequestIDs), boolean(t.Committed), millis(now)
	names["#why"], values[":why"] = "why", str(t.Notice)
	values[":rcpt"] = bin(append([]byte{}, t.Receipt...)) // a nil slice is no binary
	actions := []types.TransactWriteItem{{Update: &types.Update{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Turn(t.Org, t.ID)),
		UpdateExpression:         aws.String("SET #plan = :yes, #st = :st, #code = :code, #rcpt = :rcpt, #reqs = :reqs, #cm = :cm, #mod = :mod, #why = :why"),
		ConditionExpression:      aws.String("#fc = :fc AND attribute_not_exists(#plan)"),
		ExpressionAttributeNames: names, ExpressionAttributeValues: values,
	}}}
	for _, p := range parts {
		actions = append(actions, s.db.putNew(table.Sessions, table.Outbox(t.Org, t.ID, p.Part), partItem(p)))
	}
	return actions
}

// Plan implements [session.Turns].
func (s Sessions) Plan(ctx context.Context, t session.Turn, parts []session.Part, m session.Message, now time.Time) error {
	actions := s.planning(t, parts, now)
	message := &m
	if m.Text == "" {
		message = nil
	}
	_, err := s.commitMessage(ctx, "dynamo.Plan", t, message, actions...)
	return err
}

// commitMessage writes actions, whose first one is conditional on the turn, and
// one more message of the session. A lost first condition is [session.ErrFenced]
// with the turn's item; a sequence number that another writer took is retried.
func (s Sessions) commitMessage(ctx context.Context, op string, t session.Turn, m *session.Message, actions ...types.TransactWriteItem) (item, error) {
	for try := range sessionTries {
		all := actions[:len(actions):len(actions)]
		if m != nil {
			x, err := s.Session(ctx, t.Org, t.Session)
			if err != nil {
				return nil, err
			}
			if m.Role == session.Assistant && x.Handoff != nil {
				return nil, session.ErrTakenOver
			}
			m.Seq = x.Next
			all = append(all, s.nextMessage(x, m), s.db.putNew(table.Sessions, table.Message(t.Org, t.Session, m.Seq), encodeMessage(*m)))
			if h := answered(x, *m); h != nil {
				all = append(all, s.handedRow(x, *h))
			}
			if m.Shown != nil {
				if all, err = s.showing(ctx, t, *m.Shown, all); err != nil {
					return nil, err
				}
			}
		}
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: all})
		if err == nil {
			return nil, nil
		}
		reasons := cancellation(err)
		if reasons == nil {
			return nil, sessionsDown(op, err)
		}
		if aws.ToString(reasons[0].Code) == reasonCondition {
			return reasons[0].Item, session.ErrFenced
		}
		if err := backoff(ctx, try); err != nil {
			return nil, sessionsDown(op, err)
		}
	}
	return nil, fault.New(fault.Unavailable, op, "the session is busy, try again")
}

// answered is who answers in a session once a person has; nil if that is no change.
func answered(x session.Session, m session.Message) *session.Handoff {
	if m.Role != session.Human || x.Handoff == nil {
		return nil
	}
	h := *x.Handoff
	h.LastAt = m.At
	return &h
}

// nextMessage takes the next sequence number of a session.
// With a pin it becomes the session's.
func (s Sessions) nextMessage(x session.Session, m *session.Message) types.TransactWriteItem {
	pin := x.Pin
	if m.Pin != (session.Pin{}) {
		pin = m.Pin
	}
	loop := x.Loop
	if m.Loop != "" {
		loop = m.Loop
	}
	up := &types.Update{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Session(x.Org, x.ID)),
		UpdateExpression: aws.String("SET #nx = :next, #mod = :mod, #pm = :pm, #pc = :pc, #lp = :lp"), ConditionExpression: aws.String("#nx = :seen"),
		ExpressionAttributeNames:  map[string]string{"#nx": "nx", "#mod": "mod", "#pm": "pm", "#pc": "pc", "#lp": "lp"},
		ExpressionAttributeValues: item{":next": num(x.Next + 1), ":seen": num(x.Next), ":mod": millis(m.At), ":pm": str(pin.Model), ":pc": str(pin.Connection), ":lp": str(loop)},
	}
	if len(m.Way) > 0 {
		*up.UpdateExpression += ", #way = :way"
		up.ExpressionAttributeNames["#way"], up.ExpressionAttributeValues[":way"] = "way", bin(m.Way)
	}
	if h := answered(x, *m); h != nil {
		*up.UpdateExpression += ", #ho = :ho"
		up.ExpressionAttributeNames["#ho"], up.ExpressionAttributeValues[":ho"] = aHandoff, encodeHandoff(*h)
	}
	return types.TransactWriteItem{Update: up}
}

// Move implements [session.Turns].
func (s Sessions) Move(ctx context.Context, t session.Turn, from, to session.Part) error {
	const op = "dynamo.Move"
	update := &types.Update{
		TableName: s.db.name(table.Sessions), Key: keyItem(table.Outbox(t.Org, t.ID, from.Part)),
		UpdateExpression:         aws.String("SET #st = :st, #pid = :pid, #code = :code, #fc = :fc"),
		ConditionExpression:      aws.String("#st = :was AND #fc = :wasfc"),
		ExpressionAttributeNames: map[string]string{"#st": "st", "#pid": "pid", "#code": "code", "#fc": "fc"},
		ExpressionAttributeValues: item{":st": str(string(to.State)), ":pid": str(to.ProviderMessageID), ":code": str(to.Code), ":fc": num(to.Fence),
			":was": str(string(from.State)), ":wasfc": num(from.Fence)},
	}
	if len(to.Receipt) > 0 {
		*update.UpdateExpression += ", #rcpt = :rcpt"
		update.ExpressionAttributeNames["#rcpt"], update.ExpressionAttributeValues[":rcpt"] = "rcpt", bin(to.Receipt)
	}
	if from.State != session.Planned && from.Fence == t.Fence && to.Shown == nil {
		_, err := s.db.api.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: update.TableName, Key: update.Key, UpdateExpression: update.UpdateExpression,
			ConditionExpression: update.ConditionExpression, ExpressionAttributeNames: update.ExpressionAttributeNames, ExpressionAttributeValues: update.ExpressionAttributeValues})
		return fencedOr(op, err)
	}
	names, values := fenceCheck(t)
	for try := range sessionTries {
		all := []types.TransactWriteItem{
			{ConditionCheck: &types.ConditionCheck{TableName: s.db.name(table.Sessions), Key: keyItem(table.Turn(t.Org, t.ID)),
				ConditionExpression: aws.String("#fc = :fc"), ExpressionAttributeNames: names, ExpressionAttributeValues: values}},
			{Update: update},
		}
		if to.Shown != nil {
			var err error
			if all, err = s.showing(ctx, t, *to.Shown, all); err != nil {
				return err
			}
		}
		_, err := s.db.api.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: all})
		if err == nil {
			return nil
		}
		reasons := cancellation(err)
		if failed(reasons, 0) || failed(reasons, 1) {
			return session.ErrFenced
		}
		if reasons == nil {
			return sessionsDown(op, err)
		}
		if err := backoff(ctx, try); err != nil {
			return sessionsDown(op, err)
		}
	}
	return fault.New(fault.Unavailable, op, "the turn is busy, try again")
}
