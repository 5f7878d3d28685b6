package config

import (
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/taxonomy"
)

func lookup(env map[string]string) func(string) (string, bool) {
	return func(k string) (string, bool) { v, ok := env[k]; return v, ok }
}

var all = Needs{Tables: true, Vault: true, TurnQueue: true, PublicURL: true,
	Providers: []taxonomy.Provider{taxonomy.OpenRouter}, Channels: []taxonomy.Channel{taxonomy.Slack}}

func full(stage string) map[string]string {
	return map[string]string{
		Stage: stage, PublicURL: "https://x.example/", VaultKeyARN: "arn:1", MACKeyARN: "arn:2", TurnQueueURL: "https://q",
		"LATCHKEY_TABLE_CONFIG": "c", "LATCHKEY_TABLE_VAULT": "v", "LATCHKEY_TABLE_SESSIONS": "s",
		"LATCHKEY_TABLE_LEDGER": "l", "LATCHKEY_TABLE_USAGE": "u",
	}
}

func TestMissingVariablesAreReportedTogether(t *testing.T) {
	_, err := Load(lookup(nil), all)
	if err == nil {
		t.Fatal("an empty environment was accepted")
	}
	for _, name := range []string{Stage, PublicURL, VaultKeyARN, MACKeyARN, TurnQueueURL, "LATCHKEY_TABLE_LEDGER", "LATCHKEY_TABLE_USAGE"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error does not name %s: %v", name, err)
		}
	}
	if _, err := Load(lookup(map[string]string{Stage: "prod"}), Needs{}); err != nil {
		t.Errorf("a function that needs nothing needs only the stage: %v", err)
	}
}

func TestLocalOnlyVariablesAreRefusedOnAWS(t *testing.T) {
	for _, name := range []string{"LATCHKEY_PLATFORM_OPENROUTER_KEY", "LATCHKEY_PLATFORM_OPENROUTER_BASE_URL", "LATCHKEY_SLACK_API_URL", EndpointAllow} {
		env := full("prod")
		env[name] = "http://127.0.0.1:9/CANARY"
		_, err := Load(lookup(env), all)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s accepted outside the local stage: %v", name, err)
		} else if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: the error shows the value", name)
		}
		env[Stage] = Local
		if name == "LATCHKEY_PLATFORM_OPENROUTER_KEY" {
			env[name] = "k"
		}
		if _, err := Load(lookup(env), all); err != nil {
			t.Errorf("%s refused on the local stage: %v", name, err)
		}
	}
}

func TestBasesOpenExactlyTheirOwnHost(t *testing.T) {
	env := full(Local)
	env["LATCHKEY_SLACK_API_URL"] = "http://127.0.0.1:7001/api/"
	env["LATCHKEY_PLATFORM_OPENROUTER_BASE_URL"] = "http://127.0.0.1:7002/v1"
	env[EndpointAllow] = " 127.0.0.1:7003 ,127.0.0.1:7001"
	c, err := Load(lookup(env), all)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.EndpointAllow, " "); got != "127.0.0.1:7001 127.0.0.1:7002 127.0.0.1:7003" {
		t.Errorf("allowed %q", got)
	}
	if c.APIBases[taxonomy.Slack] != "http://127.0.0.1:7001/api" || c.PublicURL != "https://x.example" {
		t.Errorf("bases not trimmed: %+v %q", c.APIBases, c.PublicURL)
	}
	env["LATCHKEY_SLACK_API_URL"] = "http://user:pw@127.0.0.1:7001"
	if _, err := Load(lookup(env), all); err == nil {
		t.Error("userinfo in an API base was accepted")
	}
}

// TestKeysVariables: what is published first gives the variable its name.
func TestKeysVariables(t *testing.T) {
	for c, want := range map[taxonomy.Channel]string{taxonomy.Teams: "LATCHKEY_TEAMS_OPENID_API_URL", taxonomy.GoogleChat: "LATCHKEY_GOOGLE_CHAT_JWKS_API_URL"} {
		if got := KeysAPIVar(c); got != want {
			t.Errorf("%s: %s", c, got)
		}
	}
}

func TestVaultReferences(t *testing.T) {
	for ref, ok := range map[string]bool{"platform/openrouter": true, "platform": false, "a/b/c": false, "/x": false} {
		env := full("prod")
		env["LATCHKEY_PLATFORM_OPENROUTER_SECRET"] = ref
		c, err := Load(lookup(env), all)
		if (err == nil) != ok {
			t.Errorf("reference %q: %v", ref, err)
		}
		if ok && c.Platform[taxonomy.OpenRouter].VaultRef != ref {
			t.Errorf("reference %q lost", ref)
		}
	}
	env := full(Local)
	env["LATCHKEY_PLATFORM_OPENROUTER_SECRET"], env["LATCHKEY_PLATFORM_OPENROUTER_KEY"] = "platform/a", "k"
	if _, err := Load(lookup(env), all); err == nil {
		t.Error("two platform credentials for one provider were accepted")
	}
}

// TestFunctionNames: a function knows exactly the functions it may invoke.
func TestFunctionNames(t *testing.T) {
	env := map[string]string{Stage: "prod", FunctionVar("a"): "latchkey-prod-a:live", FunctionVar("b"): "x"}
	c, err := Load(lookup(env), Needs{Invokes: []string{"a"}})
	if err != nil || len(c.Functions) != 1 || c.Functions["a"] != "latchkey-prod-a:live" {
		t.Errorf("functions %v, %v", c.Functions, err)
	}
	if _, err := Load(lookup(env), Needs{Invokes: []string{"c"}}); err == nil || !strings.Contains(err.Error(), "LATCHKEY_FUNCTION_C") {
		t.Errorf("missing name: %v", err)
	}
}

// TestVaultKeys: one key or several; a list with a slip in it is refused whole.
func TestVaultKeys(t *testing.T) {
	env := full("prod")
	for value, want := range map[string]string{"arn:1": "arn:1", " arn:2 , arn:1": "arn:2|arn:1", "arn:1,,arn:2": "", "arn:1,arn:2,arn:1": "", "arn:1,": ""} {
		env[VaultKeyARN] = value
		c, err := Load(lookup(env), all)
		if got := strings.Join(c.VaultKeyARNs, "|"); got != want || (err == nil) != (want != "") || err != nil && !strings.Contains(err.Error(), VaultKeyARN) {
			t.Errorf("%q gives %q, %v; want %q", value, got, err, want)
		}
	}
}

// TestPayments: the functions take a reference, never the secret itself.
func TestPayments(t *testing.T) {
	for value, ok := range map[string]bool{"": true, "operator/stripe": true, "whsec_CANARY": false, "a/b/c": false, "/x": false} {
		for _, stage := range []string{Local, "prod"} {
			env := map[string]string{Stage: stage, StripeWebhookSecret: value, StripeKey: "sk_CANARY"}
			c, err := Load(lookup(env), Needs{Payments: true})
			if (err == nil) != ok || ok && c.Payments.VaultRef != value || err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s %q: %+v %v", stage, value, c.Payments, err)
			}
		}
	}
	env := map[string]string{Stage: "prod", StripeAPI: "http://127.0.0.1:9"}
	if _, err := Load(lookup(env), Needs{Payments: true}); err == nil || !strings.Contains(err.Error(), StripeAPI) {
		t.Errorf("another vendor's address outside of the local stage: %v", err)
	}
	env[Stage] = Local
	if c, err := Load(lookup(env), Needs{Payments: true}); err != nil || len(c.EndpointAllow) != 1 {
		t.Errorf("%+v %v", c, err)
	}
}
