package main

import (
	"context"

	"github.com/latchkey/latchkey/shared/integration/opener"
	"github.com/latchkey/latchkey/shared/vault"
)

// imports makes a backfill the page of a job.
type imports struct{ opener *opener.Opener }

// ImportPage implements rotation.Importer.
func (i imports) ImportPage(ctx context.Context, org, cursor string, limit int) (done, skipped int64, failed map[string]vault.Reason, next string, err error) {
	c, next, err := i.opener.Backfill(ctx, org, cursor, limit)
	if err != nil {
		return 0, 0, nil, "", err
	}
	failed = make(map[string]vault.Reason, len(c.Failed))
	for _, f := range c.Failed {
		failed[f.ID] = vault.Reason(f.Reason)
	}
	skipped = int64(c.Skipped)
	return int64(c.Seen) - skipped - int64(len(c.Failed)), skipped, failed, next, nil
}
