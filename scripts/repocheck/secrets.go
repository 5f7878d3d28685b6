package repocheck

import (
	"go/ast"
	"reflect"
	"strconv"
	"strings"
	"unicode"
)

func secretRules() []rule {
	return []rule{
		{"secret-fields", "a secret in a string or a byte slice ends up in a log; it is a secret.Text, or the list below says why it is none", secretFields},
		{"secret-tags", "what is tagged as a secret is one", secretTags},
		{"secret-bodies", "a secret that comes in is a secret from the first byte", secretBodies},
	}
}

// secretWords mark names that sound like a secret.
var secretWords = []string{"key", "secret", "token", "password", "passphrase", "private", "credential"}

// soundsSecret looks at the parts of a name in camel or snake case: APIKey,
// bot_token and "apikey" match, Keywords does not.
func soundsSecret(name string) bool {
	for _, part := range parts(name) {
		for _, w := range secretWords {
			if strings.HasSuffix(strings.TrimSuffix(part, "s"), w) {
				return true
			}
		}
	}
	return false
}

// parts splits a name before every capital that begins a word, and at
// underscores, in lower case.
func parts(name string) []string {
	var out []string
	start := 0
	runes := []rune(name)
	for i := 1; i < len(runes); i++ {
		begins := unicode.IsUpper(runes[i]) && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if begins || runes[i] == '_' {
			out = append(out, strings.ToLower(strings.Trim(string(runes[start:i]), "_")))
			start = i
		}
	}
	return append(out, strings.ToLower(strings.Trim(string(runes[start:]), "_")))
}

// harmless are fields that sound like a secret and are none, "folder
// Type.Field", each with its reason. An entry that no field needs any more fails
// a test.
var harmless = map[string]string{
	"shared/admin entryJSON.KeyID":                                    "names an API key",
	"shared/outbox entryDetail.KeyID":                                 "names an API key",
	"shared/integration Integration.Credential":                       "the id of a credential",
	"shared/redact Set.secrets":                                       "what must be found in text has to be compared with it; the set is cleared and wiped after each invocation",
	"shared/limit Subject.Key":                                        "the id of an API key",
	"shared/model Request.CacheKey":                                   "names a prompt cache; a hash of public ids",
	"shared/admin postingBody.IdempotencyKey":                         "a client's word for one posting; it opens nothing",
	"shared/admin newMessage.IdempotencyKey":                          "a client's word for one message; it opens nothing",
	"shared/admin rotationFailure.CredentialID":                       "names a credential",
	"shared/admin usageRow.Key":                                       "the group that a row sums up",
	"shared/agent/tool Tool.Credential":                               "names a credential of the vault",
	"shared/agent/turn ToolCall.Key":                                  "names a call of a turn for the tool",
	"shared/agent/turn AnswerRequest.RequestKey":                      "names a model request of a turn",
	"shared/channel Entry.HandshakeSecret":                            "the name of a field",
	"shared/channel Entry.SendSecret":                                 "the name of a field",
	"shared/channel Entry.VerifySecret":                               "the name of a field",
	"shared/channel Envelope.ContentKey":                              "names a message for deduplication",
	"shared/channel SetupInput.SecretsSet":                            "names of fields",
	"shared/channels/discord address.token":                           "an interaction's, on its way from the envelope's ReplyTo into the path of a call",
	"shared/channels/googlechat account.keyID":                        "names a key",
	"shared/channels/googlechat readAccount.KeyID":                    "names a key",
	"shared/config Config.KeysBases":                                  "addresses at which public keys are published",
	"shared/config Config.TokenBases":                                 "addresses at which tokens are handed out",
	"shared/config Config.MACKeyARN":                                  "the address of a key that never leaves the key service",
	"shared/config Config.VaultKeyARNs":                               "the address of a key that never leaves the key service",
	"shared/credit ChargeRequest.IdempotencyKey":                      "a client's word for one charge; it opens nothing",
	"shared/credit ChargeRequest.Key":                                 "names the API key that a request came with",
	"shared/credit Entry.Key":                                         "names the API key that a request came with",
	"shared/credit GrantRequest.IdempotencyKey":                       "a client's word for one posting; it opens nothing",
	"shared/credit ReserveRequest.Key":                                "names the API key that a request came with",
	"shared/credit Used.Key":                                          "names the API key that a request came with",
	"shared/gateway Query.IdempotencyKey":                             "a client's word for one request; it opens nothing",
	"shared/install Claim.Token":                                      "a keyed hash of a token",
	"shared/model/jsonwire checker.keys":                              "names of a JSON object's fields",
	"shared/providers/internal/chatcompletions Config.MaxTokensField": "the name of a field",
	"shared/session Session.Key":                                      "the routing key that finds a session",
	"shared/topology TableAccess.Keys":                                "patterns of partition keys",
	"shared/vault Head.FingerprintKey":                                "names the key behind the fingerprints",
	"shared/vault Rewrap.FromKey":                                     "the address of a wrapping key",
	"shared/vault cacheEntry.key":                                     "a data key; it is overwritten when it leaves the cache, which a secret.Text cannot be",
	"shared/rotation Failure.Credential":                              "names a credential",
	"shared/vault/kmskey Options.KeyARNs":                             "the address of a key that never leaves the key service",
	"shared/vault/kmskey Options.MACKeyARN":                           "the address of a key that never leaves the key service",
}

// field is one named field of a struct type.
type field struct {
	file  *file
	owner string // the type, or function, that the struct belongs to
	name  string
	typ   ast.Expr
	tag   reflect.StructTag
}

func (f field) id() string { return f.file.dir + " " + f.owner + "." + f.name }

// structFields lists the fields of every struct type that a Lambda can hold.
func structFields(t *tree) []field {
	var out []field
	for _, pf := range t.files {
		if pf.test || suite(pf.dir) || !under(pf.dir, "shared") && !under(pf.dir, "functions") {
			continue
		}
		for _, d := range pf.ast.Decls {
			owner := ""
			if fn, ok := d.(*ast.FuncDecl); ok {
				owner = fn.Name.Name
			}
			ast.Inspect(d, func(n ast.Node) bool {
				switch x := n.(type) {
				case *ast.TypeSpec:
					owner = x.Name.Name
				case *ast.StructType:
					out = append(out, fieldsOf(pf, owner, x)...)
				}
				return true
			})
		}
	}
	return out
}

func fieldsOf(pf *file, owner string, s *ast.StructType) []field {
	var out []field
	for _, f := range s.Fields.List {
		var tag reflect.StructTag
		if f.Tag != nil {
			text, _ := strconv.Unquote(f.Tag.Value)
			tag = reflect.StructTag(text)
		}
		for _, name := range f.Names {
			out = append(out, field{pf, owner, name.Name, f.Type, tag})
		}
	}
	return out
}

// readable reports whether a type shows its bytes to anybody: text, bytes, and
// lists, maps and pointers of such.
func readable(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name == "string"
	case *ast.StarExpr:
		return readable(x.X)
	case *ast.ArrayType:
		return ident(x.Elt) == "byte" || readable(x.Elt)
	case *ast.MapType:
		return readable(x.Value)
	}
	return false
}

// sealed reports whether a type is secret.Text.
func sealed(e ast.Expr) bool {
	sel, ok := e.(*ast.SelectorExpr)
	return ok && ident(sel.X) == "secret" && sel.Sel.Name == "Text"
}

// undeclared lists the fields that sound like a secret and can be read, the
// harmless ones included.
func undeclared(t *tree) []field {
	var out []field
	for _, f := range structFields(t) {
		if soundsSecret(f.name) && readable(f.typ) {
			out = append(out, f)
		}
	}
	return out
}

func secretFields(t *tree, bad func(string, string)) {
	for _, f := range undeclared(t) {
		if harmless[f.id()] == "" {
			bad(f.file.path, f.id()+" is readable; make it a secret.Text or give a reason in scripts/repocheck/secrets.go")
		}
	}
}

func secretTags(t *tree, bad func(string, string)) {
	for _, f := range structFields(t) {
		if f.tag.Get("vault") == "secret" && !sealed(f.typ) {
			bad(f.file.path, f.id()+" is tagged as a secret and is no secret.Text")
		}
	}
}

// bodyArgument says which argument of a route constructor is the request's body.
var bodyArgument = map[string]int{"create": 3, "act": 3, "change": 4}

// secretBodies follows the body types of the admin API's route table.
func secretBodies(t *tree, bad func(string, string)) {
	types := map[string]*ast.StructType{}
	files := map[string]*file{}
	var bodies []string
	for _, pf := range t.files {
		if pf.test || pf.dir != "shared/admin" {
			continue
		}
		ast.Inspect(pf.ast, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.TypeSpec:
				if s, ok := x.Type.(*ast.StructType); ok {
					types[x.Name.Name], files[x.Name.Name] = s, pf
				}
			case *ast.CallExpr:
				if i, ok := bodyArgument[ident(x.Fun)]; ok && i < len(x.Args) {
					bodies = append(bodies, literalType(x.Args[i]))
				}
			}
			return true
		})
	}
	seen := map[string]bool{"": true}
	for len(bodies) > 0 {
		name := bodies[0]
		bodies = bodies[1:]
		if s := types[name]; s != nil && !seen[name] {
			bodies = append(bodies, checkBody(files[name], name, s, bad)...)
		}
		seen[name] = true
	}
}

func literalType(e ast.Expr) string {
	if lit, ok := e.(*ast.CompositeLit); ok {
		return ident(lit.Type)
	}
	return ""
}

// bodySafe are the types that a secret may be decoded into, and those that hold
// none: counts and switches.
var bodySafe = map[string]bool{"secretText": true, "secretValues": true, "int": true, "int64": true, "bool": true}

// checkBody reports fields that sound like a secret and would be decoded into
// something else, and returns the types that the body contains.
func checkBody(pf *file, name string, s *ast.StructType, bad func(string, string)) (inner []string) {
	for _, f := range s.Fields.List {
		if len(f.Names) == 0 {
			inner = append(inner, innermost(f.Type))
		}
	}
	for _, f := range fieldsOf(pf, name, s) {
		wire, _, _ := strings.Cut(f.tag.Get("json"), ",")
		of := innermost(f.typ)
		inner = append(inner, of)
		if (soundsSecret(wire) || soundsSecret(f.name)) && !bodySafe[of] && harmless[f.id()] == "" {
			bad(pf.path, f.id()+" is decoded into something that can be read; make it a secretText")
		}
	}
	return inner
}

// innermost is the name of the type inside pointers, lists and maps.
func innermost(e ast.Expr) string {
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.ArrayType:
			e = x.Elt
		case *ast.MapType:
			e = x.Value
		default:
			return ident(e)
		}
	}
}
