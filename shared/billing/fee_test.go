package billing

import (
	"encoding/json"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestSurchargeExact compares a surcharge with fractions of any size: basis points
// of the price before anything is rounded, then up, once.
func TestSurchargeExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, rates := fullModel(t)
		u, parts := anyUsage(t)
		tier := 0
		if u.InputTokens >= tierStart {
			tier = 1
		}
		bps := rapid.Int64Range(1, 10_000).Draw(t, "bps")
		want := upToMicro(new(big.Rat).Mul(inUSD(rates, parts, tier), big.NewRat(bps, 10_000)))
		got, err := Fee{BPS: bps}.Of(b, "p", "m", u)
		if want.Cmp(big.NewInt(int64(MaxAmount))) > 0 || u.Check() != nil {
			if fault.CodeOf(err) != fault.InvalidRequest {
				t.Fatalf("out of range: %d %v", got, err)
			}
			return
		}
		if err != nil || big.NewInt(int64(got)).Cmp(want) != 0 {
			t.Fatalf("%+v at %d: got %d %v, want %s", u, bps, got, err, want)
		}
	})
}

// TestFeeLaws: the hold for a surcharge covers what the estimate allows, a flat fee
// is what it is, and only a surcharge needs a price.
func TestFeeLaws(t *testing.T) {
	b := testBook(t, row("m", InputText, 3_000_001), row("m", OutputText, 15_000_001))
	e := Expected{InputTokens: 1000, MaxOutput: 500}
	hold, err := Fee{BPS: 500}.Estimate(b, "p", "m", e)
	if whole, _, _ := Estimate(b, "p", "m", e); err != nil || hold != (whole*500+9999)/10_000 {
		t.Errorf("hold %d of %d, %v", hold, whole, err)
	}
	used, err := Fee{BPS: 500}.Of(b, "p", "m", Usage{InputTokens: 1000, OutputTokens: 500})
	if err != nil || used > hold || used == 0 {
		t.Errorf("used %d, held %d, %v", used, hold, err)
	}
	if m, err := (Fee{BPS: 1}).Of(b, "p", "m", Usage{}); m != 0 || err != nil {
		t.Errorf("nothing used costs %d %v", m, err)
	}
	for _, name := range []string{"m", "unpriced"} {
		if m, err := (Fee{Flat: 7}).Of(b, "p", name, Usage{InputTokens: 5}); m != 7 || err != nil {
			t.Errorf("flat: %d %v", m, err)
		}
		if m, err := (Fee{Flat: 7}).Estimate(b, "p", name, e); m != 7 || err != nil {
			t.Errorf("flat: %d %v", m, err)
		}
	}
	if _, err := (Fee{BPS: 1}).Estimate(b, "p", "unpriced", e); fault.CodeOf(err) != fault.PriceMissing {
		t.Errorf("%v", err)
	}
	if _, err := (Fee{BPS: 1}).Of(b, "p", "unpriced", Usage{InputTokens: 1}); fault.CodeOf(err) != fault.PriceMissing {
		t.Errorf("%v", err)
	}
}

// TestFeeHeld: the last tenth of an allowance is held for, at least 20 and at most
// 1,000 requests of it.
func TestFeeHeld(t *testing.T) {
	for _, c := range []struct {
		free, used int64
		want       bool
	}{
		{0, 0, true}, {0, 5, true}, {1, 0, true}, {20, 0, true}, {21, 0, false}, {21, 1, true},
		{200, 179, false}, {200, 180, true}, {1000, 899, false}, {1000, 900, true}, {1000, 1000, true}, {1000, 5000, true},
		{1_000_000, 998_999, false}, {1_000_000, 999_000, true},
	} {
		f := Fees{FlatFee: 3, FreeRequests: c.free}.fee(taxonomy.BYOK, c.used)
		if f.Held != c.want || f.Free != c.free {
			t.Errorf("%d of %d: %+v", c.used, c.free, f)
		}
	}
}

// TestFeeDecision: the source decides which fee applies, and a refusal of funds
// reaches only calls that hold one.
func TestFeeDecision(t *testing.T) {
	terms := Fees{Policy: "c1", SurchargeBPS: 500, PrivateFee: 9}
	for _, c := range []struct {
		name string
		set  func(*Inputs)
		want Fee
		rule string
	}{
		{"an own key", func(in *Inputs) {}, Fee{BPS: 500, Held: true}, RuleBYOKPreferred},
		{"an own endpoint", func(in *Inputs) { in.Candidate = taxonomy.Private }, Fee{Flat: 9, Held: true}, RulePrivate},
		{"the platform's", func(in *Inputs) { in.Candidate, in.Connection = taxonomy.Platform, Connection{} }, Fee{}, RulePlatform},
		{"what is denied", func(in *Inputs) { in.TierBYOK = false }, Fee{}, RuleDenied},
		{"funds refused", func(in *Inputs) { in.FundsRefused = true }, Fee{}, RuleFundsRefused},
		{"funds refused, nothing held", func(in *Inputs) { in.FundsRefused, in.Fees.FreeRequests = true, 1000 }, Fee{BPS: 500, Free: 1000}, RuleBYOKPreferred},
		{"funds refused, no fee", func(in *Inputs) { in.FundsRefused, in.Fees = true, Fees{Policy: "c0"} }, Fee{}, RuleBYOKPreferred},
	} {
		in := sampleInputs()
		in.Fees, in.PolicyVersion = terms, PolicyVersion
		c.set(&in)
		d := Decide(in)
		if d.Fee != c.want || d.Rule != c.rule || d.Allowed != (c.rule != RuleFundsRefused && c.rule != RuleDenied) {
			t.Errorf("%s: %+v", c.name, d)
		}
		if again, err := Recompute(Canonical(in)); err != nil || again.Decision != d || again.Hash != Hash(in) {
			t.Errorf("%s: recomputed %+v, %v", c.name, again, err)
		}
	}
}

func withPolicy(in Inputs) Inputs {
	in.PolicyVersion = PolicyVersion
	return in
}

// TestFeesGolden holds the bytes of version 3: what the second version has, and the
// terms behind it.
func TestFeesGolden(t *testing.T) {
	in := sampleInputs()
	plain := string(Canonical(in))
	in.Fees, in.FreeUsed = Fees{Policy: "c1", FlatFee: 1, SurchargeBPS: 2, PrivateFee: 3, FreeRequests: 4}, 5
	want := `{"v":3,` + plain[len(`{"v":2,`):len(plain)-1] + `,"fee_policy":"c1","fee_flat":1,"fee_bps":2,"fee_private":3,"fee_free":4,"fee_free_used":5}`
	if got := string(Canonical(in)); got != want {
		t.Errorf("canonical bytes:\n%s", got)
	}
	const wantHash = "60f7983de79d384a1345b66c782a8ca2cd1cc3d240676fb0dbb62704bcf820de"
	if got := Hash(in); got != wantHash {
		t.Errorf("hash: %s", got)
	}
	if got, err := ParseInputs([]byte(want)); err != nil || got != in {
		t.Errorf("%+v %v", got, err)
	}
	// What is shown of a record are the bytes that were hashed, zeros or not.
	for _, fees := range []Fees{{Policy: "c1"}, {FlatFee: 5}, {Policy: "c1", FreeRequests: 7}, in.Fees} {
		in.Fees, in.Model = fees, "plain"
		again, err := Recompute(Canonical(withPolicy(in)))
		shown, _ := json.Marshal(again.Record)
		if err != nil || string(shown) != string(Canonical(withPolicy(in))) {
			t.Errorf("%s\n%s %v", shown, Canonical(withPolicy(in)), err)
		}
	}
	// Terms in a record of an earlier version, and none in one of the third, are not ours.
	for _, bad := range []string{`{"v":2,` + want[len(`{"v":3,`):], `{"v":1,` + want[len(`{"v":3,`):], `{"v":3,` + plain[len(`{"v":2,`):]} {
		if _, err := ParseInputs([]byte(bad)); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
