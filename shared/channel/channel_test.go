package channel_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/webhook"
)

func TestStrictJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, c := range map[string]struct {
		body string
		ok   bool
	}{
		"object":             {`{"a":{"b":[1,"x",null,true]},"c":1e999}`, true},
		"depth 64":           {deep(64), true},
		"depth 65":           {deep(65), false},
		"array depth 65":     {`{"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + "}", false},
		"duplicate":          {`{"a":1,"a":2}`, false},
		"duplicate nested":   {`{"x":[{"a":1,"a":2}]}`, false},
		"duplicate escaped":  {`{"a":1,"\u0061":2}`, false},
		"differs in case":    {`{"a":1,"A":2}`, true},
		"trailing":           {`{} {}`, false},
		"trailing brace":     {`{}}`, false},
		"array":              {`[]`, false},
		"text":               {`"x"`, false},
		"empty":              {``, false},
		"cut":                {`{"a":`, false},
		"invalid utf-8":      {"{\"a\":\"\xff\"}", false},
		"byte order mark":    {"\ufeff{}", false},
		"unquoted":           {`{a:1}`, false},
		"leading zeros":      {`{"a":01}`, false},
		"trailing comma":     {`{"a":1,}`, false},
		"white space around": {" {\"a\":1}\n", true},
	} {
		_, err := channel.StrictJSON([]byte(c.body))
		if c.ok != (err == nil) || err != nil && !errors.Is(err, channel.ErrJSON) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestObjectMatchesExactly(t *testing.T) {
	o, err := channel.StrictJSON([]byte(`{"Type":"evil","type":"good","n":1,"l":[{"x":"y"}]}`))
	if err != nil || o.Str("type") != "good" || o.Str("n") != "" || o.First("l").Str("x") != "y" || o.Obj("none").Obj("deeper").Bool("x") {
		t.Fatalf("%v %v", o, err)
	}
}

func TestSameTenant(t *testing.T) {
	e := channel.Entry{Identity: [][]string{{"app"}, {"team", "enterprise"}}}
	cfg := func(kv ...string) webhook.Config {
		c := webhook.Config{}
		for i := 0; i < len(kv); i += 2 {
			c[kv[i]] = []string{kv[i+1]}
		}
		return c
	}
	for name, c := range map[string]struct {
		cfg  webhook.Config
		got  channel.Identity
		want bool
	}{
		"equal":                        {cfg("app", "A", "team", "T"), channel.Identity{"app": "A", "team": "T"}, true},
		"extra identity":               {cfg("app", "A", "team", "T"), channel.Identity{"app": "A", "team": "T", "enterprise": "E"}, true},
		"other app":                    {cfg("app", "A", "team", "T"), channel.Identity{"app": "B", "team": "T"}, false},
		"other team":                   {cfg("app", "A", "team", "T"), channel.Identity{"app": "A", "team": "U"}, false},
		"second of group":              {cfg("app", "A", "enterprise", "E"), channel.Identity{"app": "A", "team": "U", "enterprise": "E"}, true},
		"both configured, one differs": {cfg("app", "A", "team", "T", "enterprise", "E"), channel.Identity{"app": "A", "team": "T", "enterprise": "F"}, false},
		"absent in request":            {cfg("app", "A", "team", "T"), channel.Identity{"app": "A"}, false},
		"group not configured":         {cfg("app", "A"), channel.Identity{"app": "A", "team": "T"}, false},
		"nothing at all":               {nil, nil, false},
	} {
		if e.SameTenant(c.cfg, c.got) != c.want {
			t.Errorf("%s: not %v", name, c.want)
		}
	}
}
