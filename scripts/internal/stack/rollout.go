package stack

import (
	"context"
	"net/http"
	"slices"
)

// canarySize is how many organisations a canary is kept at, below the most that the
// admin API takes.
const canarySize = 40

// Admit lets an organisation activate a channel, as an operator would before its
// security matrix is green: it joins the canary. Of a full canary the organisations
// that were made first leave; what is active of theirs goes on.
func Admit(ctx context.Context, operator Client, channel, org string) error {
	for {
		var all struct {
			Items []struct {
				Subject, Stage string
				OrgIDs         []string `json:"org_ids"`
				Version        int64
			}
		}
		if err := operator.Call(ctx, http.MethodGet, "/api/rollout?limit=200", nil, &all); err != nil {
			return err
		}
		orgs, version := []string{org}, int64(0)
		for _, s := range all.Items {
			if s.Subject != channel {
				continue
			}
			if s.Stage == "on" || slices.Contains(s.OrgIDs, org) {
				return nil
			}
			version = s.Version
			orgs = append(s.OrgIDs[max(len(s.OrgIDs)-canarySize, 0):], org)
		}
		err := operator.Call(ctx, http.MethodPost, "/api/rollout/"+channel+"/promote", map[string]any{"stage": "canary", "org_ids": orgs, "version": version}, nil)
		if Status(err) != http.StatusConflict {
			return err
		}
		// Another organisation was admitted meanwhile.
	}
}
