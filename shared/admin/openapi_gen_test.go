package admin

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/integration"
	"github.com/latchkey/latchkey/shared/limit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/registry"
	"github.com/latchkey/latchkey/shared/rotation"
	routing "github.com/latchkey/latchkey/shared/route"
	"github.com/latchkey/latchkey/shared/session"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

var update = flag.Bool("update", false, "write openapi.json from the route table")

// TestOpenAPIDocument makes the document from the routes and the wire types and
// compares it with the one that is served.
func TestOpenAPIDocument(t *testing.T) {
	want, err := json.MarshalIndent(document(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(openAPIDocument) != string(want) {
		t.Error("openapi.json differs from the routes; run go test ./shared/admin -run TestOpenAPIDocument -update")
	}
}

type object = map[string]any

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

// generator collects the schemas of named types.
type generator struct{ schemas object }

func document() object {
	g := &generator{schemas: object{}}
	paths := object{}
	for _, r := range routes() {
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path].(object)[strings.ToLower(r.method)] = g.operation(r)
	}
	g.of(reflect.TypeFor[errorBody](), false)
	return object{
		"openapi": "3.1.0",
		"info": object{"title": "Latchkey admin API", "version": "1",
			"description": "Amounts are integers of micro-credits (1 credit = 1 USD = 1,000,000). Times are RFC 3339 in UTC. Lists are paged with cursor and limit."},
		"paths": paths,
		"components": object{"schemas": g.schemas,
			"securitySchemes": object{"key": object{"type": "http", "scheme": "bearer", "description": "An operator key or an organisation's key: lk_<org>_<kid>_<secret>"}}},
	}
}

func (g *generator) operation(r route) object {
	op := object{"summary": r.summary, "operationId": operationID(r)}
	success := object{"description": http.StatusText(r.status)}
	if r.result != nil {
		schema := g.of(reflect.TypeOf(r.result), false)
		if r.list {
			schema = object{"type": "object", "required": []string{"items", "next_cursor"}, "additionalProperties": false,
				"properties": object{"items": object{"type": "array", "items": schema}, "next_cursor": object{"type": []string{"string", "null"}}}}
		}
		if r.path == "/api/openapi.json" {
			schema = object{"type": "object"}
		}
		success["content"] = object{"application/json": object{"schema": schema}}
	}
	op["responses"] = object{strconv.Itoa(r.status): success, "default": object{"description": "An error",
		"content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/error"}}}}}
	var params []object
	for _, m := range pathParam.FindAllStringSubmatch(r.path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}})
	}
	for _, q := range r.query {
		params = append(params, object{"name": q.name, "in": "query", "description": q.about, "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if r.body != nil {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": g.of(reflect.TypeOf(r.body), true)}}}
	}
	if r.access != public {
		op["security"] = []object{{"key": []string{}}}
		var scopes []string
		for _, s := range r.access.scopes() {
			scopes = append(scopes, string(s))
		}
		op["x-latchkey-scopes"] = scopes
		op["x-latchkey-operator-only"] = r.access.operatorOnly()
	}
	return op
}

func operationID(r route) string {
	words := []string{strings.ToLower(r.method)}
	for _, part := range strings.Split(strings.TrimPrefix(r.path, "/api/"), "/") {
		words = append(words, strings.NewReplacer("{", "by_", "}", "", ".", "_").Replace(part))
	}
	return strings.Join(words, "_")
}

// enums are the values of word types.
var enums = map[reflect.Type][]string{
	reflect.TypeFor[credential.Form]():          {"token", "line", "document", "text"},
	reflect.TypeFor[credential.HintRule]():      {"none", "last4"},
	reflect.TypeFor[credential.Kind]():          {"provider", "channel", "integration"},
	reflect.TypeFor[credential.Sensitivity]():   {"secret", "public"},
	reflect.TypeFor[taxonomy.CredentialClass](): words(taxonomy.CredentialClasses()),

	reflect.TypeFor[taxonomy.Tier]():           words(org.AllTiers()),
	reflect.TypeFor[taxonomy.GrantKind]():      words(taxonomy.GrantKinds()),
	reflect.TypeFor[taxonomy.BillingSource]():  {"platform", "byok", "private"},
	reflect.TypeFor[org.Status]():              {"active", "suspended"},
	reflect.TypeFor[org.LedgerMode]():          {"legacy", "shadow", "draining", "credit", "rolled_back"},
	reflect.TypeFor[limit.Period]():            {"day", "month", "total"},
	reflect.TypeFor[org.Scope]():               words(org.Scopes()),
	reflect.TypeFor[org.PrivacyMode]():         {"off", "prefer_local", "local_only"},
	reflect.TypeFor[org.QualityFloor]():        {"gold", "silver", "bronze", "unrated"},
	reflect.TypeFor[org.BillingPreference]():   {"byok_required", "byok_preferred", "platform_only"},
	reflect.TypeFor[keyStatus]():               {"active", "revoked", "expired"},
	reflect.TypeFor[connection.Status]():       {"active", "revoked"},
	reflect.TypeFor[connection.HealthStatus](): {"unknown", "ok", "failed", "unverified"},
	reflect.TypeFor[connection.Probe]():        {"test_auth", "list_models", "test_text", "test_voice"},
	reflect.TypeFor[connection.Reason]():       {"revoked", "disabled", "unhealthy", "unverified", "cooldown"},
	reflect.TypeFor[install.State]():           {"draft", "verifying", "active", "suspended", "revoked"},
	reflect.TypeFor[install.Mode]():            {"platform", "byoa", "app"},
	reflect.TypeFor[channel.CheckResult]():     {"passed", "failed", "pending", "manual"},
	reflect.TypeFor[rotation.Kind]():           {"kek", "material", "dek", "verify", "prune"},
	reflect.TypeFor[rotation.State]():          {"planned", "running", "verifying", "rolling_back", "done", "failed"},
	reflect.TypeFor[session.Role]():            {"user", "assistant"},
	reflect.TypeFor[session.TurnState]():       {"running", "waiting", "answered", "done", "ended"},
	reflect.TypeFor[session.PartState]():       {"planned", "claimed", "sent", "unknown", "failed"},
	reflect.TypeFor[session.Outcome]():         {"enqueued", "duplicate", "ignored", "unbound", "refused", "handshake", "failed"},
	reflect.TypeFor[audit.Outcome]():           {"done", "refused"},
	reflect.TypeFor[credit.EntryKind]():        {"usage", "grant", "adjustment", "expiry"},
	reflect.TypeFor[credit.State]():            {"HELD", "DISPATCHED", "USED", "SETTLED", "SETTLED_LATE", "RELEASED", "EXPIRED"},
	reflect.TypeFor[billing.UsageSource]():     {"provider", "estimated", "none"},
	reflect.TypeFor[billing.Meter]():           words(billing.Meters()),
	reflect.TypeFor[modelStatus]():             {"verified", "unverified"},
	reflect.TypeFor[registry.Modality]():       words(registry.Modalities()),
	reflect.TypeFor[registry.Status]():         {"beta", "deprecated"},
	reflect.TypeFor[registry.Tier]():           {"gold", "silver", "bronze", "unrated"},
	reflect.TypeFor[integration.Mode]():        words(integration.Modes()),
	reflect.TypeFor[taxonomy.Intent]():         words(taxonomy.Intents()),
	reflect.TypeFor[taxonomy.Modality]():       words(taxonomy.Modalities()),
	reflect.TypeFor[routing.Reason]():          words(routing.Reasons()),
	reflect.TypeFor[routing.Origin]():          {"request", "alias", "agent", "matrix", "settings", "connection"},
	reflect.TypeFor[integration.Outcome]():     {"imported", "replaced", "unchanged", "quarantined", "refused"},
}

func words[T ~string](in []T) (out []string) {
	for _, w := range in {
		out = append(out, string(w))
	}
	return out
}

// of is the schema of a wire type. input says that it is part of a body.
func (g *generator) of(t reflect.Type, input bool) object {
	textOrList := object{"oneOf": []object{{"type": "string"}, {"type": "array", "items": object{"type": "string"}}}}
	switch t {
	case timeType:
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[secretText](), reflect.TypeFor[secretBytes]():
		return object{"type": "string", "format": "password", "writeOnly": true}
	case reflect.TypeFor[issuedKey]():
		return object{"type": "string", "description": "The key, shown this once."}
	case reflect.TypeFor[secretValues]():
		return object{"oneOf": textOrList["oneOf"], "writeOnly": true}
	case reflect.TypeFor[webhook.Config]():
		return object{"type": "object", "additionalProperties": textOrList}
	case reflect.TypeFor[org.Models]():
		if input {
			return textOrList
		}
	case reflect.TypeFor[install.Mention]():
		return object{"description": "true for any message that addresses the bot, or the name it must address",
			"oneOf": []object{{"type": "boolean"}, {"type": "string", "pattern": "^/?[A-Za-z0-9_-]{1,64}$"}}}
	case reflect.TypeFor[seconds](), reflect.TypeFor[json.Number]():
		return object{"type": "number"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem(), input)
	case reflect.Interface:
		return object{}
	case reflect.String:
		if values, ok := enums[t]; ok {
			return object{"type": "string", "enum": values}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Slice:
		return object{"type": "array", "items": g.of(t.Elem(), input)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.of(t.Elem(), input)}
	case reflect.Struct:
		return g.ref(t, input)
	}
	panic("no schema for " + t.String())
}

func (g *generator) ref(t reflect.Type, input bool) object {
	name := strings.TrimSuffix(strings.TrimSuffix(t.Name(), "JSON"), "Body")
	if pkg := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]; pkg != "admin" {
		name = pkg + t.Name()
	}
	if input {
		name += "_input"
	}
	if _, done := g.schemas[name]; !done {
		g.schemas[name] = nil // against recursion
		g.schemas[name] = g.structure(t, input)
	}
	return object{"$ref": "#/components/schemas/" + name}
}

func (g *generator) structure(t reflect.Type, input bool) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" {
			continue
		}
		schema := g.of(f.Type, input)
		optional := strings.Contains(options, "omitempty")
		if nullable := f.Type.Kind() == reflect.Pointer; nullable && !optional && !input {
			schema = object{"oneOf": []object{schema, {"type": "null"}}}
		}
		properties[name] = schema
		if input && f.Tag.Get("api") == "required" || !input && !optional {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	out := object{"type": "object", "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}
