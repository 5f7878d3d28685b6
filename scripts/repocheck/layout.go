package repocheck

import (
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"github.com/latchkey/latchkey/shared/topology"
)

func layoutRules() []rule {
	return []rule{
		{"top-level", "the folder list is the table of contents", topLevel},
		{"function-complete", "a function without samples, deployment or documentation is not done", functionComplete},
		{"go-mod", "builds are reproducible from exact versions", goMod},
		{"machine-paths", "the project names no machine", machinePaths},
		{"fuzz-corpus", "what fuzzing found is kept, so that every run of the tests begins there", fuzzCorpus},
	}
}

// topLevelNames is everything the root may hold besides dot files.
var topLevelNames = map[string]bool{
	"functions": true, "infra": true, "shared": true, "events": true, "scripts": true,
	"cdk.json": true, "go.mod": true, "go.sum": true, "package.json": true, "package-lock.json": true,
	"README.md": true, "DESIGN.md": true, "SECURITY.md": true, "CONTRIBUTING.md": true, "CHANGELOG.md": true, "LICENSE": true,
	// Made by the scripts and not kept.
	"node_modules": true, "build": true, "cdk.out": true,
}

func topLevel(t *tree, bad func(string, string)) {
	for _, name := range t.top {
		if !strings.HasPrefix(name, ".") && !topLevelNames[name] {
			bad(name, "does not belong at the top")
		}
	}
}

// functionComplete compares functions/, events/, the topology and the README.
func functionComplete(t *tree, bad func(string, string)) {
	deployed := map[string]bool{}
	for _, f := range topology.Functions() {
		deployed[f.Name] = true
	}
	readme, err := fs.ReadFile(t.fsys, "README.md")
	if err != nil {
		bad("README.md", "is missing")
	}
	built := folders(t.fsys, "functions")
	for name := range built {
		if !deployed[name] {
			bad("functions/"+name, "is not in shared/topology")
		}
		if !folders(t.fsys, "events")[name] {
			bad("functions/"+name, "has no samples in events/"+name)
		}
		if !strings.Contains(string(readme), "`"+name+"`") {
			bad("functions/"+name, "has no row in README.md")
		}
	}
	for name := range deployed {
		if !built[name] {
			bad("shared/topology", "names a function without a folder: "+name)
		}
	}
	for name := range folders(t.fsys, "events") {
		if !built[name] {
			bad("events/"+name, "belongs to no function")
		}
	}
}

// fuzzCorpus: every fuzz target has inputs beside it.
func fuzzCorpus(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !f.test || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			corpus := path.Join(f.dir, "testdata", "fuzz", fn.Name.Name)
			if inputs, err := fs.ReadDir(t.fsys, corpus); err != nil || len(inputs) == 0 {
				bad(f.path, "has no corpus for "+fn.Name.Name+" in "+corpus)
			}
		}
	}
}

func folders(fsys fs.FS, root string) map[string]bool {
	out := map[string]bool{}
	entries, err := fs.ReadDir(fsys, root)
	if err != nil {
		return out
	}
	for _, e := range entries {
		if e.IsDir() {
			out[e.Name()] = true
		}
	}
	return out
}

func goMod(t *tree, bad func(string, string)) {
	b, err := fs.ReadFile(t.fsys, "go.mod")
	if err != nil {
		bad("go.mod", "is missing")
		return
	}
	for _, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "replace ") {
			bad("go.mod", "has a replace directive")
		}
	}
}

var (
	homePath = regexp.MustCompile(`(^|[\s"'=(:])/(home|Users|root|work)/[A-Za-z0-9._-]+`)
	textFile = regexp.MustCompile(`\.(go|md|sh|json|js|mjs|java|txt|yml|yaml|toml)$`)
)

func machinePaths(t *tree, bad func(string, string)) {
	_ = fs.WalkDir(t.fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if d.IsDir() {
			if p != "." && skipped(p) && d.Name() != "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !textFile.MatchString(p) && !strings.HasPrefix(p, "scripts/") {
			return nil
		}
		b, err := fs.ReadFile(t.fsys, p)
		if err != nil {
			bad(p, "cannot be read")
			return nil
		}
		if m := homePath.FindString(string(b)); m != "" && !strings.HasPrefix(p, "scripts/repocheck/") {
			bad(p, "names a machine path: "+strings.TrimSpace(m))
		}
		return nil
	})
}
