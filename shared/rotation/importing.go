package rotation

import (
	"context"
	"errors"

	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
)

// Importer moves integrations out of their older storage. A page may be repeated
// and cut anywhere.
type Importer interface {
	// ImportPage deals with at most limit integrations after cursor; next is empty
	// at the end. failed are those that could not be dealt with, and why.
	ImportPage(ctx context.Context, org, cursor string, limit int) (done, skipped int64, failed map[string]vault.Reason, next string, err error)
}

// importItems is how many integrations one page is: each may be opened and sealed
// more than once, and a page must end long before the lease does.
const importItems = 16

// importPass walks the integrations from the cursor on.
func (w *worker) importPass(ctx context.Context) error {
	if w.Imports == nil {
		return w.end(ctx, Failed, "no_importer")
	}
	for {
		done, skipped, failed, next, err := w.Imports.ImportPage(ctx, w.job.Org, w.job.Cursor, importItems)
		if err != nil {
			return errors.Join(errOutage, err)
		}
		t := tally{done: done, skipped: skipped}
		for id, reason := range failed {
			w.fail(ctx, &t, vault.Ref{Org: w.job.Org, ID: id, Class: taxonomy.Integration}, 0, "", reason)
		}
		job := t.addTo(w.job)
		job.Cursor = next
		if next == "" {
			return w.endPass(ctx, job)
		}
		if err := w.write(ctx, Write{Job: job}); err != nil {
			return leaseOr(err)
		}
	}
}
