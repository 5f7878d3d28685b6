package catalog_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// TestListEqualsFolders: forgetting the line in the list fails here.
func TestListEqualsFolders(t *testing.T) {
	dirs, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	var folders, listed []string
	for _, d := range dirs {
		if d.IsDir() && d.Name() != "catalog" && d.Name() != "internal" {
			folders = append(folders, d.Name())
		}
	}
	for _, e := range catalog.Entries() {
		listed = append(listed, strings.ReplaceAll(string(e.ID), "_", ""))
	}
	if !slices.Equal(folders, listed) {
		t.Fatalf("folders %v, listed %v", folders, listed)
	}
}

func TestEntriesAreComplete(t *testing.T) {
	c := catalog.New(catalog.Entries())
	for _, e := range catalog.Entries() {
		if _, ok := c.Find(e.ID); !ok || e.Scheme == nil || e.Adapter == nil || e.Setup == nil || e.Tenant == nil ||
			len(e.Methods) == 0 || len(e.Config) == 0 || e.RetryHorizon <= 0 || (e.Handshake == nil) != (e.HandshakeSecret == "") {
			t.Errorf("%s is incomplete", e.ID)
		}
		if e.Scheme.NeedsSecret() != slices.Contains(e.SecretNames(taxonomy.ChannelVerify), e.VerifySecret) || e.Keys != nil && e.Scheme.NeedsSecret() {
			t.Errorf("%s: verify secret %q is not declared", e.ID, e.VerifySecret)
		}
		if e.HandshakeSecret != "" && !slices.Contains(e.SecretNames(taxonomy.ChannelVerify), e.HandshakeSecret) {
			t.Errorf("%s: handshake secret %q is not declared", e.ID, e.HandshakeSecret)
		}
		if len(e.Identity) == 0 && !e.Config[0].Required {
			t.Errorf("%s: nothing names the tenant", e.ID)
		}
		if !slices.Contains(e.SecretNames(taxonomy.ChannelSend), e.SendSecret) {
			t.Errorf("%s: send secret %q is not declared", e.ID, e.SendSecret)
		}
	}
	if _, ok := c.Find("none"); ok {
		t.Error("found an unknown channel")
	}
}
