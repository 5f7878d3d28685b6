package fault

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

func TestEveryCodeHasAClass(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "fault.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || v.Type == nil {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Code" {
			return true
		}
		declared++
		value := Code(strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`))
		if _, ok := classes[value]; !ok {
			t.Errorf("code %q has no HTTP status", value)
		}
		return true
	})
	if declared < 20 || declared != len(classes) {
		t.Errorf("%d codes declared, %d have a class", declared, len(classes))
	}
}

func TestErrorHidesItsCause(t *testing.T) {
	cause := errors.New("sk-live-123")
	err := fmt.Errorf("outer: %w", Wrap(ProviderError, "chat.Complete", "the provider failed, try again", cause))
	if strings.Contains(err.Error(), "sk-live-123") {
		t.Fatalf("cause printed: %v", err)
	}
	if CodeOf(err) != ProviderError || !errors.Is(err, cause) {
		t.Fatalf("code %q, cause kept %v", CodeOf(err), errors.Is(err, cause))
	}
	if CodeOf(errors.New("x")) != Internal || CodeOf(nil) != "" || As(nil) != nil {
		t.Fatal("foreign errors are internal, nil has no code")
	}
	if Code("nonsense").Status() != 500 || InsufficientCredits.Status() != 402 || !RateLimited.Retryable() {
		t.Fatal("status map broken")
	}
}
