package repocheck

import (
	"os"
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

const pkg = "// Package x is.\npackage x\n\n"

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
	{"http-clients", "shared/gateway/x.go", pkg + "import \"net/http\"\n\nfunc f() { http.Get(\"\") }\n"},
	{"http-clients", "shared/gateway/x.go", pkg + "import \"net/http\"\n\nfunc f() any { return http.Client{} }\n"},
	{"package-comment", "shared/gateway/x.go", "package gateway\n"},
	{"package-name", "shared/util/x.go", "// Package util is.\npackage util\n"},
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
