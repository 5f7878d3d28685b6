package catalog_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
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
		if _, ok := c.Find(e.ID); !ok || e.Scheme == nil || e.Adapter == nil || e.Setup == nil ||
			len(e.Methods) == 0 || len(e.Config) == 0 || e.RetryHorizon <= 0 || (e.Handshake == nil) != (e.HandshakeSecret == "") {
			t.Errorf("%s is incomplete", e.ID)
		}
		if e.Scheme.NeedsSecret() != slices.Contains(e.SecretNames(taxonomy.ChannelVerify), e.VerifySecret) || e.Keys != nil && e.Scheme.NeedsSecret() {
			t.Errorf("%s: verify secret %q is not declared", e.ID, e.VerifySecret)
		}
		if e.HandshakeSecret != "" && !slices.Contains(e.SecretNames(taxonomy.ChannelVerify), e.HandshakeSecret) {
			t.Errorf("%s: handshake secret %q is not declared", e.ID, e.HandshakeSecret)
		}
		// The proof of a request to a channel for browsers names the install itself.
		if _, named := e.Scheme.(webhook.VisitorToken); (e.Tenant == nil) != named || named != (e.Browsers != nil) {
			t.Errorf("%s: what a request is about is neither compared nor in its proof", e.ID)
		}
		if len(e.Identity) == 0 && e.Tenant != nil && !e.Config[0].Required {
			t.Errorf("%s: nothing names the tenant", e.ID)
		}
		// What sends nothing has nothing to send with, and nobody to send to.
		sends := e.SecretNames(taxonomy.ChannelSend)
		if e.Kept && (len(sends) > 0 || e.SendSecret != "" || e.APIBase != "" || len(e.Hosts) > 0 || e.Exchange != nil) || !e.Kept && !slices.Contains(sends, e.SendSecret) {
			t.Errorf("%s: send secret %q is not declared, or has no use", e.ID, e.SendSecret)
		}
	}
	if _, ok := c.Find("none"); ok {
		t.Error("found an unknown channel")
	}
}
