package catalog

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestEveryFolderIsListed: a vendor folder without a line here, or a line
// without a folder, fails.
func TestEveryFolderIsListed(t *testing.T) {
	dirs, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, d := range dirs {
		if d.IsDir() && d.Name() != "catalog" && d.Name() != "internal" {
			folders = append(folders, d.Name())
		}
	}
	var listed []string
	for _, e := range Entries() {
		listed = append(listed, strings.ReplaceAll(string(e.ID), "_", ""))
	}
	if !slices.IsSorted(listed) {
		t.Errorf("not sorted: %v", listed)
	}
	slices.Sort(folders)
	if !slices.Equal(folders, listed) {
		t.Errorf("folders %v, listed %v", folders, listed)
	}
}

func TestEntriesAreComplete(t *testing.T) {
	guard, err := egress.New(egress.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range Entries() {
		if id, ok := taxonomy.ParseProvider(string(e.ID)); !ok || id != e.ID {
			t.Errorf("%s is no provider ID", e.ID)
		}
		if e.Title == "" || e.Key.Header == "" || e.CheckKey == nil || e.ListModels == nil && !e.VoiceOnly {
			t.Errorf("%s is incomplete", e.ID)
		}
		// An entry has adapters that match its capabilities, or none of both.
		if e.Has(taxonomy.CapText) != (e.NewChat != nil) || e.Has(taxonomy.CapAudioOut) != (e.NewSynthesizer != nil) ||
			e.Served() != (e.NewChat != nil || e.NewSynthesizer != nil || e.NewTranscriber != nil) {
			t.Errorf("%s declares what it does not have, or the other way round", e.ID)
		}
		// The class of a key decides who may open it, so it is never guessed.
		if e.VoiceOnly && e.Has(taxonomy.CapText) || e.Served() && e.VoiceOnly == e.Has(taxonomy.CapText) {
			t.Errorf("%s: voice only is %v, capabilities %v", e.ID, e.VoiceOnly, e.Capabilities)
		}
		if e.Tenant() != (e.DefaultBaseURL == "") {
			t.Errorf("%s: a vendor has hosts and a base URL, a tenant endpoint neither", e.ID)
		}
		if _, ok := taxonomy.ParseBillingSource(string(e.DefaultBilling)); !ok {
			t.Errorf("%s: default billing %q", e.ID, e.DefaultBilling)
		}
		if e.Tenant() {
			continue
		}
		u, err := url.Parse(e.DefaultBaseURL)
		if err != nil || !slices.Contains(e.Hosts, u.Hostname()) || strings.HasSuffix(u.Path, "/") {
			t.Errorf("%s: base URL %q does not fit hosts %v", e.ID, e.DefaultBaseURL, e.Hosts)
		}
		if _, err := guard.CheckTenantURL(e.DefaultBaseURL); err != nil {
			t.Errorf("%s: %v", e.ID, err)
		}
	}
	if _, ok := Lookup("nobody"); ok {
		t.Error("found nobody")
	}
}
