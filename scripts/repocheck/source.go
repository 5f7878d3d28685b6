package repocheck

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"strconv"
	"strings"
)

const (
	maxFileLines = 500
	maxFuncLines = 70
	maxMethods   = 5
)

func sourceRules() []rule {
	return []rule{
		{"file-size", "nobody reviews a god file", fileSize},
		{"func-size", "a function fits on a screen", funcSize},
		{"interface-size", "small contracts are easy to implement and to fake", interfaceSize},
		{"no-init", "order of initialisation is invisible", noInit},
		{"no-globals", "tests cannot isolate package state", noGlobals},
		{"environment", "configuration is read in one place", environment},
		{"clock", "time and randomness are passed in", clock},
		{"vendor-names", "a vendor is added by one folder", vendorNames},
		{"integration-class", "who names the class could load and open it", integrationClass},
		{"http-clients", "one package decides where requests may go", httpClients},
		{"aws-clients", "what may call AWS is visible in one package", awsClients},
		{"lambda-entry", "an invocation ends without the secrets it used", lambdaEntry},
		{"package-comment", "a stranger starts at the package comment", packageComment},
		{"package-name", "a name says what is inside", packageName},
	}
}

func fileSize(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if !f.test && f.lines > maxFileLines {
			bad(f.path, fmt.Sprintf("%d lines, at most %d", f.lines, maxFileLines))
		}
	}
}

func funcSize(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := t.line(fn.End()) - t.line(fn.Pos()) + 1; n > maxFuncLines {
				bad(f.path, fmt.Sprintf("%s has %d lines, at most %d", fn.Name.Name, n, maxFuncLines))
			}
		}
	}
}

func interfaceSize(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			ts, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if it, ok := ts.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > maxMethods {
				bad(f.path, fmt.Sprintf("%s has %d methods, at most %d", ts.Name.Name, it.Methods.NumFields(), maxMethods))
			}
			return true
		})
	}
}

func noInit(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				bad(f.path, "func init")
			}
		}
	}
}

// noGlobals admits error sentinels, embedded files and lower-case values that
// the package never writes.
func noGlobals(t *tree, bad func(string, string)) {
	written := map[string]map[string]bool{}
	for _, f := range t.files {
		if written[f.dir] == nil {
			written[f.dir] = map[string]bool{}
		}
		collectWrites(f.ast, written[f.dir])
	}
	for _, f := range t.files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR || embedded(g) {
				continue
			}
			for _, s := range g.Specs {
				checkGlobal(f, s.(*ast.ValueSpec), written[f.dir], bad)
			}
		}
	}
}

func checkGlobal(f *file, v *ast.ValueSpec, written map[string]bool, bad func(string, string)) {
	for i, name := range v.Names {
		switch {
		case name.Name == "_":
		case i >= len(v.Values):
			bad(f.path, "variable "+name.Name+" without a value is there to be written")
		case written[name.Name]:
			bad(f.path, "variable "+name.Name+" is written")
		case ast.IsExported(name.Name) && !sentinel(v.Values[i]):
			bad(f.path, "exported variable "+name.Name)
		}
	}
}

func embedded(g *ast.GenDecl) bool {
	if g.Doc == nil {
		return false
	}
	for _, c := range g.Doc.List {
		if strings.HasPrefix(c.Text, "//go:embed") {
			return true
		}
	}
	return false
}

func sentinel(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "New" && ident(sel.X) == "errors"
}

func ident(e ast.Expr) string {
	if id, ok := e.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

// collectWrites notes identifiers that a file assigns, indexes for writing,
// increments or takes the address of, and that the surrounding function does not
// declare itself.
func collectWrites(f *ast.File, out map[string]bool) {
	for _, d := range f.Decls {
		local := map[string]bool{}
		if fn, ok := d.(*ast.FuncDecl); ok {
			declared(fn, local)
		}
		ast.Inspect(d, func(n ast.Node) bool {
			for _, e := range targets(n) {
				if name := root(e); name != "" && !local[name] {
					out[name] = true
				}
			}
			return true
		})
	}
}

// targets lists the expressions that a node writes to.
func targets(n ast.Node) []ast.Expr {
	switch x := n.(type) {
	case *ast.AssignStmt:
		if x.Tok != token.DEFINE {
			return x.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{x.X}
	case *ast.UnaryExpr:
		if _, literal := x.X.(*ast.CompositeLit); x.Op == token.AND && !literal {
			return []ast.Expr{x.X}
		}
	case *ast.CallExpr:
		if name := ident(x.Fun); (name == "delete" || name == "clear") && len(x.Args) > 0 {
			return x.Args[:1]
		}
	}
	return nil
}

// root is the identifier that an expression starts from.
func root(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// declared collects every name that a function declares anywhere.
func declared(fn *ast.FuncDecl, out map[string]bool) {
	names := func(idents ...*ast.Ident) {
		for _, id := range idents {
			out[id.Name] = true
		}
	}
	if fn.Recv != nil {
		for _, field := range fn.Recv.List {
			names(field.Names...)
		}
	}
	ast.Inspect(fn, func(n ast.Node) bool {
		switch x := n.(type) {
		case *ast.FuncType:
			for _, list := range []*ast.FieldList{x.Params, x.Results} {
				if list != nil {
					for _, field := range list.List {
						names(field.Names...)
					}
				}
			}
		case *ast.ValueSpec:
			names(x.Names...)
		case *ast.AssignStmt:
			if x.Tok == token.DEFINE {
				for _, l := range x.Lhs {
					out[ident(l)] = true
				}
			}
		case *ast.RangeStmt:
			if x.Tok == token.DEFINE {
				out[ident(x.Key)], out[ident(x.Value)] = true, true
			}
		}
		return true
	})
}

// calls reports every pkg.name selector of a file for a standard package.
func calls(f *file, importPath string, hit func(name string, sel *ast.SelectorExpr)) {
	local := ""
	for _, im := range f.ast.Imports {
		if p, _ := strconv.Unquote(im.Path.Value); p == importPath {
			local = path.Base(importPath)
			if im.Name != nil {
				local = im.Name.Name
			}
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && ident(sel.X) == local {
			hit(sel.Sel.Name, sel)
		}
		return true
	})
}

func environment(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test || under(f.dir, "shared/boot") || under(f.dir, "scripts") || under(f.dir, "infra") || suite(f.dir) {
			continue
		}
		calls(f, "os", func(name string, _ *ast.SelectorExpr) {
			if name == "Getenv" || name == "LookupEnv" || name == "Environ" {
				bad(f.path, "os."+name)
			}
		})
	}
}

func clock(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test || !domain(f.dir) {
			continue
		}
		calls(f, "time", func(name string, _ *ast.SelectorExpr) {
			if name == "Now" || name == "Since" || name == "Until" {
				bad(f.path, "time."+name)
			}
		})
		for _, ip := range f.imports {
			if ip == "math/rand" || ip == "math/rand/v2" {
				bad(f.path, "imports "+ip)
			}
		}
	}
}

// vendorIDs are words that only a vendor's folder and the taxonomy may spell as
// a whole string literal. "web", "email" and the like are also plain words and
// are left out.
var vendorIDs = map[string]bool{
	"openrouter": true, "openai": true, "anthropic": true, "gemini": true, "grok": true, "mistral": true, "kimi": true,
	"elevenlabs": true, "openai_compatible": true, "bedrock": true, "groq": true, "deepseek": true, "deepgram": true,
	"assemblyai": true, "cartesia": true, "slack": true, "telegram": true, "whatsapp": true, "messenger": true,
	"instagram": true, "discord": true, "twilio": true, "google_chat": true, "teams": true,
}

func vendorNames(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		if f.test || vendorFolder(f.dir) != "" || under(f.dir, "shared/taxonomy") || suite(f.dir) ||
			!under(f.dir, "shared") && !under(f.dir, "functions") {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && vendorIDs[s] {
					bad(f.path, strconv.Quote(s))
				}
			}
			return true
		})
	}
}

// integrationClass admits the packages that carry the class, write policies for
// it or describe it.
func integrationClass(t *tree, bad func(string, string)) {
	const taxonomy = module + "shared/taxonomy"
	admitted := []string{"shared/integration", "shared/taxonomy", "shared/topology", "shared/vault", "shared/credential", "shared/rotation",
		"functions/rotate", "infra", "scripts"}
	for _, f := range t.files {
		if f.test || oneOf(f.dir, admitted) || suite(f.dir) {
			continue
		}
		calls(f, taxonomy, func(name string, _ *ast.SelectorExpr) {
			if name == "Integration" {
				bad(f.path, "taxonomy.Integration")
			}
		})
	}
}

func packageComment(t *tree, bad func(string, string)) {
	docs := map[string]int{}
	seen := map[string]string{}
	for _, f := range t.files {
		if f.test {
			continue
		}
		seen[f.dir] = f.path
		if f.ast.Doc != nil && strings.TrimSpace(f.ast.Doc.Text()) != "" {
			docs[f.dir]++
		}
	}
	for dir, p := range seen {
		if docs[dir] != 1 {
			bad(p, fmt.Sprintf("package has %d package comments, needs exactly one", docs[dir]))
		}
	}
}

func packageName(t *tree, bad func(string, string)) {
	for _, f := range t.files {
		switch strings.TrimSuffix(f.ast.Name.Name, "_test") {
		case "util", "utils", "common", "helper", "helpers", "types", "base", "misc":
			bad(f.path, "package "+f.ast.Name.Name)
		}
	}
}
