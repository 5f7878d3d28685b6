package stacks

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// grant is one statement of one function's role.
type grant struct {
	function string
	st       map[string]any
}

// grants lists the statements of all functions' roles, wherever they stand in
// the template; what cannot be followed is a finding.
func grants(t template) (out []grant, findings []string) {
	function := map[string]string{} // by role
	for _, p := range t.ofType("AWS::Lambda::Function") {
		role, _ := p["Role"].(map[string]any)
		at, _ := role["Fn::GetAtt"].([]any)
		name, _ := p["FunctionName"].(string)
		if len(at) != 2 {
			findings = append(findings, name+" has a role from elsewhere")
			continue
		}
		function[at[0].(string)] = strings.TrimPrefix(name, "latchkey-test-")
	}
	add := func(owner string, document any) {
		for _, st := range one(document.(map[string]any)["Statement"]) {
			out = append(out, grant{owner, st.(map[string]any)})
		}
	}
	for id, p := range t.ofType("AWS::IAM::Role") {
		if p["ManagedPolicyArns"] != nil {
			findings = append(findings, id+" has managed policies")
		}
		if list, ok := p["Policies"].([]any); ok {
			for _, inline := range list {
				add(function[id], inline.(map[string]any)["PolicyDocument"])
			}
		}
	}
	for _, kind := range []string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"} {
		for id, p := range t.ofType(kind) {
			roles, ok := p["Roles"].([]any)
			if !ok {
				findings = append(findings, id+" belongs to no role")
			}
			for _, r := range roles {
				ref, _ := r.(map[string]any)["Ref"].(string)
				add(function[ref], p["PolicyDocument"])
			}
		}
	}
	return out, findings
}

// keyFindings says what is wrong with the key permissions: a class of
// credentials is opened by exactly the functions of the topology, each
// statement is bound to the vault key, this product and stage, an organisation
// that is named, and nothing else in the context.
func keyFindings(all []grant, functions []topology.Function) []string {
	var out []string
	got, want := map[string]bool{}, map[string]bool{}
	for _, f := range functions {
		for _, k := range f.KMS {
			for _, a := range k.Actions {
				if len(k.Classes) == 0 {
					want[f.Name+" kms:"+a+" of the MAC key"] = true
				}
				for _, c := range k.Classes {
					want[f.Name+" kms:"+a+" of "+string(c)] = true
				}
			}
		}
	}
	for _, g := range all {
		if g.st["Effect"] == "Deny" {
			continue // it grants nothing
		}
		if g.st["NotAction"] != nil || g.st["NotResource"] != nil || g.st["Effect"] != "Allow" {
			out = append(out, g.function+" has a statement that is no plain Allow")
			continue
		}
		for _, a := range one(g.st["Action"]) {
			action := a.(string)
			if strings.Contains(action, "*") {
				out = append(out, g.function+" has the wildcard action "+action)
			}
			if !strings.HasPrefix(action, "kms:") {
				continue
			}
			for _, class := range classesOf(g, action, &out) {
				got[g.function+" "+action+" of "+class] = true
			}
		}
	}
	for _, x := range slices.Sorted(maps.Keys(got)) {
		if !want[x] {
			out = append(out, x+" is granted and not in the topology")
		}
	}
	for _, x := range slices.Sorted(maps.Keys(want)) {
		if !got[x] {
			out = append(out, x+" is in the topology and not granted")
		}
	}
	return out
}

// The parameters that hold the ARN of a key; there may be several vault keys.
var (
	vaultKey = regexp.MustCompile(`^\{Ref:SsmParameterValue[a-z]*vaultkey[0-9]*arn\w*Parameter\}$`)
	macKey   = regexp.MustCompile(`^\{Ref:SsmParameterValue[a-z]*mackeyarn\w*Parameter\}$`)
)

// classesOf returns the credential classes that a key statement reaches, after
// checking its key and conditions.
func classesOf(g grant, action string, out *[]string) []string {
	where := g.function + " " + action
	for _, r := range one(g.st["Resource"]) {
		switch resource := text(r); {
		case macKey.MatchString(resource) && len(one(g.st["Resource"])) == 1:
			return []string{"the MAC key"}
		case !vaultKey.MatchString(resource):
			*out = append(*out, where+": the resource is no vault key: "+resource)
		}
	}
	conditions, _ := g.st["Condition"].(map[string]any)
	equals, _ := conditions["StringEquals"].(map[string]any)
	for key, value := range map[string]any{"kms:EncryptionContext:app": topology.App, "kms:EncryptionContext:stage": "test"} {
		if equals[key] != value {
			*out = append(*out, where+": "+key+" is not fixed")
		}
	}
	if null, _ := conditions["Null"].(map[string]any); null["kms:EncryptionContext:org"] != "false" {
		*out = append(*out, where+": no organisation is demanded")
	}
	only, _ := conditions["ForAllValues:StringEquals"].(map[string]any)
	if text(only["kms:EncryptionContextKeys"]) != text(topology.ContextKeys()) {
		*out = append(*out, where+": further context keys are admitted")
	}
	var classes []string
	if cls := equals["kms:EncryptionContext:cls"]; cls != nil {
		for _, c := range one(cls) {
			classes = append(classes, c.(string))
		}
	}
	if len(classes) == 0 {
		*out = append(*out, where+": no class is named")
	}
	return classes
}

func TestKeyPermissions(t *testing.T) {
	all, findings := grants(app)
	for _, f := range append(findings, keyFindings(all, topology.Functions())...) {
		t.Error(f)
	}
	// The template, not only the topology, has nothing for these.
	for _, g := range all {
		for _, a := range one(g.st["Action"]) {
			kms := strings.HasPrefix(a.(string), "kms:")
			switch g.function {
			case "":
				t.Errorf("a statement belongs to no function: %v", g.st)
			case topology.Console:
				if a == "kms:Decrypt" || strings.HasPrefix(a.(string), "kms:ReEncrypt") {
					t.Errorf("console has %v", a)
				}
			case topology.Settle, topology.Sweep:
				if kms {
					t.Errorf("%s has %v", g.function, a)
				}
			case topology.Billing:
				if kms && (a != "kms:Decrypt" || !slices.Equal(classesOf(g, "kms:Decrypt", new([]string)), []string{string(taxonomy.Payment)})) {
					t.Errorf("%s has %v of %v", g.function, a, classesOf(g, "kms:Decrypt", new([]string)))
				}
			}
		}
	}
}

// TestWhoMayOpenAsDeployed: the table in SECURITY.md and the design speak of the
// rendered template too.
func TestWhoMayOpenAsDeployed(t *testing.T) {
	all, _ := grants(app)
	for _, class := range taxonomy.CredentialClasses() {
		got := []string{}
		for _, g := range all {
			if g.st["Effect"] == "Allow" && slices.Contains(one(g.st["Action"]), any("kms:Decrypt")) && slices.Contains(classesOf(g, "kms:Decrypt", new([]string)), string(class)) {
				got = append(got, g.function)
			}
		}
		slices.Sort(got)
		if want := credential.Decryptors(class); !slices.Equal(got, want) {
			t.Errorf("%s: deployed %v, declared %v", class, got, want)
		}
	}
}

// TestKeyPermissionFindings plants one violation at a time.
func TestKeyPermissionFindings(t *testing.T) {
	all, _ := grants(app)
	conditions := func(st map[string]any, operator string) map[string]any {
		return st["Condition"].(map[string]any)[operator].(map[string]any)
	}
	decrypt, mac := map[string]any{}, map[string]any{}
	for _, g := range all {
		if slices.Contains(one(g.st["Action"]), any("kms:GenerateMac")) {
			mac = g.st
		}
		if g.function == topology.Webhook && slices.Contains(one(g.st["Action"]), any("kms:Decrypt")) {
			decrypt = g.st
		}
	}
	for want, plant := range map[string]func(st map[string]any){
		"the resource is no vault key: *":                  func(st map[string]any) { st["Resource"] = "*" },
		"no vault key: *":                                  func(st map[string]any) { st["Resource"] = []any{st["Resource"], "*"} },
		"no vault key: {Ref:SsmParameterValueother}":       func(st map[string]any) { st["Resource"] = map[string]any{"Ref": "SsmParameterValueother"} },
		"no vault key: arn:aws:kms:::key/*":                func(st map[string]any) { st["Resource"] = "arn:aws:kms:::key/*" },
		"webhook kms:Decrypt of the MAC key is granted":    func(st map[string]any) { st["Resource"] = mac["Resource"] },
		"no vault key: {Ref:SsmParameterValuelatchkeytest": func(st map[string]any) { st["Resource"] = []any{st["Resource"], mac["Resource"]} },
		"kms:EncryptionContext:app is not fixed":           func(st map[string]any) { delete(conditions(st, "StringEquals"), "kms:EncryptionContext:app") },
		"kms:EncryptionContext:stage is not fixed":         func(st map[string]any) { conditions(st, "StringEquals")["kms:EncryptionContext:stage"] = "prod" },
		"no class is named":                                func(st map[string]any) { delete(conditions(st, "StringEquals"), "kms:EncryptionContext:cls") },
		"webhook kms:Decrypt of ai_key is granted and not": func(st map[string]any) {
			conditions(st, "StringEquals")["kms:EncryptionContext:cls"] = []any{"channel_verify", "ai_key"}
		},
		"webhook kms:Decrypt of channel_verify is in the to": func(st map[string]any) { conditions(st, "StringEquals")["kms:EncryptionContext:cls"] = "ai_key" },
		"no organisation is demanded":                        func(st map[string]any) { delete(st["Condition"].(map[string]any), "Null") },
		"Decrypt: no organisation":                           func(st map[string]any) { conditions(st, "Null")["kms:EncryptionContext:org"] = "true" },
		"further context keys":                               func(st map[string]any) { delete(st["Condition"].(map[string]any), "ForAllValues:StringEquals") },
		"webhook has the wildcard action kms:*":              func(st map[string]any) { st["Action"] = "kms:*" },
		"wildcard action kms:Decr*":                          func(st map[string]any) { st["Action"] = []any{"kms:Decrypt", "kms:Decr*"} },
		"webhook kms:Encrypt of channel_verify is granted":   func(st map[string]any) { st["Action"] = []any{"kms:Decrypt", "kms:Encrypt"} },
		"no plain Allow":                                     func(st map[string]any) { st["NotAction"] = "kms:Encrypt"; delete(st, "Action") },
	} {
		planted := clone(decrypt)
		plant(planted)
		rest := slices.DeleteFunc(slices.Clone(all), func(g grant) bool {
			return g.function == topology.Webhook && slices.Contains(one(g.st["Action"]), any("kms:Decrypt"))
		})
		if found := keyFindings(append(rest, grant{topology.Webhook, planted}), topology.Functions()); !strings.Contains(strings.Join(found, "\n"), want) {
			t.Errorf("%s was not found: %v", want, found)
		}
	}
	for _, function := range []string{topology.Console, topology.Settle, topology.Sweep, "billing"} {
		want := fmt.Sprintf("%s kms:Decrypt of channel_verify is granted and not in the topology", function)
		if found := keyFindings(append(slices.Clone(all), grant{function, clone(decrypt)}), topology.Functions()); !slices.Contains(found, want) {
			t.Errorf("%s was not found: %v", want, found)
		}
	}
}

// TestStatementsAreFollowed plants permissions in the other places that a
// template has for them.
func TestStatementsAreFollowed(t *testing.T) {
	document := map[string]any{"Statement": map[string]any{"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}}
	for want, resource := range map[string]string{
		"Odd has managed policies":             `{"Type":"AWS::IAM::Role","Properties":{"ManagedPolicyArns":["arn"]}}`,
		"Odd belongs to no role":               `{"Type":"AWS::IAM::ManagedPolicy","Properties":{}}`,
		"settle has a role from elsewhere":     `{"Type":"AWS::Lambda::Function","Properties":{"FunctionName":"settle","Role":"arn"}}`,
		" kms:Decrypt: the resource is no vau": `{"Type":"AWS::IAM::Role","Properties":{"Policies":[{"PolicyDocument":` + string(marshal(document)) + `}]}}`,
		"sweep kms:Decrypt: the resource is ": `{"Type":"AWS::IAM::ManagedPolicy","Properties":{"Roles":[{"Ref":"R"}],"PolicyDocument":` +
			string(marshal(document)) + `}}`,
	} {
		var tree template
		if err := json.Unmarshal([]byte(`{"Resources":{"Odd":`+resource+`,"F":{"Type":"AWS::Lambda::Function",
			"Properties":{"FunctionName":"latchkey-test-sweep","Role":{"Fn::GetAtt":["R","Arn"]}}}}}`), &tree); err != nil {
			t.Fatal(err)
		}
		all, findings := grants(tree)
		if found := strings.Join(append(findings, keyFindings(all, nil)...), "\n"); !strings.Contains(found, want) {
			t.Errorf("%s was not found: %s", want, found)
		}
	}
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func clone(st map[string]any) map[string]any {
	var out map[string]any
	if err := json.Unmarshal(marshal(st), &out); err != nil {
		panic(err)
	}
	return out
}
