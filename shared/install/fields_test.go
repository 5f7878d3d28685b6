package install_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
)

// redeclare lets change alter a copy of the channel's declarations.
func (e *env) redeclare(change func(*channel.Entry)) {
	entry, _ := catalog.New(catalog.Entries()).Find(taxonomy.Slack)
	entry.Secrets = append([]channel.SecretField(nil), entry.Secrets...)
	entry.Config = append([]channel.ConfigField(nil), entry.Config...)
	change(&entry)
	e.s.Catalog = catalog.New([]channel.Entry{entry})
}

// TestDeclarationsDecideWhatIsShown: a view shows what the declarations let out
// now, whatever was stored under earlier ones.
func TestDeclarationsDecideWhatIsShown(t *testing.T) {
	e := newEnv(t)
	n := e.sample("i1")
	n.Secrets["bot_token"] = values("x", "xoxb-0123456789-abcdefwxyz")["x"]
	i, err := e.create(n)
	if err != nil {
		t.Fatal(err)
	}
	token := func() string { return fmt.Sprint(e.s.View(i, e.now).Secrets["bot_token"]) }
	if v := e.s.View(i, e.now); v.Secrets["bot_token"][0].Hint != "wxyz" || v.Secrets["signing_secret"][0].Hint != "" || v.Config["team_id"] != "T1" {
		t.Errorf("%+v", v)
	}
	e.redeclare(func(c *channel.Entry) {
		c.Secrets[1].Hint = credential.NoHint
		c.Config[1].Sensitivity = credential.Internal
	})
	if v := e.s.View(i, e.now); v.Secrets["bot_token"][0].Hint != "" || v.Secrets["bot_token"][0].Fingerprint == "" || v.Config["team_id"] != nil || v.Config["app_id"] != "AI1" {
		t.Errorf("%+v", v)
	}
	e.redeclare(func(c *channel.Entry) { c.Secrets, c.Config = c.Secrets[:1], nil })
	if v := e.s.View(i, e.now); len(v.Secrets) != 1 || token() != "[]" || len(v.Config) != 0 {
		t.Errorf("%+v", v)
	}
}

// TestAllValuesAreCheckedBeforeOneIsSealed: a request that is refused leaves
// nothing in the vault.
func TestAllValuesAreCheckedBeforeOneIsSealed(t *testing.T) {
	e := newEnv(t)
	for param, bad := range map[string]string{"secrets.bot_token": "****wxyz", "secrets.signing_secret": "line\nbreak"} {
		for range 8 { // the order of a map
			n := e.sample("i1")
			n.Secrets[param[len("secrets."):]] = values("x", bad)["x"]
			_, err := e.create(n)
			e.want(err, fault.InvalidRequest, param)
		}
	}
	if heads, err := e.vault.Heads(t.Context(), "o1"); err != nil || len(heads) != 0 {
		t.Errorf("%+v, %v", heads, err)
	}
	e.made("i1")
	_, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", "bot_token", secret.FromString("••••wxyz"), time.Time{})
	e.want(err, fault.InvalidRequest, "value")
	i, _, err := e.s.Get(t.Context(), "o1", "i1")
	if err != nil || i.Version != 1 || len(i.Claims) != 2 {
		t.Errorf("a refused rotation left a claim: %+v, %v", i, err)
	}
}

// TestOverlapIsDeclared: without retire_at the field's own overlap counts.
func TestOverlapIsDeclared(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	e.redeclare(func(c *channel.Entry) { c.Secrets[0].Overlap = time.Hour })
	i, err := e.s.Rotate(t.Context(), e.op(), "o1", "i1", "signing_secret", secret.FromString("the next secret"), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	retiring := e.s.View(i, e.now).Secrets["signing_secret"]
	if len(retiring) != 2 || retiring[1].RetireAt == nil || !retiring[1].RetireAt.Equal(e.now.Add(time.Hour)) {
		t.Errorf("%+v", retiring)
	}
}

func TestSettingsAreCheckedByTheirDeclaration(t *testing.T) {
	e := newEnv(t)
	e.made("i1")
	for _, bad := range []string{"lower", "A\x00", string(make([]byte, 600))} {
		_, err := e.s.Update(t.Context(), e.op(), "o1", "i1", install.Patch{Config: webhook.Config{"bot_user_id": {bad}}})
		e.want(err, fault.InvalidRequest, "config.bot_user_id")
	}
}
