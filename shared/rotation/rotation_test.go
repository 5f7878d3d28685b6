package rotation_test

import (
	"testing"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/rotation/rotationtest"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

func TestInMemory(t *testing.T) {
	rotationtest.Run(t, func(*testing.T) rotationtest.Harness {
		records := vaulttest.NewStore()
		jobs := rotationtest.NewMemory(records)
		return rotationtest.Harness{Records: records, Jobs: jobs, Lose: jobs.Lose, Audit: jobs, Rows: func(org string) (out []audit.Row) {
			for _, r := range jobs.Rows() {
				if r.Org == org {
					out = append(out, r)
				}
			}
			return out
		}}
	})
}
