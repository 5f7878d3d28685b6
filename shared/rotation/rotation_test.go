package rotation_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/rotation/rotationtest"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func TestInMemory(t *testing.T) {
	rotationtest.Run(t, func(t *testing.T) rotationtest.Harness {
		records := vaulttest.NewStore()
		jobs := rotationtest.NewMemory(records)
		return rotationtest.Harness{Records: records, Jobs: jobs, Lose: jobs.Lose, Rows: func(org string) (out []audit.Row) {
			sealed, _ := records.AuditRows(t.Context(), org)
			for _, r := range append(jobs.Rows(), sealed...) {
				if r.Org == org {
					out = append(out, r)
				}
			}
			return out
		}}
	})
}
