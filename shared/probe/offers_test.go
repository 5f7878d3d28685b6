package probe_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/fault"
)

// TestAListIsKept: what the vendor lists is kept with the key it is of, bounded,
// sorted and without what nobody could ask for.
func TestAListIsKept(t *testing.T) {
	s := openStation(t)
	c := s.add("c1", nil)
	s.v.body["/v1/models"] = `{"data":[{"id":"zeta"},{"id":"alpha","context_length":131072,"max_completion_tokens":8192},{"id":"alpha"},{"id":"two words"},{"id":""},
		{"id":"` + strings.Repeat("x", 201) + `"},{"id":"` + strings.Repeat("y", 200) + `"}]}`
	seen, err := s.Probe(t.Context(), "o1", "c1", connection.ListModels, "")
	if err != nil || seen.Verdict != connection.Listed || seen.ModelCount != 6 {
		t.Fatalf("%+v %v", seen, err)
	}
	got, err := s.store.Offers(t.Context(), "o1")
	want := []connection.Offers{{Org: "o1", Connection: "c1", Fingerprint: c.Fingerprint, BaseURL: c.BaseURL, At: s.now, Total: 6,
		Models: []connection.Offered{{Model: "alpha", ContextTokens: 131072, MaxOutputTokens: 8192}, {Model: strings.Repeat("y", 200)}, {Model: "zeta"}}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}

	// A list that fails leaves the last one; so does every other probe.
	s.now = s.now.Add(1e9)
	s.v.status["/v1/models"] = 500
	if seen, err := s.Probe(t.Context(), "o1", "c1", connection.ListModels, ""); err != nil || seen.Verdict != connection.Undecided {
		t.Errorf("%+v %v", seen, err)
	}
	if again, _ := s.store.Offers(t.Context(), "o1"); !reflect.DeepEqual(again, want) {
		t.Errorf("a failed list replaced the last one: %+v", again)
	}

	// A long list is cut, and its length is known.
	s.now = s.now.Add(1e9)
	delete(s.v.status, "/v1/models")
	var ids []string
	for i := range connection.MaxOffered + 7 {
		ids = append(ids, fmt.Sprintf(`{"id":"m%04d"}`, i))
	}
	s.v.body["/v1/models"] = `{"data":[` + strings.Join(ids, ",") + `]}`
	if _, err := s.Probe(t.Context(), "o1", "c1", connection.ListModels, ""); err != nil {
		t.Fatal(err)
	}
	long, _ := s.store.Offers(t.Context(), "o1")
	if len(long) != 1 || len(long[0].Models) != connection.MaxOffered || long[0].Total != connection.MaxOffered+7 || long[0].Models[499].Model != "m0499" {
		t.Errorf("%d models of %d", len(long[0].Models), long[0].Total)
	}
}

// TestAListThatCannotBeKept is told to whoever waits; the health is recorded.
func TestAListThatCannotBeKept(t *testing.T) {
	s := openStation(t)
	s.add("c1", nil)
	s.store.Before = func(action string) error {
		if action == "offers" {
			return fault.New(fault.Unavailable, "t", "down")
		}
		return nil
	}
	if _, err := s.Probe(t.Context(), "o1", "c1", connection.ListModels, ""); fault.CodeOf(err) != fault.Unavailable {
		t.Errorf("got %v", err)
	}
	if h := s.health("c1"); h.Probe != connection.ListModels {
		t.Errorf("%+v", h)
	}
}
