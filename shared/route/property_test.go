package route

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// drawn is a random world with few names, so that they meet.
func drawn(r *rapid.T) Inputs {
	models := []string{"openrouter/a", "openrouter/b", "openai_compatible/a", "openai_compatible/c", "mistral/a"}
	pick := func(label string, n int) []string {
		return rapid.SliceOfN(rapid.SampledFrom(models), 0, n).Draw(r, label)
	}
	in := Inputs{Provider: providers, Now: now}
	for i := range rapid.IntRange(0, 6).Draw(r, "connections") {
		in.Connections = append(in.Connections, connection.Connection{ID: string(rune('a' + i)), Label: rapid.SampledFrom([]string{"p", "q", "legacy_openrouter_key"}).Draw(r, "label"),
			Provider:      rapid.SampledFrom([]taxonomy.Provider{taxonomy.OpenRouter, taxonomy.OpenAICompatible, taxonomy.Mistral}).Draw(r, "provider"),
			Priority:      int64(rapid.IntRange(0, 2).Draw(r, "priority")),
			CreatedAt:     now.Add(time.Duration(rapid.IntRange(-2, 0).Draw(r, "age")) * time.Hour),
			Models:        rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "openrouter/a"}), 0, 2).Draw(r, "models"),
			BillingSource: rapid.SampledFrom([]taxonomy.BillingSource{taxonomy.BYOK, taxonomy.Private}).Draw(r, "source"),
			Enabled:       rapid.IntRange(0, 3).Draw(r, "on") > 0, AllowPlatformFallback: rapid.Bool().Draw(r, "allow"),
			Status: rapid.SampledFrom([]connection.Status{connection.Active, connection.Active, connection.Active, connection.Revoked}).Draw(r, "status"),
			Health: connection.Health{Status: rapid.SampledFrom([]connection.HealthStatus{connection.Healthy, connection.Unknown, connection.Failed, connection.Unverified}).Draw(r, "health")},
			Cooldown: connection.Cooldown{Until: now.Add(time.Duration(rapid.IntRange(-1, 1).Draw(r, "rest")) * time.Minute),
				Refused: rapid.Bool().Draw(r, "refused")}})
	}
	in.Settings = org.Settings{DefaultModel: rapid.SampledFrom(append(models, "")).Draw(r, "default"), EnabledModels: pick("enabled", 4), Fallback: pick("fallback", 3),
		Aliases: map[string]string{"fast": "openrouter/b"}, Routing: org.Routing{"general": {"text": pick("cell", 2)}, "tooling": {"vision": pick("cell2", 2)}},
		PrivacyMode:  rapid.SampledFrom([]org.PrivacyMode{org.PrivacyOff, org.PrivacyPreferLocal, org.PrivacyLocalOnly}).Draw(r, "privacy"),
		QualityFloor: rapid.SampledFrom([]org.QualityFloor{org.QualityUnrated, org.QualityUnrated, org.QualityBronze, org.QualityGold}).Draw(r, "floor")}
	if rapid.IntRange(0, 3).Draw(r, "legacy") == 0 {
		in.Settings.Legacy = &org.Legacy{Profiles: []org.LegacyProfile{{ID: "p", Enabled: rapid.Bool().Draw(r, "profile"), Priority: 1, CooldownUntil: now.Add(time.Minute)}}}
	}
	in.Request = Request{Model: rapid.SampledFrom(append(models, "", Auto, "fast")).Draw(r, "model"), Fallback: append(pick("chain", 2), rapid.SampledFrom([]string{"fast", "gone"}).Draw(r, "word")),
		Agent: rapid.Bool().Draw(r, "agent"), Intent: rapid.SampledFrom(append(taxonomy.Intents(), "")).Draw(r, "intent"),
		Modality: rapid.SampledFrom(append(taxonomy.Modalities(), "")).Draw(r, "modality"),
		Needs:    rapid.SliceOfN(rapid.SampledFrom(taxonomy.Capabilities()), 0, 2).Draw(r, "needs"),
		Pin:      Pin{Model: rapid.SampledFrom(append(models, "")).Draw(r, "pin"), Connection: rapid.SampledFrom([]string{"", "a", "b"}).Draw(r, "pinned")}}
	if len(in.Connections) > 0 && rapid.IntRange(0, 3).Draw(r, "force") == 0 {
		in.Request.Connection = in.Connections[0].ID
	}
	tiers := []org.QualityFloor{"", org.QualityUnrated, org.QualityBronze, org.QualitySilver, org.QualityGold}
	tier := rapid.IntRange(0, 4).Draw(r, "tier")
	in.Facts = func(_ taxonomy.Provider, m string) Facts { return Facts{Tier: tiers[(tier+len(m))%5]} }
	return in
}

// TestPlanKeepsItsPromises checks what must hold for every plan, whatever the
// organisation looks like.
func TestPlanKeepsItsPromises(t *testing.T) {
	known := map[Reason]bool{}
	for _, why := range Reasons() {
		known[why] = true
	}
	rapid.Check(t, func(r *rapid.T) {
		in := drawn(r)
		got, err := Plan(in)
		again, err2 := Plan(in)
		if !reflect.DeepEqual(got, again) || (err == nil) != (err2 == nil) {
			r.Fatal("two plans of the same inputs differ")
		}
		shuffled := in
		shuffled.Connections = rapid.Permutation(in.Connections).Draw(r, "order")
		if other, _ := Plan(shuffled); show(Result{Candidates: other.Candidates}) != show(Result{Candidates: got.Candidates}) {
			r.Fatalf("the order of the connections as read decides:\n%s\n%s", show(got), show(other))
		}
		if err != nil {
			return
		}
		type way struct{ name, id string }
		at := func(c Candidate) way {
			if c.Connection == nil {
				return way{c.Name(), ""}
			}
			return way{c.Name(), c.Connection.ID}
		}
		seen := map[way]bool{}
		ids := map[string]bool{}
		for i, c := range got.Candidates {
			if seen[at(c)] {
				r.Fatalf("%v twice: %s", at(c), show(got))
			}
			seen[at(c)], ids[at(c).id] = true, true
			if !known[c.Reason] || c.Origin == "" {
				r.Fatalf("candidate without a known reason: %+v", c)
			}
			if in.Settings.PrivacyMode == org.PrivacyLocalOnly && c.Source != taxonomy.Private {
				r.Fatalf("local_only let %v through", at(c))
			}
			if f := in.Request.Connection; f != "" && at(c).id != f {
				r.Fatalf("%v although %s is forced", at(c), f)
			}
			if in.Settings.PrivacyMode == org.PrivacyPreferLocal && i > 0 && public(got.Candidates[i-1]) > public(c) {
				r.Fatalf("prefer_local put %v late: %s", at(c), show(got))
			}
			if c.Connection != nil {
				k := *c.Connection
				if why := connection.Usable(k, now); why != connection.IsUsable && !(why == connection.IsCooling && c.Reason == LastResort && !k.Cooldown.Refused) {
					r.Fatalf("%v is %s", at(c), why)
				}
			}
		}
		for _, e := range got.Excluded {
			if !known[e.Reason] {
				r.Fatalf("exclusion without a known reason: %+v", e)
			}
			if e.Candidate.Model != "" && seen[at(e.Candidate)] {
				r.Fatalf("%v is in both lists: %s", at(e.Candidate), show(got))
			}
			ids[at(e.Candidate).id] = true
		}
		for _, c := range in.Connections {
			if !ids[c.ID] {
				r.Fatalf("connection %s is in no list: %s", c.ID, show(got))
			}
		}
	})
}

// TestThePlatformPaysOnlyWhereItMay: whatever is planned, a platform candidate
// that is allowed has no own connection that forbids it.
func TestThePlatformPaysOnlyWhereItMay(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		in := drawn(r)
		bound := rapid.Bool().Draw(r, "bound")
		got, err := Plan(in)
		if err != nil {
			return
		}
		for _, c := range got.Candidates {
			if c.Source != taxonomy.Platform {
				continue
			}
			own := connection.ForModel(in.Connections, c.Provider, c.Model)
			forbids := slices.ContainsFunc(own, func(k connection.Connection) bool { return !k.AllowPlatformFallback })
			d := billing.Decide(billing.Inputs{RequestSource: taxonomy.LLM, OrgActive: true, TierBYOK: true, Candidate: c.Source, OrgAllowPlatformFallback: bound,
				Connection: billing.Connection{Exists: len(own) > 0, Usable: true, AllowPlatformFallback: len(own) > 0 && !forbids}})
			if d.Allowed != (len(own) == 0 || bound && !forbids) {
				r.Fatalf("%s with %d own connections, forbidden %v, bound %v: %+v", c.Name(), len(own), forbids, bound, d)
			}
		}
	})
}
