package dynamo

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/outbox"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// Installs implements [install.Store] and [install.BindingStore].
type Installs struct{ db *DB }

// Installs returns the store of installs and bindings.
func (db *DB) Installs() Installs { return Installs{db} }

func encodeInstall(i install.Install) item {
	config := item{}
	for name, vs := range i.Config {
		config[name] = strs(vs)
	}
	secrets := make([]types.AttributeValue, len(i.Secrets))
	for k, s := range i.Secrets {
		secrets[k] = mapping(item{"n": str(s.Name), "fp": str(s.Fingerprint), "hint": str(s.Hint), "end": millis(s.RetireAt)})
	}
	claims := make([]types.AttributeValue, len(i.Claims))
	for k, c := range i.Claims {
		claims[k] = mapping(item{"f": str(c.Field), "tok": str(c.Token), "app": str(c.App), "ten": str(c.Tenant)})
	}
	it := item{
		"id": str(i.ID), "org": str(i.Org), "prov": str(string(i.Provider)), "mode": str(string(i.Mode)), "app": str(i.App), "label": str(i.Label),
		"st": str(string(i.State)), "was": str(string(i.Before)), "cfg": mapping(config), "url": str(i.PublicURL), "bots": str(string(i.Policy.BotMessages)), "strm": str(string(i.Policy.Streaming)),
		"sec": list(secrets...), "claims": list(claims...), "at": millis(i.CreatedAt), "mod": millis(i.UpdatedAt), "v": num(i.Version), "rej": num(i.Rejections),
	}
	if len(i.Policy.Approvers) > 0 {
		it["apprs"] = strs(i.Policy.Approvers)
	}
	return it
}

// maps reads a list of maps.
func (r *reader) maps(name string) []*reader {
	var out []*reader
	for _, v := range r.list(name) {
		m, ok := v.(*types.AttributeValueMemberM)
		if !ok {
			r.fail(name)
			return nil
		}
		out = append(out, read(m.Value))
	}
	return out
}

func decodeInstall(it item) (install.Install, error) {
	r := read(it)
	i := install.Install{ID: r.str("id"), Org: r.str("org"), Provider: taxonomy.Channel(r.str("prov")), Mode: install.Mode(r.str("mode")), App: r.str("app"),
		Label: r.str("label"), State: install.State(r.str("st")), Before: install.State(r.str("was")), Config: webhook.Config{},
		PublicURL: r.str("url"), Policy: install.Policy{BotMessages: install.BotMessages(r.str("bots")), Streaming: install.Streaming(r.str("strm")), Approvers: r.strs("apprs")}, CreatedAt: r.time("at"), UpdatedAt: r.time("mod"), Version: r.num("v"), Rejections: r.num("rej")}
	errs := []error{}
	config := read(r.sub("cfg"))
	for name := range config.it {
		i.Config[name] = config.strs(name)
	}
	for _, s := range r.maps("sec") {
		i.Secrets = append(i.Secrets, install.Secret{Name: s.str("n"), Fingerprint: s.str("fp"), Hint: s.str("hint"), RetireAt: s.time("end")})
		errs = append(errs, s.err)
	}
	for _, c := range r.maps("claims") {
		i.Claims = append(i.Claims, install.Claim{Field: c.str("f"), Token: c.str("tok"), App: c.str("app"), Tenant: c.str("ten")})
		errs = append(errs, c.err)
	}
	return i, errors.Join(append(errs, r.err, config.err)...)
}

func encodeBinding(b install.Binding) item {
	s := b.Selector
	return item{
		"id": str(b.ID), "org": str(b.Org), "inst": str(b.Install), "agent": str(b.AgentID), "pers": str(b.PersonaID), "at": millis(b.CreatedAt),
		"sel": mapping(item{"acc": str(s.Account), "team": str(s.Team), "ch": str(s.Channel), "peer": str(s.Peer), "th": str(s.Thread), "men": boolean(s.Mention == install.AnyMention), "adr": str(named(s.Mention))}),
	}
}

// named is the name of a mention, "" for any; "men" says any.
func named(m install.Mention) string {
	if m == install.AnyMention {
		return ""
	}
	return string(m)
}

func mention(any bool, name string) install.Mention {
	if any {
		return install.AnyMention
	}
	return install.Mention(name)
}

func decodeBinding(it item) (install.Binding, error) {
	r := read(it)
	s := read(r.sub("sel"))
	b := install.Binding{ID: r.str("id"), Org: r.str("org"), Install: r.str("inst"), AgentID: r.str("agent"), PersonaID: r.str("pers"), CreatedAt: r.time("at"),
		Selector: install.Selector{Account: s.str("acc"), Team: s.str("team"), Channel: s.str("ch"), Peer: s.str("peer"), Thread: s.str("th"), Mention: mention(s.bool("men"), s.str("adr"))}}
	return b, errors.Join(r.err, s.err)
}

// Install implements [install.Store]: install and bindings share a partition, so
// that a webhook needs one read. It is consistent: a suspension holds from the
// next request on.
func (s Installs) Install(ctx context.Context, id string) (install.Install, []install.Binding, error) {
	const op = "dynamo.Install"
	missing := fault.New(fault.NotFound, op, "there is no such install")
	if !table.ValidID(id) {
		return install.Install{}, nil, missing
	}
	// The install lies behind its bindings and is read first: what is torn by a change
	// has the older version then, which the next look at the version refutes.
	items, err := s.db.query(ctx, query{role: table.Config, pk: table.Install(id).PK, consistent: true, descending: true})
	if err != nil {
		return install.Install{}, nil, configDown(op, err)
	}
	var found install.Install
	var bindings []install.Binding
	for _, it := range items {
		if read(it).str(table.SK) == table.Install(id).SK {
			found, err = decodeInstall(it)
		} else {
			var b install.Binding
			b, err = decodeBinding(it)
			bindings = append(bindings, b)
		}
		if err != nil {
			return install.Install{}, nil, storedBadly(op, err)
		}
	}
	if found.ID == "" {
		return install.Install{}, nil, missing
	}
	slices.Reverse(bindings)
	return found, bindings, nil
}

// Version gives the number that every change of an install or its bindings raises;
// not_found if absent. The read is consistent.
func (s Installs) Version(ctx context.Context, id string) (int64, error) {
	const op = "dynamo.Version"
	missing := fault.New(fault.NotFound, op, "there is no such install")
	if !table.ValidID(id) {
		return 0, missing
	}
	it, err := s.db.get(ctx, table.Config, table.Install(id), true)
	if err != nil {
		return 0, configDown(op, err)
	}
	if it == nil {
		return 0, missing
	}
	r := read(it)
	v := r.num("v")
	if r.err != nil {
		return 0, storedBadly(op, r.err)
	}
	return v, nil
}

// InstallOf implements [install.Store]. A claim and its install are written
// together; one without the other is a damaged store.
func (s Installs) InstallOf(ctx context.Context, provider, app, tenant string) (install.Install, []install.Binding, error) {
	const op = "dynamo.InstallOf"
	it, err := s.db.get(ctx, table.Config, table.Tenant(provider, app, tenant), true)
	if err != nil {
		return install.Install{}, nil, configDown(op, err)
	}
	if it == nil {
		return install.Install{}, nil, fault.New(fault.NotFound, op, "there is no such install")
	}
	r := read(it)
	id := r.str("inst")
	if r.err != nil {
		return install.Install{}, nil, storedBadly(op, r.err)
	}
	return s.Install(ctx, id)
}

// Installs implements [install.Store].
func (s Installs) Installs(ctx context.Context, org, after string, limit int) ([]install.Install, string, error) {
	const op = "dynamo.Installs"
	k := table.OrgInstall(org, "")
	if after != "" {
		after = table.OrgInstall(org, after).SK
	}
	rows, err := s.db.query(ctx, query{role: table.Config, pk: k.PK, prefix: k.SK, after: after, limit: int32(limit + 1), consistent: true})
	if err != nil {
		return nil, "", configDown(op, err)
	}
	var out []install.Install
	for _, row := range rows {
		if len(out) == limit {
			return out, out[limit-1].ID, nil
		}
		i, _, err := s.Install(ctx, strings.TrimPrefix(read(row).str(table.SK), k.SK))
		if err != nil {
			return nil, "", err
		}
		out = append(out, i)
	}
	return out, "", nil
}

func claimKey(i install.Install, c install.Claim) table.Key {
	if c.Token != "" {
		return table.TokenUse(c.Token)
	}
	return table.Tenant(string(i.Provider), c.App, c.Tenant)
}

func (s Installs) take(i install.Install, c install.Claim) types.TransactWriteItem {
	return s.db.putNew(table.Config, claimKey(i, c), item{"inst": str(i.ID)})
}

// free removes a claim that this install holds. A row of another install is a
// damaged store: the transaction fails rather than free it.
func (s Installs) free(i install.Install, c install.Claim) types.TransactWriteItem {
	return types.TransactWriteItem{Delete: &types.Delete{
		TableName: s.db.name(table.Config), Key: keyItem(claimKey(i, c)),
		ConditionExpression:       aws.String("attribute_not_exists(#pk) OR #inst = :id"),
		ExpressionAttributeNames:  map[string]string{"#pk": table.PK, "#inst": "inst"},
		ExpressionAttributeValues: item{":id": str(i.ID)},
	}}
}

// held is the conflict of a claim. It says nothing about who holds it.
func held(op string, c install.Claim) error {
	if c.Token != "" {
		return fault.Wrap(fault.Conflict, op, "a live install uses this token already; an app can be installed once", install.ErrTokenInUse).WithParam(c.Field)
	}
	return fault.Wrap(fault.Conflict, op, "a live install is connected to this app and tenant already", install.ErrTenantInUse).WithParam(c.Field)
}

// anyHeld is the conflict of the first claim that was refused, a token's before a
// tenant's: whoever repeats a token is told that. nil if none was refused.
func anyHeld(op string, claims []install.Claim, reasons []types.CancellationReason, offset int) error {
	var found error
	for k, c := range claims {
		if failed(reasons, k+offset) && !failed(reasons, 0) && (found == nil || c.Token != "" && !errors.Is(found, install.ErrTokenInUse)) {
			found = held(op, c)
		}
	}
	return found
}

// CreateInstall implements [install.Store].
func (s Installs) CreateInstall(ctx context.Context, i install.Install, row audit.Row) error {
	const op = "dynamo.CreateInstall"
	actions := []types.TransactWriteItem{
		s.db.putNew(table.Config, table.Install(i.ID), encodeInstall(i)),
		s.db.putNew(table.Config, table.OrgInstall(i.Org, i.ID), item{}),
	}
	for _, c := range i.Claims {
		actions = append(actions, s.take(i, c))
	}
	reasons, err := s.db.commitWithAudit(ctx, op, row, actions...)
	if err := anyHeld(op, i.Claims, reasons, 2); err != nil {
		return err
	}
	if reasons != nil {
		return fault.New(fault.Conflict, op, "an install with this id exists already")
	}
	return err
}

// UpdateInstall implements [install.Store].
func (s Installs) UpdateInstall(ctx context.Context, old, next install.Install, row audit.Row) error {
	return s.update(ctx, old, next, row)
}

// UpdateInstallTelling implements [install.Teller]: the event lies where those
// wait that the bus has not taken, and the sweep sends it.
func (s Installs) UpdateInstallTelling(ctx context.Context, old, next install.Install, row audit.Row, ev outbox.Event) error {
	return s.update(ctx, old, next, row, ledgerPut(s.db.name(table.Usage), keptItem(ev), ""))
}

func (s Installs) update(ctx context.Context, old, next install.Install, row audit.Row, more ...types.TransactWriteItem) error {
	const op = "dynamo.UpdateInstall"
	if next.Version <= old.Version {
		return fault.Wrap(fault.Internal, op, "internal error, try again later", install.ErrVersionKept)
	}
	it := encodeInstall(next)
	k := table.Install(old.ID)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	condition, names, values := ifVersion(old.Version)
	actions := []types.TransactWriteItem{{Put: &types.Put{TableName: s.db.name(table.Config), Item: it,
		ConditionExpression: condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values}}}
	var taken []install.Claim
	for _, c := range next.Claims {
		if !containsClaim(old, next, c) {
			taken = append(taken, c)
			actions = append(actions, s.take(next, c))
		}
	}
	for _, c := range old.Claims {
		if !containsClaim(next, old, c) {
			actions = append(actions, s.free(old, c))
		}
	}
	reasons, err := s.db.commitWithAudit(ctx, op, row, append(actions, more...)...)
	if err := anyHeld(op, taken, reasons, 1); err != nil {
		return err
	}
	if reasons != nil {
		return fault.New(fault.Conflict, op, "the install was changed at the same time; read it again and repeat the change")
	}
	return err
}

// containsClaim reports whether in holds the row that claim c of i holds.
func containsClaim(in, i install.Install, c install.Claim) bool {
	for _, o := range in.Claims {
		if claimKey(in, o) == claimKey(i, c) {
			return true
		}
	}
	return false
}

// CreateBinding implements [install.BindingStore].
func (s Installs) CreateBinding(ctx context.Context, b install.Binding, row audit.Row) error {
	const op = "dynamo.CreateBinding"
	reasons, err := s.db.commitWithAudit(ctx, op, row, s.db.putNew(table.Config, table.Binding(b.Install, b.ID), encodeBinding(b)), s.raise(b.Install))
	if failed(reasons, 1) {
		return fault.New(fault.NotFound, op, "there is no such install")
	}
	if reasons != nil {
		return fault.Wrap(fault.Conflict, op, "this install has a binding with equal fields and values already; change that one", install.ErrAmbiguous).WithParam("selector")
	}
	return err
}

// UpdateBinding implements [install.BindingStore].
func (s Installs) UpdateBinding(ctx context.Context, b install.Binding, row audit.Row) error {
	it := encodeBinding(b)
	k := table.Binding(b.Install, b.ID)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	return s.onBinding(ctx, "dynamo.UpdateBinding", b.Install, row, types.TransactWriteItem{Put: &types.Put{TableName: s.db.name(table.Config), Item: it,
		ConditionExpression: aws.String("attribute_exists(#pk)"), ExpressionAttributeNames: map[string]string{"#pk": table.PK}}})
}

// DeleteBinding implements [install.BindingStore].
func (s Installs) DeleteBinding(ctx context.Context, b install.Binding, row audit.Row) error {
	return s.onBinding(ctx, "dynamo.DeleteBinding", b.Install, row, types.TransactWriteItem{Delete: &types.Delete{
		TableName: s.db.name(table.Config), Key: keyItem(table.Binding(b.Install, b.ID)),
		ConditionExpression: aws.String("attribute_exists(#pk)"), ExpressionAttributeNames: map[string]string{"#pk": table.PK}}})
}

// raise makes the version of a binding's install another one.
func (s Installs) raise(install string) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: s.db.name(table.Config), Key: keyItem(table.Install(install)),
		UpdateExpression: aws.String("ADD #v :one"), ConditionExpression: aws.String("attribute_exists(#pk)"),
		ExpressionAttributeNames: map[string]string{"#pk": table.PK, "#v": "v"}, ExpressionAttributeValues: item{":one": num(1)}}}
}

func (s Installs) onBinding(ctx context.Context, op, install string, row audit.Row, action types.TransactWriteItem) error {
	reasons, err := s.db.commitWithAudit(ctx, op, row, action, s.raise(install))
	if reasons != nil {
		return fault.New(fault.NotFound, op, "there is no such binding")
	}
	return err
}
