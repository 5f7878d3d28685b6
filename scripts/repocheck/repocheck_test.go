package repocheck

import (
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/latchkey/latchkey/shared/topology"
)

func TestRepository(t *testing.T) {
	found, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// clean is a smallest tree without violations.
func clean() fstest.MapFS {
	m := fstest.MapFS{
		"go.mod":              {Data: []byte("module github.com/latchkey/latchkey\n")},
		"shared/credit/c.go":  {Data: []byte("// Package credit is.\npackage credit\n")},
		"shared/fault/f.go":   {Data: []byte("// Package fault is.\npackage fault\n\nimport \"errors\"\n\nvar ErrX = errors.New(\"x\")\n")},
		"shared/egress/e.go":  {Data: []byte("// Package egress is.\npackage egress\n\nimport \"net/http\"\n\nfunc C() *http.Client { return &http.Client{} }\n")},
		"shared/boot/boot.go": {Data: []byte("// Package boot is.\npackage boot\n\nimport \"os\"\n\nfunc E() string { return os.Getenv(\"X\") }\n")},
	}
	readme := ""
	for _, f := range topology.Functions() {
		m["functions/"+f.Name+"/main.go"] = &fstest.MapFile{Data: []byte("// Command " + f.Name + " is.\npackage main\n\nfunc main() {}\n")}
		m["events/"+f.Name+"/ok.json"] = &fstest.MapFile{Data: []byte("{}")}
		readme += "`" + f.Name + "` "
	}
	m["README.md"] = &fstest.MapFile{Data: []byte(readme)}
	return m
}

func TestCleanTree(t *testing.T) {
	found, err := Check(clean())
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		t.Fatalf("violations in a clean tree: %v", found)
	}
}

const (
	pkg   = "// Package x is.\npackage x\n\n"
	admin = "// Package admin is.\npackage admin\n\n"
)

// planted maps each rule to a file that breaks exactly that rule.
var planted = []struct{ rule, path, src string }{
	{"layers", "shared/credit/x.go", "package credit\n\nimport _ \"github.com/latchkey/latchkey/scripts/x\"\n"},
	{"functions-apart", "functions/turn/x.go", "package main\n\nimport _ \"github.com/latchkey/latchkey/functions/invoke\"\n"},
	{"cdk", "scripts/x/x.go", pkg + "import _ \"github.com/aws/aws-cdk-go/awscdk/v2\"\n"},
	{"vendors-apart", "shared/providers/a/x.go", pkg + "import _ \"github.com/latchkey/latchkey/shared/providers/b\"\n"},
	{"vendors-apart", "shared/gateway/x.go", pkg + "import _ \"github.com/latchkey/latchkey/shared/channels/b\"\n"},
	{"adapters-blind", "shared/providers/a/x.go", pkg + "import _ \"github.com/latchkey/latchkey/shared/credit\"\n"},
	{"money-blind", "shared/credit/x.go", "package credit\n\nimport _ \"github.com/latchkey/latchkey/shared/model\"\n"},
	{"aws-edges", "shared/gateway/x.go", pkg + "import _ \"github.com/aws/aws-lambda-go/lambda\"\n"},
	{"dynamodb", "functions/turn/x.go", "package main\n\nimport _ \"github.com/aws/aws-sdk-go-v2/service/dynamodb\"\n"},
	{"attributevalue", "shared/dynamo/x.go", pkg + "import _ \"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue\"\n"},
	{"xray", "functions/turn/x.go", "package main\n\nimport _ \"github.com/aws/aws-xray-sdk-go/v2/xray\"\n"},
	{"suites", "functions/turn/x.go", "package main\n\nimport _ \"github.com/latchkey/latchkey/shared/vault/vaulttest\"\n"},
	{"leaves", "shared/fault/x.go", "package fault\n\nimport _ \"github.com/latchkey/latchkey/shared/credit\"\n"},
	{"leaves", "shared/fault/x.go", "package fault\n\nimport _ \"golang.org/x/sync/errgroup\"\n"},
	{"integrations-apart", "shared/gateway/x.go", pkg + "import _ \"github.com/latchkey/latchkey/shared/integration/opener\"\n"},
	{"integrations-apart", "shared/providers/a/x.go", pkg + "import _ \"github.com/latchkey/latchkey/shared/integration/opener\"\n"},
	{"integrations-apart", "shared/boot/x.go", "package boot\n\nimport _ \"github.com/latchkey/latchkey/shared/integration/opener\"\n"},
	{"integrations-apart", "functions/invoke/x.go", "package main\n\nimport _ \"github.com/latchkey/latchkey/shared/integration/opener\"\n"},
	{"integrations-apart", "functions/console/x.go", "package main\n\nimport _ \"github.com/latchkey/latchkey/shared/integration/legacycipher\"\n"},
	{"integration-class", "shared/gateway/x.go", pkg + "import \"github.com/latchkey/latchkey/shared/taxonomy\"\n\nconst c = taxonomy.Integration\n"},
	{"integration-class", "functions/turn/x.go", "package main\n\nimport tx \"github.com/latchkey/latchkey/shared/taxonomy\"\n\nconst c = tx.Integration\n"},
	{"wiring", "shared/gateway/x.go", pkg + "import _ \"github.com/latchkey/latchkey/shared/dynamo\"\n"},
	{"secret-fields", "shared/gateway/x.go", pkg + "type T struct{ APIKey string }\n"},
	{"secret-fields", "shared/gateway/x.go", pkg + "type T struct{ bot_token []byte }\n"},
	{"secret-fields", "functions/turn/x.go", "package main\n\nfunc f() { var x struct{ apikey *string }; _ = x }\n"},
	{"secret-fields", "shared/gateway/x.go", pkg + "type T struct{ Nested struct{ Passwords map[string][]string } }\n"},
	{"secret-fields", "shared/gateway/x.go", pkg + "type T struct{ PrivatePEM [64]byte }\n"},
	{"secret-tags", "shared/gateway/x.go", pkg + "type T struct{ Pin string `json:\"pin\" vault:\"secret\"` }\n"},
	{"secret-tags", "shared/gateway/x.go", pkg + "import \"encoding/json\"\n\ntype T struct{ Pin json.RawMessage `vault:\"secret\"` }\n"},
	{"secret-tags", "shared/gateway/x.go", pkg + "import \"github.com/latchkey/latchkey/shared/secret\"\n\ntype T struct{ Pin *secret.Text `vault:\"secret\"` }\n"},
	{"secret-bodies", "shared/admin/x.go", admin + "type body struct{ Value any `json:\"api_key\"` }\n\nvar _ = create(\"\", 0, \"\", body{}, nil, nil)\n"},
	{"secret-bodies", "shared/admin/x.go", admin + "type body struct{ Parts []part }\n\ntype part struct{ Token json.RawMessage `json:\"t\"` }\n\nvar _ = change(\"\", \"\", 0, \"\", body{}, nil, nil)\n"},
	{"secret-bodies", "shared/admin/x.go", admin + "type body struct{ part }\n\ntype part struct{ Token text }\n\ntype text string\n\nvar _ = act(\"\", 0, \"\", body{}, nil, nil)\n"},
	{"file-size", "shared/credit/x.go", "package credit\n" + strings.Repeat("// x\n", 600)},
	{"func-size", "shared/credit/x.go", "package credit\n\nfunc f() {\n" + strings.Repeat("\tf()\n", 80) + "}\n"},
	{"interface-size", "shared/credit/x.go", "package credit\n\ntype i interface {\n\ta()\n\tb()\n\tc()\n\td()\n\te()\n\tf()\n}\n"},
	{"no-init", "shared/credit/x.go", "package credit\n\nfunc init() {}\n"},
	{"no-globals", "shared/credit/x.go", "package credit\n\nvar n = 1\n\nfunc f() { n = 2 }\n"},
	{"no-globals", "shared/credit/x.go", "package credit\n\nvar m = map[string]int{}\n\nfunc f() { m[\"a\"]++ }\n"},
	{"no-globals", "shared/credit/x.go", "package credit\n\nvar n int\n"},
	{"no-globals", "shared/credit/x.go", "package credit\n\nvar N = 1\n"},
	{"environment", "functions/turn/x.go", "package main\n\nimport \"os\"\n\nfunc f() { os.LookupEnv(\"X\") }\n"},
	{"clock", "shared/credit/x.go", "package credit\n\nimport \"time\"\n\nfunc f() { time.Now() }\n"},
	{"clock", "shared/credit/x.go", "package credit\n\nimport _ \"math/rand/v2\"\n"},
	{"vendor-names", "shared/gateway/x.go", pkg + "const p = \"openrouter\"\n"},
	{"http-clients", "shared/gateway/x.go", pkg + "import \"net/http\"\n\nfunc f() any { return http.Client{} }\n"},
	{"http-clients", "shared/gateway/x.go", pkg + "import . \"net/http\"\n\nfunc f() { Get(\"\") }\n"},
	{"http-clients", "shared/gateway/x.go", pkg + "import h \"net/http\"\n\nfunc f() { h.Get(\"\") }\n"},
	{"http-clients", "shared/gateway/x.go", pkg + "import \"net/http\"\n\ntype s struct{ c http.Client }\n"},
	{"http-clients", "functions/turn/x.go", "package main\n\nimport \"net/http\"\n\nfunc f() any { return new(http.Transport) }\n"},
	{"aws-clients", "functions/turn/x.go", "package main\n\nimport \"github.com/aws/aws-sdk-go-v2/service/sqs\"\n\nfunc f() any { return sqs.NewFromConfig(c) }\n"},
	{"aws-clients", "functions/turn/x.go", "package main\n\nimport k \"github.com/aws/aws-sdk-go-v2/service/kms\"\n\nfunc f() any { return k.New(o) }\n"},
	{"aws-clients", "functions/turn/x.go", "package main\n\nimport _ \"github.com/aws/aws-sdk-go-v2/config\"\n"},
	{"aws-clients", "shared/dynamo/x.go", "// Package dynamo is.\npackage dynamo\n\nimport _ \"github.com/aws/aws-sdk-go-v2/aws/transport/http\"\n"},
	{"lambda-entry", "functions/turn/x.go", "package main\n\nimport \"github.com/aws/aws-lambda-go/lambda\"\n\nfunc f() { lambda.StartHandlerFunc(f) }\n"},
	{"lambda-entry", "functions/turn/x.go", "package main\n\nimport \"github.com/aws/aws-lambda-go/lambdaurl\"\n\nfunc f() { lambdaurl.Start(f) }\n"},
	{"fuzz-corpus", "shared/gateway/x_test.go", "package gateway\n\nimport \"testing\"\n\nfunc FuzzX(f *testing.F) {}\n"},
	{"package-comment", "shared/gateway/x.go", "package gateway\n"},
	{"package-name", "shared/util/x.go", "// Package util is.\npackage util\n"},
	{"log-messages", "functions/turn/x.go", "package main\n\nimport \"log/slog\"\n\nfunc f(l struct{ Log *slog.Logger }, s string) { l.Log.Info(s) }\n"},
	{"log-messages", "functions/turn/x.go", "package main\n\nimport (\n\t\"context\"\n\t\"log/slog\"\n)\n\nfunc f(x *slog.Logger, s string) { x.ErrorContext(context.Background(), \"failed: \"+s) }\n"},
	{"log-messages", "shared/credit/x.go", "package credit\n\nimport (\n\t\"context\"\n\t\"fmt\"\n\t\"log/slog\"\n)\n\nfunc f(s string) { slog.LogAttrs(context.Background(), slog.LevelInfo, fmt.Sprint(s)) }\n"},
	{"log-messages", "shared/credit/x.go", "package credit\n\nimport \"log/slog\"\n\nfunc f(log *slog.Logger, err error) { log.Warn(err.Error()) }\n"},
	{"top-level", "pkg/x.txt", "x"},
	{"function-complete", "functions/extra/main.go", "// Command extra is.\npackage main\n"},
	{"function-complete", "events/extra/ok.json", "{}"},
	{"go-mod", "go.mod", "module github.com/latchkey/latchkey\n\nreplace a => b\n"},
	{"machine-paths", "scripts/x.sh", "cd /ho" + "me/somebody\n"},
}

func TestEveryRuleFailsOnItsPlantedViolation(t *testing.T) {
	covered := map[string]bool{}
	for _, p := range planted {
		covered[p.rule] = true
		tree := clean()
		tree[p.path] = &fstest.MapFile{Data: []byte(p.src)}
		found, err := Check(tree)
		if err != nil {
			t.Fatalf("%s: %v", p.rule, err)
		}
		hit := false
		for _, v := range found {
			hit = hit || v.Rule == p.rule
			if v.Rule != p.rule {
				t.Errorf("%s: %s also broke %v", p.rule, p.path, v)
			}
		}
		if !hit {
			t.Errorf("rule %s accepted %s:\n%.200s", p.rule, p.path, p.src)
		}
	}
	for _, r := range rules() {
		if !covered[r.name] {
			t.Errorf("rule %s has no planted violation", r.name)
		}
		if r.why == "" {
			t.Errorf("rule %s does not say why", r.name)
		}
	}
}

// TestSecretsThatAreFine: what the rules about secrets must let through.
func TestSecretsThatAreFine(t *testing.T) {
	tree := clean()
	tree["shared/gateway/x.go"] = &fstest.MapFile{Data: []byte(pkg + "import \"github.com/latchkey/latchkey/shared/secret\"\n\n" +
		"type T struct {\n\tAPIKey secret.Text `vault:\"secret\"`\n\tMaxTokens int64\n\tKeywords []string\n\tPassword func()\n}\n")}
	tree["shared/admin/x.go"] = &fstest.MapFile{Data: []byte(admin + "type body struct {\n\tKey secretText `json:\"api_key\"`\n\tMore map[string]secretValues `json:\"secrets\"`\n" +
		"\tTokensPerMinute *int64 `json:\"tokens_per_minute\"`\n}\n\ntype answer struct{ Key any `json:\"key\"` }\n\nvar _ = create(\"\", 0, \"\", body{}, answer{}, nil)\n")}
	found, err := Check(tree)
	if err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// TestHarmlessFieldsExist: an excuse for a field that is gone could excuse a new
// one by accident.
func TestHarmlessFieldsExist(t *testing.T) {
	tree, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	needed := map[string]bool{}
	for _, f := range undeclared(tree) {
		needed[f.id()] = true
	}
	for id, reason := range harmless {
		if !needed[id] || reason == "" {
			t.Errorf("%q: nothing needs this entry, or it has no reason", id)
		}
	}
}

// TestLogMessages: literals and constants are found, in what is deployed only.
func TestLogMessages(t *testing.T) {
	m := clean()
	m["functions/turn/x.go"] = &fstest.MapFile{Data: []byte("package main\n\nimport (\n\t\"context\"\n\t\"log/slog\"\n)\n\nconst done = \"turn done\"\n\n" +
		"func f(x *slog.Logger) { x.InfoContext(context.Background(), done, \"n\", 1); slog.Info(\"plain\"); slog.Info(`plain`) }\n")}
	m["scripts/x/x.go"] = &fstest.MapFile{Data: []byte(pkg + "import \"log/slog\"\n\nfunc f(s string) { slog.Info(s) }\n")}
	m["shared/credit/x_test.go"] = &fstest.MapFile{Data: []byte("package credit\n\nimport \"log/slog\"\n\nfunc f(s string) { slog.Info(s) }\n")}
	got, err := LogMessages(m)
	if err != nil || strings.Join(got, "|") != "plain|turn done" {
		t.Errorf("%q, %v", got, err)
	}
	if found, err := Check(m); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// TestEveryPartOfAClientIsFound plants each forbidden name and package, and
// shows that the same is accepted where clients are made.
func TestEveryPartOfAClientIsFound(t *testing.T) {
	sources := map[string]string{}
	for p, names := range clientParts {
		for n := range names {
			sources[p+"."+n] = fmt.Sprintf("import %q\n\nvar _ = %s.%s\n", p, path.Base(p), n)
		}
	}
	for p := range clientPackages {
		sources[p] = fmt.Sprintf("import _ %q\n", p)
	}
	for _, m := range clientModules {
		sources[m] = fmt.Sprintf("import _ %q\n", strings.TrimSuffix(m, "/")+"/x")
	}
	for what, src := range sources {
		for _, at := range []string{"shared/gateway", "functions/turn", "shared/egress"} {
			tree := clean()
			name := path.Base(at)
			if name == "turn" {
				name = "main"
			}
			tree[at+"/x.go"] = &fstest.MapFile{Data: []byte(fmt.Sprintf("%spackage %s\n\n%s", map[bool]string{true: "// Package gateway is.\n"}[name == "gateway"], name, src))}
			found, err := Check(tree)
			if err != nil {
				t.Fatalf("%s: %v\n%s", what, err, src)
			}
			hit := slices.ContainsFunc(found, func(v Violation) bool { return v.Rule == "http-clients" })
			if hit != (at != "shared/egress") {
				t.Errorf("%s in %s: found %v", what, at, hit)
			}
		}
	}
	if len(sources) < 50 {
		t.Errorf("only %d", len(sources))
	}
}

// TestAPointerInASignatureIsNoClient: what egress built is passed on.
func TestAPointerInASignatureIsNoClient(t *testing.T) {
	tree := clean()
	tree["shared/gateway/x.go"] = &fstest.MapFile{Data: []byte(pkg + "import \"net/http\"\n\nfunc f(c *http.Client) (*http.Transport, error) { return nil, nil }\n")}
	if found, err := Check(tree); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}
