// Package repocheck holds the rules of the repository as code.
//
// [Check] parses every Go file below a root once and runs every rule over the
// result; it shells out to nothing, so a test of it is never served stale from
// the test cache. Each rule prints why it exists. Each rule has a planted
// violation in the tests, which proves that it can fail.
package repocheck

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strconv"
	"strings"
)

const module = "github.com/latchkey/latchkey/"

// Violation is one broken rule at one place.
type Violation struct{ Rule, Where, What, Why string }

func (v Violation) String() string {
	return fmt.Sprintf("%s: %s: %s (%s)", v.Where, v.Rule, v.What, v.Why)
}

// file is one parsed Go file.
type file struct {
	path    string
	dir     string
	test    bool
	ast     *ast.File
	imports []string // full import paths
	lines   int
}

// tree is everything the rules look at.
type tree struct {
	fsys  fs.FS
	fset  *token.FileSet
	files []*file
	top   []string
}

func (t *tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// rule is one check; each returns places and findings.
type rule struct {
	name, why string
	check     func(*tree, func(where, what string))
}

// Check returns all violations below root, sorted.
func Check(fsys fs.FS) ([]Violation, error) {
	t, err := load(fsys)
	if err != nil {
		return nil, err
	}
	var out []Violation
	for _, r := range rules() {
		r.check(t, func(where, what string) { out = append(out, Violation{r.name, where, what, r.why}) })
	}
	sort.Slice(out, func(i, j int) bool { return out[i].String() < out[j].String() })
	return out, nil
}

func rules() []rule {
	var all []rule
	all = append(all, importRules()...)
	all = append(all, sourceRules()...)
	all = append(all, layoutRules()...)
	all = append(all, secretRules()...)
	all = append(all, logRules()...)
	return all
}

// skipped folders hold nothing of ours.
func skipped(p string) bool {
	base := path.Base(p)
	return base == "node_modules" || base == "build" || base == "cdk.out" || base == "testdata" ||
		(strings.HasPrefix(base, ".") && base != ".")
}

func load(fsys fs.FS) (*tree, error) {
	t := &tree{fsys: fsys, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path.Dir(p) == "." && p != "." {
			t.top = append(t.top, p)
		}
		if d.IsDir() {
			if skipped(p) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		return t.parse(p)
	})
	return t, err
}

func (t *tree) parse(p string) error {
	src, err := fs.ReadFile(t.fsys, p)
	if err != nil {
		return err
	}
	f, err := parser.ParseFile(t.fset, p, src, parser.ParseComments)
	if err != nil {
		return err
	}
	pf := &file{path: p, dir: path.Dir(p), test: strings.HasSuffix(p, "_test.go"), ast: f,
		lines: strings.Count(string(src), "\n")}
	for _, im := range f.Imports {
		ip, err := strconv.Unquote(im.Path.Value)
		if err != nil {
			return err
		}
		pf.imports = append(pf.imports, ip)
	}
	t.files = append(t.files, pf)
	return nil
}

// under reports whether dir is root or lies below it.
func under(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

// ours turns an import path into a folder of the repository, "" if foreign.
func ours(ip string) string {
	if rest, ok := strings.CutPrefix(ip, module); ok {
		return rest
	}
	return ""
}

// element returns the n-th path element, "" if there is none.
func element(dir string, n int) string {
	parts := strings.Split(dir, "/")
	if n < len(parts) {
		return parts[n]
	}
	return ""
}

// suite reports whether a folder holds a conformance suite or a test helper.
func suite(dir string) bool { return strings.HasSuffix(path.Base(dir), "test") && dir != "" }
