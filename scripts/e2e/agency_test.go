package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey/latchkey/scripts/internal/mockvendor"
	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// newClient makes an organisation whose agency is x.
func (x *tenant) newClient(credits int64) *tenant {
	x.t.Helper()
	var o struct{ ID string }
	must(x.t, operator().Call(x.t.Context(), http.MethodPost, "/api/orgs", map[string]any{"name": fmt.Sprintf("Client %d", serial.Add(1)), "tier": "enterprise", "parent_org_id": x.ID}, &o))
	var k struct{ Key string }
	must(x.t, operator().Call(x.t.Context(), http.MethodPost, "/api/orgs/"+o.ID+"/keys", map[string]any{"name": "all", "scopes": []string{"invoke", "audio", "admin", "billing", "read"}}, &k))
	c := &tenant{t: x.t, ID: o.ID, Key: k.Key, admin: stack.Client{Base: world.BaseURL, Key: k.Key}}
	if credits > 0 {
		c.operatorCall(http.MethodPost, "/grants", map[string]any{"kind": "gifted", "amount": credits, "idempotency_key": "start"}, nil)
	}
	return c
}

func (x *tenant) share(mode string, client, total int64) {
	x.t.Helper()
	x.call(http.MethodPut, "/sharing", map[string]any{"mode": mode, "client_per_day": client, "total_per_day": total}, nil)
}

type sharing struct {
	Mode       string
	DrawnToday int64 `json:"drawn_today"`
	From       *struct {
		AgencyID   string `json:"agency_id"`
		Mode       string
		PerDay     int64 `json:"per_day"`
		DrawnToday int64 `json:"drawn_today"`
	}
}

func (x *tenant) sharing() (s sharing) {
	x.t.Helper()
	x.call(http.MethodGet, "/sharing", nil, &s)
	return s
}

// reconciled compares an organisation's entries and holds with its balance.
func (x *tenant) reconciled() {
	x.t.Helper()
	x.consistent()
	var r struct {
		OK         bool
		Mismatches []map[string]any
	}
	must(x.t, operator().Call(x.t.Context(), http.MethodPost, "/api/operator/reconcile", map[string]any{"org_id": x.ID}, &r))
	if !r.OK {
		x.t.Errorf("reconcile: %v", r.Mismatches)
	}
}

func (x *tenant) say(text string, headers ...string) answer {
	x.t.Helper()
	return post(x.t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody(simChat, text, false), headers...)
}

// holdOf is what a call of the prompt holds.
func holdOf(t *testing.T, prompt string) int64 {
	t.Helper()
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	probe := newTenant(t, "free", 1_000_000)
	go func() {
		_, _ = tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", probe.Key, chatBody(simChat, prompt, false))
	}()
	<-barrier.Reached()
	return probe.credits().Held
}

// TestAgencyCaps: of twenty parallel calls of two clients as many reach the vendor
// as the caps leave room for; what they cost is the agency's, by client, and the
// room that holds did not need can be drawn again.
func TestAgencyCaps(t *testing.T) {
	hold := holdOf(t, "caps")
	boss := newTenant(t, "agency", 100*hold)
	clients := []*tenant{boss.newClient(0), boss.newClient(0)}
	boss.share("shared_always", 7*hold, 10*hold)
	barrier := vendor.Hold(mockvendor.BeforeHeaders)
	defer barrier.Release()
	var granted [2]atomic.Int64
	var refused atomic.Int64
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", clients[i%2].Key, chatBody(simChat, "caps", false))
			switch {
			case err == nil && a.Status == http.StatusOK && a.Header.Get("x-latchkey-billing-rule") == "P7a":
				granted[i%2].Add(1)
			case err == nil && a.code() == "insufficient_credits" && strings.Contains(string(a.Body), "cap of the day"):
				refused.Add(1)
			default:
				t.Errorf("%v %d %s", err, a.Status, a.Body)
			}
		})
	}
	eventually(t, "ten are refused", func() bool { return refused.Load() == 10 })
	if held := boss.credits().Held; held != 10*hold {
		t.Errorf("%d held, a hold is %d", held, hold)
	}
	barrier.Release()
	group.Wait()
	one, two := granted[0].Load(), granted[1].Load()
	if one+two != 10 || one > 7 || two > 7 {
		t.Errorf("%d and %d were served", one, two)
	}
	spent := 100*hold - boss.settled().Posted
	if d := boss.sharing().DrawnToday; spent <= 0 || d != spent || d >= 10*hold {
		t.Errorf("%d spent, %d counted as drawn", spent, d)
	}
	if a := clients[0].say("caps"); a.Status != http.StatusOK {
		t.Errorf("what was given back cannot be drawn: %d %s", a.Status, a.Body)
	}
	spent = 100*hold - boss.settled().Posted
	var sum int64
	for i, c := range clients {
		want := granted[i].Load() + map[int]int64{0: 1}[i]
		var cost int64
		eventually(t, "usage of both sides", func() bool {
			var mine, theirs struct {
				Items []struct {
					Key            map[string]string
					Requests, Cost int64
					Paid           int64 `json:"paid_by_agency"`
				}
			}
			c.call(http.MethodGet, "/usage", nil, &mine)
			boss.call(http.MethodGet, "/usage?group_by=client", nil, &theirs)
			for _, r := range theirs.Items {
				if r.Key["client"] == c.ID && r.Requests == want {
					cost = r.Cost
				}
			}
			return len(mine.Items) == 1 && mine.Items[0].Requests == want && mine.Items[0].Cost == 0 && mine.Items[0].Paid == cost && cost > 0
		})
		if d := c.sharing().From; d == nil || d.AgencyID != boss.ID || d.DrawnToday != cost || d.PerDay != 7*hold {
			t.Errorf("client %d drew %d, it is told %+v", i, cost, d)
		}
		sum += cost
		c.reconciled()
		if got := c.credits(); got != (credits{}) {
			t.Errorf("the client's own credits moved: %+v", got)
		}
	}
	if sum != spent {
		t.Errorf("clients drew %d, the agency spent %d", sum, spent)
	}
	boss.reconciled()
}

// TestWhoPaysWithAnAgency plays mode x own credits x connection x forced source.
func TestWhoPaysWithAnAgency(t *testing.T) {
	for _, mode := range []string{"off", "shared_when_empty", "shared_always"} {
		for _, own := range []int64{0, 1_000_000} {
			boss := newTenant(t, "agency", 1_000_000)
			boss.share(mode, 500_000, 900_000)
			x := boss.newClient(own)
			key := fmt.Sprintf("%sAGENCY%s%d", byokKey, strings.TrimPrefix(mode, "shared_"), own)
			for _, connected := range []bool{false, true} {
				if connected {
					x.connect(key, map[string]any{"provider": "openrouter"})
				}
				for _, forced := range []string{"", "platform"} {
					name := fmt.Sprintf("%s, own credits %d, connected %v, forced %q", mode, own, connected, forced)
					source, rule, payer := "platform", "P7", x.ID
					switch {
					case connected && forced == "":
						source, rule, payer = "byok", "P5", ""
					case !connected && (mode == "shared_always" || mode == "shared_when_empty" && own == 0):
						rule, payer = "P7a", boss.ID
					case own == 0 && connected:
						// The answer speaks of the first candidate, the own key.
						source, rule, payer = "", "P1", ""
					case own == 0:
						source, rule, payer = "", "P8", ""
					}
					x.paidBy(name, boss, forced, source, rule, payer)
				}
			}
			x.reconciled()
			boss.reconciled()
		}
	}
}

func (x *tenant) paidBy(name string, boss *tenant, forced, source, rule, payer string) {
	x.t.Helper()
	var headers []string
	if forced != "" {
		headers = []string{"x-latchkey-billing", forced}
	}
	mine, theirs := x.settled().Posted, boss.settled().Posted
	a := x.say("who pays", headers...)
	if a.Header.Get("x-latchkey-billing-source") != source || a.Header.Get("x-latchkey-billing-rule") != rule || (a.Status == http.StatusOK) != (source != "") {
		x.t.Errorf("%s: %d %s %s %s", name, a.Status, a.Body, a.Header.Get("x-latchkey-billing-source"), a.Header.Get("x-latchkey-billing-rule"))
		return
	}
	if source == "" {
		return
	}
	var r struct {
		Cost     int64
		State    string
		Replays  bool
		Attempts []struct {
			Payer    string `json:"payer_org_id"`
			Rule     string
			Decision struct{ Inputs map[string]any }
		}
	}
	eventually(x.t, name+": settled", func() bool {
		x.call(http.MethodGet, "/requests/"+a.Header.Get("x-request-id"), nil, &r)
		return r.State == "SETTLED"
	})
	if !r.Replays || len(r.Attempts) != 1 || r.Attempts[0].Payer != payer || r.Attempts[0].Rule != rule || payer == boss.ID && r.Attempts[0].Decision.Inputs["agency"] != boss.ID {
		x.t.Errorf("%s: %+v", name, r)
	}
	mine, theirs = mine-x.settled().Posted, theirs-boss.settled().Posted
	if mine != map[bool]int64{true: r.Cost}[payer == x.ID] || theirs != map[bool]int64{true: r.Cost}[payer == boss.ID] || (payer != "") != (r.Cost > 0) {
		x.t.Errorf("%s: cost %d, the client paid %d, the agency %d", name, r.Cost, mine, theirs)
	}
}

// TestAgencyStops: what ends sharing ends it with the next call, whether or not the
// clients have been told; and a client can be taken out.
func TestAgencyStops(t *testing.T) {
	boss := newTenant(t, "agency", 1_000_000)
	boss.share("shared_always", 500_000, 900_000)
	x, y := boss.newClient(0), boss.newClient(0)
	want := func(what string, x *tenant, rule string) {
		t.Helper()
		if a := x.say("stop"); a.Header.Get("x-latchkey-billing-rule") != rule || (a.Status == http.StatusOK) != (rule == "P7a") {
			t.Errorf("%s: %d %s %s", what, a.Status, a.Header.Get("x-latchkey-billing-rule"), a.Body)
		}
	}
	want("shared", x, "P7a")
	boss.operatorCall(http.MethodPatch, "", map[string]any{"status": "suspended"}, nil)
	want("agency suspended", x, "P8")
	boss.operatorCall(http.MethodPatch, "", map[string]any{"status": "active"}, nil)
	want("agency resumed", x, "P7a")
	boss.operatorCall(http.MethodPatch, "", map[string]any{"tier": "pro"}, nil)
	want("tier without clients", x, "P8")
	boss.operatorCall(http.MethodPatch, "", map[string]any{"tier": "agency"}, nil)
	want("tier with clients", x, "P7a")
	boss.call(http.MethodPut, "/sharing/clients/"+x.ID, map[string]any{"mode": "off"}, nil)
	want("off for one", x, "P8")
	want("on for the other", y, "P7a")
	// What a client cannot do: see or change it for itself, or for others.
	for _, path := range []string{"/api/orgs/" + boss.ID + "/sharing", "/api/orgs/" + boss.ID + "/sharing/clients/" + x.ID} {
		if err := x.admin.Call(t.Context(), http.MethodPut, path, map[string]any{"mode": "shared_always"}, nil); statusOf(err) != http.StatusNotFound {
			t.Errorf("PUT %s by a client: %v", path, err)
		}
	}
	boss.call(http.MethodPut, "/sharing", map[string]any{"mode": "off"}, nil)
	want("off for all", y, "P8")
	boss.reconciled()
}

// TestAgencyKill: a caller that dies leaves the agency's hold and the caps to the
// sweep; its usage is charged to the agency once.
func TestAgencyKill(t *testing.T) {
	hold := holdOf(t, "kill agency 1")
	boss := newTenant(t, "agency", 100*hold)
	boss.share("shared_when_empty", 2*hold, 2*hold)
	x := boss.newClient(0)
	for i, p := range []killPoint{{"before the answer", false, barrierAt(mockvendor.BeforeHeaders), 1, false}, {"after usage is recorded", false, afterCommit("UpdateItem"), 1, true}} {
		wait, release := p.arm(t)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = tryPost(context.Background(), world.FunctionURLs["invoke"]+"/v1/chat/completions", x.Key, chatBody(simChat, fmt.Sprintf("kill agency %d", i), false))
		}()
		wait()
		killBusy(t, "invoke")
		release()
		<-done
		if !p.charged {
			var holds struct {
				Items []struct {
					ClientID string `json:"client_id"`
					Amount   int64
				}
			}
			boss.call(http.MethodGet, "/holds", nil, &holds)
			if len(holds.Items) != 1 || holds.Items[0].ClientID != x.ID || holds.Items[0].Amount != hold || boss.sharing().DrawnToday != hold {
				t.Errorf("%+v, a hold is %d, drawn %d", holds, hold, boss.sharing().DrawnToday)
			}
			boss.reconcileHeld()
		}
		sweep(t, time.Hour)
		spent := 100*hold - boss.settled().Posted
		if (spent > 0) != p.charged || boss.sharing().DrawnToday != spent {
			t.Errorf("%s: %d spent, %d drawn", p.name, spent, boss.sharing().DrawnToday)
		}
	}
	boss.reconciled()
	x.reconciled()
}

// reconcileHeld compares while something is held.
func (x *tenant) reconcileHeld() {
	x.t.Helper()
	var r struct{ OK bool }
	must(x.t, operator().Call(x.t.Context(), http.MethodPost, "/api/operator/reconcile", map[string]any{"org_id": x.ID}, &r))
	if !r.OK || x.credits().Held == 0 {
		x.t.Errorf("with an open hold: %+v", r)
	}
}

// TestSequentialCallsWithAnAgency: a draw makes no call more.
func TestSequentialCallsWithAnAgency(t *testing.T) {
	boss := newTenant(t, "agency", 1_000_000)
	boss.share("shared_always", 500_000, 900_000)
	x := boss.newClient(0)
	chat := func() {
		if a := x.say("count"); a.Status != http.StatusOK || a.Header.Get("x-latchkey-billing-rule") != "P7a" {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	chat()
	chat()
	calls := strings.FieldsFunc(strings.Join(watchRounds(t, chat), " + "), func(r rune) bool { return r == ' ' || r == '+' })
	slices.Sort(calls)
	if want := []string{"dynamodb.BatchGetItem", "dynamodb.Query", "dynamodb.Query", "dynamodb.TransactWriteItems"}; !slices.Equal(calls, want) {
		t.Errorf("calls before the first upstream byte: %v", calls)
	}
}
