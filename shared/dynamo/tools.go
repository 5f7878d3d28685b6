package dynamo

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/table"
)

// Tools implements [tool.Store].
type Tools struct{ db *DB }

// Tools returns the store of tools.
func (db *DB) Tools() Tools { return Tools{db} }

func encodeTool(t tool.Tool) item {
	return item{"org": str(t.Org), "name": str(t.Name), "desc": str(t.Description), "par": str(string(t.Parameters)), "meth": str(t.Method), "url": str(t.URL),
		"hdr": strs(t.Headers), "cred": str(t.Credential), "to": num(int64(t.Timeout / time.Second)), "max": num(t.MaxBytes), "integ": str(string(t.Integrity)),
		"act": str(t.Action), "apr": num(int64(t.Approval / time.Second)), "at": millis(t.CreatedAt), "v": num(t.Version)}
}

func decodeTool(it item) (tool.Tool, error) {
	r := read(it)
	return tool.Tool{Org: r.str("org"), Name: r.str("name"), Description: r.str("desc"), Parameters: json.RawMessage(r.str("par")), Method: r.str("meth"), URL: r.str("url"),
		Headers: r.strs("hdr"), Credential: r.str("cred"), Timeout: time.Duration(r.num("to")) * time.Second, MaxBytes: r.num("max"), Integrity: channel.Integrity(r.str("integ")),
		Action: r.str("act"), Approval: time.Duration(r.num("apr")) * time.Second, CreatedAt: r.time("at"), Version: r.num("v")}, r.err
}

// Tool implements [tool.Store].
func (s Tools) Tool(ctx context.Context, org, name string) (tool.Tool, error) {
	const op = "dynamo.Tool"
	missing := fault.New(fault.NotFound, op, "there is no such tool")
	if !table.ValidID(name) {
		return tool.Tool{}, missing
	}
	it, err := s.db.get(ctx, table.Config, table.Tool(org, name), true)
	if err != nil {
		return tool.Tool{}, configDown(op, err)
	}
	if it == nil {
		return tool.Tool{}, missing
	}
	t, err := decodeTool(it)
	if err != nil {
		return tool.Tool{}, storedBadly(op, err)
	}
	return t, nil
}

// Tools implements [tool.Store].
func (s Tools) Tools(ctx context.Context, org string) ([]tool.Tool, error) {
	const op = "dynamo.Tools"
	items, err := s.db.query(ctx, query{role: table.Config, pk: table.Tool(org, "").PK, consistent: true})
	if err != nil {
		return nil, configDown(op, err)
	}
	out := make([]tool.Tool, len(items))
	for i, it := range items {
		if out[i], err = decodeTool(it); err != nil {
			return nil, storedBadly(op, err)
		}
	}
	return out, nil
}

// CreateTool implements [tool.Store].
func (s Tools) CreateTool(ctx context.Context, t tool.Tool, row audit.Row) error {
	reasons, err := s.db.commitWithAudit(ctx, "dynamo.CreateTool", row, s.db.putNew(table.Config, table.Tool(t.Org, t.Name), encodeTool(t)))
	if reasons != nil {
		return fault.New(fault.Conflict, "dynamo.CreateTool", "a tool with this name exists already")
	}
	return err
}

// UpdateTool implements [tool.Store].
func (s Tools) UpdateTool(ctx context.Context, old, next tool.Tool, row audit.Row) error {
	it := encodeTool(next)
	k := table.Tool(old.Org, old.Name)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	condition, names, values := ifVersion(old.Version)
	return s.change(ctx, "dynamo.UpdateTool", row, types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Config), Item: it,
		ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}})
}

// DeleteTool implements [tool.Store].
func (s Tools) DeleteTool(ctx context.Context, old tool.Tool, row audit.Row) error {
	condition, names, values := ifVersion(old.Version)
	return s.change(ctx, "dynamo.DeleteTool", row, types.TransactWriteItem{Delete: &types.Delete{TableName: s.db.name(table.Config),
		Key: keyItem(table.Tool(old.Org, old.Name)), ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}})
}

func (s Tools) change(ctx context.Context, op string, row audit.Row, action types.TransactWriteItem) error {
	reasons, err := s.db.commitWithAudit(ctx, op, row, action)
	if reasons != nil {
		return fault.New(fault.Conflict, op, "the tool was changed at the same time; read it again and repeat the change")
	}
	return err
}
