package billing

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/latchkey/latchkey/shared/fault"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

func sampleInputs() Inputs {
	return Inputs{Org: "org1", RequestSource: taxonomy.LLM, Candidate: taxonomy.BYOK, Forced: "", OrgActive: true, Tier: taxonomy.Enterprise,
		TierBYOK: true, Preference: BYOKPreferred, OrgAllowPlatformFallback: true,
		Connection: Connection{Exists: true, Usable: true, AllowPlatformFallback: false, ID: "conn1", Version: 3, CredentialVersion: 2},
		Provider:   "openai_compatible", Model: "m \"quoted\"\n", Agent: "agent1", SettingsVersion: 7, PriceVersion: "p000001-abc", PolicyVersion: "1",
		Sharing: Sharing{Mode: SharedWhenEmpty, Agency: "agency1", Version: 4}}
}

// TestHashGolden holds the bytes that stored decisions are hashed over. If it
// fails, old records stop replaying: raise the version instead.
func TestHashGolden(t *testing.T) {
	const wantBytes = `{"v":2,"org":"org1","request_source":"llm","candidate":"byok","forced":"","org_active":true,"tier":"enterprise","tier_byok":true,` +
		`"preference":"byok_preferred","org_fallback":true,"conn_exists":true,"conn_usable":true,"conn_fallback":false,"conn_id":"conn1",` +
		`"conn_version":3,"cred_version":2,"funds_refused":false,"provider":"openai_compatible","model":"m \"quoted\"\u000a","agent":"agent1",` +
		`"settings_version":7,"price_version":"p000001-abc","policy_version":"1",` +
		`"agency":"agency1","sharing":"shared_when_empty","sharing_refused":false,"sharing_version":4}`
	const wantHash = "31f618bacd875da216bef1340e5a8065399b184be3ced7dda642368ab5322271"
	if got := string(Canonical(sampleInputs())); got != wantBytes {
		t.Errorf("canonical bytes:\n%s", got)
	}
	if got := Hash(sampleInputs()); got != wantHash {
		t.Errorf("hash: %s", got)
	}
}

// TestEveryInputIsHashed changes each field in turn.
func TestEveryInputIsHashed(t *testing.T) {
	base := Hash(sampleInputs())
	var change func(v reflect.Value, path string, in *Inputs)
	change = func(v reflect.Value, path string, in *Inputs) {
		if v.Kind() == reflect.Struct {
			for i := range v.NumField() {
				change(v.Field(i), path+"."+v.Type().Field(i).Name, in)
			}
			return
		}
		old := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int64:
			v.SetInt(v.Int() + 1)
		default:
			t.Fatalf("%s: kind %s", path, v.Kind())
		}
		if Hash(*in) == base {
			t.Errorf("%s is not part of the hash", path)
		}
		v.Set(old)
	}
	in := sampleInputs()
	change(reflect.ValueOf(&in).Elem(), "Inputs", &in)
	if Hash(in) != base {
		t.Fatal("the test did not restore its inputs")
	}
}

func TestParseInputs(t *testing.T) {
	in := sampleInputs()
	stored := Canonical(in)
	if !json.Valid(stored) {
		t.Fatalf("not JSON: %s", stored)
	}
	got, err := ParseInputs(stored)
	if err != nil || got != in || Decide(got) != Decide(in) {
		t.Fatalf("replay: %+v %v", got, err)
	}
	for name, bad := range map[string]string{
		"empty": "", "trailing": string(stored) + "{}", "spaces": " " + string(stored), "unknown field": `{"v":1,"x":1}`,
		"version": `{"v":3}`, "order": `{"org":"o","v":1}`, "missing fields": `{"v":1}`,
	} {
		if _, err := ParseInputs([]byte(bad)); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseInputs(f *testing.F) {
	f.Add(Canonical(sampleInputs()))
	f.Add(Canonical(Inputs{}))
	f.Add([]byte(`{"v":1,"org":"\u0000"}`))
	f.Add([]byte(recordV1))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseInputs(b)
		if err != nil {
			return
		}
		r, _ := parseRecord(b)
		if string(canonical(in, r.V)) != string(b) || HashCanonical(b) != HashCanonical(canonical(in, r.V)) {
			t.Fatalf("%q replays differently", b)
		}
	})
}
