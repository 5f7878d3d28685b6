// Package security plays the security matrix: every row of [rollout.Rows] that
// applies to a channel, as requests shaped and signed as the vendor does it,
// through the HTTP front, the deployed functions and DynamoDB Local. Each cell has
// an install of its own. Checked are the status, the constant body, the audit
// record with its fields and without what must not stand in it, that exactly
// the stated messages were answered, and that neither a secret nor a message lies at
// rest where it must not.
//
// What a run saw is shared/rollout/security-matrix.json, which promotion reads,
// and the table in SECURITY.md. Both must be what the run saw; -update writes
// them.
//
// That each row can fail is shown by mutants: builds of a function with the row's
// guard taken out, each of which must turn its row red for the reason that it names,
// on a stack where the same cell was green before (LATCHKEY_SOAK=1).
package security
