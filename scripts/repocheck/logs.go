package repocheck

import (
	"go/ast"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

func logRules() []rule {
	return []rule{{"log-messages", "what varies belongs into attributes; a message that is built can hold a secret or a vendor's text", logMessages}}
}

// messageAt maps the methods of slog that write a line to the place of the
// message. Those with a context are found whatever they are called on, the
// others on something that is named like a logger.
var messageAt = map[string]int{
	"DebugContext": 1, "InfoContext": 1, "WarnContext": 1, "ErrorContext": 1, "LogAttrs": 2, "Log": 2,
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0,
}

func logMessages(t *tree, bad func(string, string)) {
	eachMessage(t, func(f *file, message ast.Expr, text string) {
		if text == "" {
			bad(f.path, "line "+strconv.Itoa(t.line(message.Pos()))+": the message is not a string constant")
		}
	})
}

// LogMessages lists every message that the functions write to their logs,
// sorted.
func LogMessages(fsys fs.FS) ([]string, error) {
	t, err := load(fsys)
	if err != nil {
		return nil, err
	}
	var out []string
	eachMessage(t, func(_ *file, _ ast.Expr, text string) { out = append(out, text) })
	slices.Sort(out)
	return slices.Compact(out), nil
}

// eachMessage calls f with the message of every log call in what is deployed;
// text is empty if it is neither a literal nor a constant of its package.
func eachMessage(t *tree, f func(file *file, message ast.Expr, text string)) {
	constants := map[string]map[string]string{}
	for _, x := range t.files {
		if !x.test {
			collectConstants(x, constants)
		}
	}
	for _, x := range t.files {
		if x.test || suite(x.dir) || !under(x.dir, "shared") && !under(x.dir, "functions") {
			continue
		}
		ast.Inspect(x.ast, func(n ast.Node) bool {
			if message := messageOf(n); message != nil {
				f(x, message, constantText(message, constants[x.dir]))
			}
			return true
		})
	}
}

func messageOf(n ast.Node) ast.Expr {
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	at, ok := messageAt[sel.Sel.Name]
	if !ok || len(call.Args) <= at {
		return nil
	}
	if !strings.HasSuffix(sel.Sel.Name, "Context") && !logger(sel.X) {
		return nil
	}
	return call.Args[at]
}

// logger reports whether an expression is named like a logger: slog, log, Log,
// x.Log, logger.
func logger(e ast.Expr) bool {
	name := ident(e)
	if sel, ok := e.(*ast.SelectorExpr); ok {
		name = sel.Sel.Name
	}
	name = strings.ToLower(name)
	return name == "slog" || name == "log" || name == "logger"
}

func collectConstants(f *file, out map[string]map[string]string) {
	for _, d := range f.ast.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, name := range v.Names {
				if i < len(v.Values) {
					if out[f.dir] == nil {
						out[f.dir] = map[string]string{}
					}
					out[f.dir][name.Name] = constantText(v.Values[i], nil)
				}
			}
		}
	}
}

func constantText(e ast.Expr, constants map[string]string) string {
	switch x := e.(type) {
	case *ast.BasicLit:
		if s, err := strconv.Unquote(x.Value); err == nil && x.Kind == token.STRING {
			return s
		}
	case *ast.Ident:
		return constants[x.Name]
	}
	return ""
}
