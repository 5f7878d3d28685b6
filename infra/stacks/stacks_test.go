package stacks

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// template is what the tests need of a CloudFormation template.
type template struct {
	Resources map[string]struct {
		Type           string
		Properties     map[string]any
		DeletionPolicy string
	}
}

// One synth serves all tests: it takes seconds.
var data, app template

func TestMain(m *testing.M) {
	flag.Parse()
	code := 1
	if err := synth(); err != nil {
		fmt.Fprintln(os.Stderr, "synth:", err)
	} else {
		code = m.Run()
	}
	jsii.Close()
	os.Exit(code)
}

func synth() error {
	dir, err := os.MkdirTemp("", "infra")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	build := filepath.Join(dir, "build")
	for _, f := range topology.Functions() {
		if err := os.MkdirAll(filepath.Join(build, f.Name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(build, f.Name, "bootstrap"), []byte(f.Name), 0o755); err != nil {
			return err
		}
	}
	a := awscdk.NewApp(&awscdk.AppProps{Outdir: jsii.String(filepath.Join(dir, "out"))})
	props := Props{Stage: "test", Build: build, LogDays: 30, VaultKeys: 2, Platform: map[taxonomy.Provider]string{taxonomy.OpenRouter: "platform/openrouter"}}
	if err := Add(a, props); err != nil {
		return err
	}
	assembly := a.Synth(nil)
	for name, into := range map[string]*template{"Latchkey-test-Data": &data, "Latchkey-test-App": &app} {
		b, err := json.Marshal(assembly.GetStackByName(jsii.String(name)).Template())
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, into); err != nil {
			return err
		}
	}
	return nil
}

func (t template) ofType(kind string) map[string]map[string]any {
	out := map[string]map[string]any{}
	for id, r := range t.Resources {
		if r.Type == kind {
			out[id] = r.Properties
		}
	}
	return out
}

// text flattens a value with its intrinsic functions to one comparable line.
func text(v any) string {
	b, _ := json.Marshal(v)
	s := string(b)
	for _, cut := range []string{`{"Fn::Join":["",[`, `]]}`, `{"Ref":"AWS::Partition"}`, `{"Ref":"AWS::Region"}`, `{"Ref":"AWS::AccountId"}`, `"`, ","} {
		s = strings.ReplaceAll(s, cut, "")
	}
	return s
}

func one(v any) []any {
	if l, ok := v.([]any); ok {
		return l
	}
	return []any{v}
}

// permissions renders every statement of every function's role, sorted.
func permissions() string {
	var lines []string
	for id, p := range app.ofType("AWS::IAM::Policy") {
		owner := strings.TrimPrefix(strings.Split(id, "DefaultPolicy")[0], "Role")
		for _, st := range p["PolicyDocument"].(map[string]any)["Statement"].([]any) {
			s := st.(map[string]any)
			var actions, resources []string
			for _, a := range one(s["Action"]) {
				actions = append(actions, a.(string))
			}
			for _, r := range one(s["Resource"]) {
				resources = append(resources, text(r))
			}
			sort.Strings(actions)
			who := owner
			if s["Effect"] == "Deny" {
				who += " | Deny"
			}
			line := fmt.Sprintf("%s | %s | %s", who, strings.Join(actions, " "), strings.Join(resources, " "))
			if c, ok := s["Condition"]; ok {
				b, _ := json.Marshal(c)
				line += " | " + string(b)
			}
			lines = append(lines, line)
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n") + "\n"
}

func TestPermissionsMatchTheGolden(t *testing.T) {
	got := permissions()
	file := filepath.Join("testdata", "permissions.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the permissions changed; review and run go test ./infra/stacks -update\n%s", diff(string(want), got))
	}
}

func diff(want, got string) string {
	var out []string
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, l := range w {
		if !slices.Contains(g, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

func TestNobodyDecryptsWithoutAnEncryptionContext(t *testing.T) {
	decrypts := 0
	for id, p := range app.ofType("AWS::IAM::Policy") {
		for _, st := range p["PolicyDocument"].(map[string]any)["Statement"].([]any) {
			s := st.(map[string]any)
			for _, a := range one(s["Action"]) {
				action := a.(string)
				if strings.HasSuffix(action, ":*") || action == "*" {
					t.Errorf("%s: wildcard action %s", id, action)
				}
				if strings.HasPrefix(action, "kms:") && action != "kms:GenerateMac" {
					checkContext(t, id+" "+action, s["Condition"])
				}
				if action == "kms:Decrypt" {
					decrypts++
				}
			}
			if text(s["Resource"]) == "*" && !slices.Contains([]string{"xray:PutTelemetryRecords", "dynamodb:ListStreams"}, one(s["Action"])[0].(string)) {
				t.Errorf("%s: resource * for %v", id, s["Action"])
			}
		}
	}
	// billing, conform, invoke, rotate, stt, tts, turn and webhook; nobody else.
	if decrypts != 8 {
		t.Errorf("%d roles may decrypt, want 8", decrypts)
	}
}

// TestEveryVaultKeyHasTheSameLimits: a function may do with the second key what
// it may do with the first, under the same conditions, and is told of both.
func TestEveryVaultKeyHasTheSameLimits(t *testing.T) {
	first, second := "latchkeytestvaultkeyarn", "latchkeytestvaultkey2arn"
	statements := 0
	for _, line := range strings.Split(permissions(), "\n") {
		if strings.Contains(line, "vaultkey") {
			statements++
			if !strings.Contains(line, first) || !strings.Contains(line, second) || !strings.Contains(line, "kms:EncryptionContext:cls") {
				t.Errorf("not both keys, or no class: %s", line)
			}
		}
	}
	if statements != 9 { // eight that decrypt, and the console
		t.Errorf("%d statements on vault keys", statements)
	}
	for _, f := range topology.Functions() {
		env := find(t, app.ofType("AWS::Lambda::Function"), "FunctionName", "latchkey-test-"+f.Name)["Environment"].(map[string]any)["Variables"].(map[string]any)
		if got := text(env["LATCHKEY_VAULT_KEY_ARN"]); f.Environment.Vault && (!strings.Contains(got, first) || strings.Index(got, second) < strings.Index(got, first)) {
			t.Errorf("%s is told of %s", f.Name, got)
		}
	}
	keys := data.ofType("AWS::KMS::Key")
	if len(keys) != 3 {
		t.Errorf("%d keys, want two of the vault and one for fingerprints", len(keys))
	}
}

// TestOnlyRotateOpensEverything: it is the one role that opens the integrations
// of customers, and nobody outside reaches it.
func TestOnlyRotateOpensEverything(t *testing.T) {
	for _, f := range topology.Functions() {
		for _, k := range f.KMS {
			if slices.Contains(k.Actions, "Decrypt") && slices.Contains(k.Classes, taxonomy.Integration) && f.Name != topology.Rotate {
				t.Errorf("%s may open integrations", f.Name)
			}
		}
		if f.Name == topology.Rotate && len(f.Routes)+len(f.Paths) > 0 {
			t.Error("rotate is reachable from outside")
		}
	}
}

func checkContext(t *testing.T, where string, condition any) {
	t.Helper()
	c, ok := condition.(map[string]any)
	if !ok {
		t.Errorf("%s has no condition", where)
		return
	}
	equals, _ := c["StringEquals"].(map[string]any)
	if equals["kms:EncryptionContext:app"] != topology.App || equals["kms:EncryptionContext:stage"] != "test" || equals["kms:EncryptionContext:cls"] == nil {
		t.Errorf("%s: condition does not fix app, stage and class: %v", where, equals)
	}
	if null, _ := c["Null"].(map[string]any); null["kms:EncryptionContext:org"] != "false" {
		t.Errorf("%s: condition does not demand an organisation", where)
	}
	if c["ForAllValues:StringEquals"] == nil {
		t.Errorf("%s: condition admits further context keys", where)
	}
}

// TestCallersReachNoEntries: a metered call may hold credits, never post them. What
// a free allowance took it may read, in one way, and not write.
func TestCallersReachNoEntries(t *testing.T) {
	const count = ` | dynamodb:BatchGetItem | arn::dynamodb:::table/latchkey-test-ledger | {"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["F#*"]}}`
	for _, owner := range []string{"Invoke", "Stt", "Tts", "Turn"} {
		found := false
		for _, line := range strings.Split(permissions(), "\n") {
			if strings.HasPrefix(line, owner+" |") && strings.Contains(line, "table/latchkey-test-ledger") && line != owner+count {
				found = true
				if !strings.HasSuffix(line, `{"ForAllValues:StringLike":{"dynamodb:LeadingKeys":["R#*","A#*"]}}`) {
					t.Errorf("%s reaches more of the ledger than requests and balances: %s", owner, line)
				}
			}
		}
		if !found {
			t.Errorf("%s has no ledger statement", owner)
		}
	}
}

// TestAuditRowsAreAppendOnly: whoever may write the table that holds the audit
// rows is refused to change or delete them, and so is whoever comes later.
func TestAuditRowsAreAppendOnly(t *testing.T) {
	const deny = ` | Deny | dynamodb:BatchWriteItem dynamodb:DeleteItem dynamodb:UpdateItem | arn::dynamodb:::table/latchkey-test-config | {"ForAnyValue:StringLike":{"dynamodb:LeadingKeys":["AUDIT#*"]}}`
	lines := strings.Split(permissions(), "\n")
	writers := 0
	for _, f := range topology.Functions() {
		owner, writes := title(f.Name), false
		for _, line := range lines {
			writes = writes || strings.HasPrefix(line, owner+" | dynamodb:") && strings.Contains(line, "latchkey-test-config") &&
				(strings.Contains(line, "PutItem") || strings.Contains(line, "UpdateItem") || strings.Contains(line, "DeleteItem") || strings.Contains(line, "BatchWriteItem"))
		}
		if writes {
			writers++
		}
		if writes != slices.Contains(lines, owner+deny) {
			t.Errorf("%s writes to config: %v; its audit rows are protected: %v", f.Name, writes, !writes)
		}
	}
	if writers < 5 {
		t.Errorf("%d functions write to config: the search finds nothing", writers)
	}
	// The head of a chain changes with every row, so it must lie elsewhere.
	if key := table.AuditHead("x").PK; strings.HasPrefix(key, strings.TrimSuffix(table.AuditRows, "*")) {
		t.Errorf("%s is protected like a row", key)
	}
	if key := table.Audit("x", time.Unix(1, 0), "r").PK; !strings.HasPrefix(key, strings.TrimSuffix(table.AuditRows, "*")) {
		t.Errorf("%s is not protected", key)
	}
}

// TestTemplateEqualsTopology: what is deployed is what runs locally.
func TestTemplateEqualsTopology(t *testing.T) {
	functions := app.ofType("AWS::Lambda::Function")
	if len(functions) != len(topology.Functions()) {
		t.Fatalf("%d functions deployed, %d in the topology", len(functions), len(topology.Functions()))
	}
	routes, urls := 0, 0
	invoked := map[string]bool{}
	for _, f := range topology.Functions() {
		props := find(t, functions, "FunctionName", "latchkey-test-"+f.Name)
		if props["Timeout"] != f.Timeout.Seconds() || props["MemorySize"] != float64(f.MemoryMB) ||
			text(props["Architectures"]) != "[arm64]" || props["Runtime"] != "provided.al2023" || text(props["TracingConfig"]) != "{Mode:Active}" {
			t.Errorf("%s: properties differ: %v", f.Name, props)
		}
		env := props["Environment"].(map[string]any)["Variables"].(map[string]any)
		if (env["LATCHKEY_TABLE_LEDGER"] != nil) != f.Environment.Tables || (env["LATCHKEY_VAULT_KEY_ARN"] != nil) != f.Environment.Vault ||
			(env["LATCHKEY_TURN_QUEUE_URL"] != nil) != f.Environment.TurnQueue || (env["LATCHKEY_PLATFORM_OPENROUTER_SECRET"] != nil) != f.Environment.Providers {
			t.Errorf("%s: environment differs: %v", f.Name, env)
		}
		for _, name := range f.Invokes {
			if env["LATCHKEY_FUNCTION_"+strings.ToUpper(name)] != "latchkey-test-"+name+":live" {
				t.Errorf("%s is not told the name of %s: %v", f.Name, name, env)
			}
			invoked[name] = true
		}
		if want := map[bool]any{true: "operator/stripe"}[f.Environment.Payments]; env["LATCHKEY_STRIPE_WEBHOOK_SECRET"] != want {
			t.Errorf("%s: the payment vendor's credential is %v, want %v", f.Name, env["LATCHKEY_STRIPE_WEBHOOK_SECRET"], want)
		}
		for name := range env {
			if strings.HasSuffix(name, "_KEY") {
				t.Errorf("%s: %s would put a key into the environment", f.Name, name)
			}
		}
		routes += len(f.Routes)
		if len(f.Paths) > 0 {
			urls++
		}
	}
	async := app.ofType("AWS::Lambda::EventInvokeConfig")
	for id, c := range async {
		// The library writes the alias's name as the last part of its ARN.
		if c["MaximumRetryAttempts"] != 0.0 || !strings.Contains(text(c["Qualifier"]), "Ref:Alias") {
			t.Errorf("%s: %v", id, c)
		}
	}
	if len(async) != len(invoked) {
		t.Errorf("%d functions have a rule for asynchronous calls, %d are invoked by others", len(async), len(invoked))
	}
	if got := len(app.ofType("AWS::ApiGatewayV2::Route")); got != routes {
		t.Errorf("%d routes deployed, %d in the topology", got, routes)
	}
	for id, u := range app.ofType("AWS::Lambda::Url") {
		if u["InvokeMode"] != "RESPONSE_STREAM" || u["AuthType"] != "NONE" {
			t.Errorf("%s: %v", id, u)
		}
	}
	if got := len(app.ofType("AWS::Lambda::Url")); got != urls {
		t.Errorf("%d function URLs deployed, %d in the topology", got, urls)
	}
}

func find(t *testing.T, in map[string]map[string]any, property, value string) map[string]any {
	t.Helper()
	for _, p := range in {
		if p[property] == value {
			return p
		}
	}
	t.Fatalf("nothing has %s = %s", property, value)
	return nil
}

func TestTablesAndStream(t *testing.T) {
	tables := data.ofType("AWS::DynamoDB::Table")
	if len(tables) != 5 {
		t.Fatalf("%d tables", len(tables))
	}
	for id, p := range tables {
		if p["DeletionProtectionEnabled"] != true || p["BillingMode"] != "PAY_PER_REQUEST" ||
			!strings.Contains(text(p["PointInTimeRecoverySpecification"]), "PointInTimeRecoveryEnabled:true") {
			t.Errorf("%s is not protected: %v", id, p)
		}
		if data.Resources[id].DeletionPolicy != "Retain" {
			t.Errorf("%s would be deleted with the stack", id)
		}
	}
	ledger := find(t, tables, "TableName", "latchkey-test-ledger")
	if text(ledger["StreamSpecification"]) != "{StreamViewType:NEW_AND_OLD_IMAGES}" {
		t.Errorf("ledger stream: %v", ledger["StreamSpecification"])
	}
	for _, p := range tables {
		if p["TableName"] == "latchkey-test-vault" && p["StreamSpecification"] != nil {
			t.Error("the vault must have no stream: it would copy ciphertext to consumers")
		}
	}
	for id, r := range data.Resources {
		if r.Type == "AWS::KMS::Key" && r.DeletionPolicy != "Retain" {
			t.Errorf("%s would be deleted with the stack", id)
		}
	}
}

func TestMappings(t *testing.T) {
	for _, f := range topology.Functions() {
		for id, m := range app.ofType("AWS::Lambda::EventSourceMapping") {
			if f.Stream != nil && strings.HasPrefix(id, "Stream"+title(f.Name)) {
				checkStream(t, m, f.Stream)
			}
			if f.Queue != nil && strings.HasPrefix(id, "Queue"+title(f.Name)) {
				if m["BatchSize"] != float64(f.Queue.BatchSize) || text(m["ScalingConfig"]) != fmt.Sprintf("{MaximumConcurrency:%d}", f.Queue.MaxConcurrency) ||
					text(m["FunctionResponseTypes"]) != "[ReportBatchItemFailures]" || m["MaximumBatchingWindowInSeconds"] != nil {
					t.Errorf("%s: %v", id, m)
				}
			}
		}
	}
	if got := len(app.ofType("AWS::Lambda::EventSourceMapping")); got != 2 {
		t.Errorf("%d mappings", got)
	}
	queue := find(t, app.ofType("AWS::SQS::Queue"), "QueueName", "latchkey-test-turn.fifo")
	for _, f := range topology.Functions() {
		if f.Queue != nil {
			if queue["VisibilityTimeout"] != f.Queue.Visibility.Seconds() || f.Queue.Visibility < 2*f.Timeout ||
				!strings.Contains(text(queue["RedrivePolicy"]), fmt.Sprintf("maxReceiveCount:%d", f.Queue.MaxReceive)) {
				t.Errorf("queue: %v", queue)
			}
		}
	}
}

func checkStream(t *testing.T, m map[string]any, s *topology.Stream) {
	t.Helper()
	patterns := fmt.Sprint(m["FilterCriteria"])
	for _, f := range s.Filters {
		if !strings.Contains(patterns, f) {
			t.Errorf("filter %s is missing", f)
		}
	}
	if m["StartingPosition"] != "TRIM_HORIZON" || m["BatchSize"] != float64(s.BatchSize) || m["BisectBatchOnFunctionError"] != s.Bisect ||
		m["MaximumRetryAttempts"] != float64(s.MaxRetries) || m["MaximumRecordAgeInSeconds"] != s.MaxAge.Seconds() ||
		m["MaximumBatchingWindowInSeconds"] != 0.0 || text(m["FunctionResponseTypes"]) != "[ReportBatchItemFailures]" ||
		!strings.Contains(text(m["DestinationConfig"]), "OnFailure") {
		t.Errorf("stream mapping: %v", m)
	}
}

func TestVersionsAreRetainedAndTriggersUseTheAlias(t *testing.T) {
	versions := 0
	for id, r := range app.Resources {
		if r.Type == "AWS::Lambda::Version" {
			versions++
			if r.DeletionPolicy != "Retain" {
				t.Errorf("%s would be deleted by the next release", id)
			}
		}
	}
	if versions != len(topology.Functions()) || len(app.ofType("AWS::Lambda::Alias")) != versions {
		t.Errorf("%d versions, %d aliases", versions, len(app.ofType("AWS::Lambda::Alias")))
	}
	for id, u := range app.ofType("AWS::Lambda::Url") {
		if u["Qualifier"] != liveAlias {
			t.Errorf("%s does not call the alias", id)
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, p := range []Props{{Stage: "local", Build: "x", VaultKeys: 1}, {Stage: "", Build: "x", VaultKeys: 1}, {Stage: "a b", Build: "x", VaultKeys: 1},
		{Stage: "dev", Build: "does-not-exist", VaultKeys: 1}, {Stage: "dev", Build: "x"}, {Stage: "dev", Build: "x", VaultKeys: 6}} {
		err := p.check()
		if err == nil || strings.Contains(err.Error(), vaultKeysContext) != (p.Stage == "dev" && p.VaultKeys != 1) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestVaultKeysFromContext: a number in cdk.json, a text after -c; a slip of the
// hand is refused and not taken for one key.
func TestVaultKeysFromContext(t *testing.T) {
	for value, want := range map[any]int{nil: 1, 3: 3, "2": 2, "two": 0, "": 0} {
		context := map[string]any{}
		if value != nil {
			context[vaultKeysContext] = value
		}
		app := awscdk.NewApp(&awscdk.AppProps{Context: &context})
		if got := FromContext(app).VaultKeys; got != want {
			t.Errorf("%v: %d keys, want %d", value, got, want)
		}
	}
}
