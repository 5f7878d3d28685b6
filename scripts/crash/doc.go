// Package crash holds the crash harness of the ledger: seeds of requests against
// the real functions over HTTP, with a scripted vendor as the oracle, in which
// processes are killed by pid at every point where a crash leaves another state,
// clients leave, vendors misbehave, DynamoDB refuses and forgets to answer,
// stream batches repeat, overlap and change order, and prices, settings, keys and
// balance shards change. It reads public APIs and the stack's local endpoints
// only, never a table. At rest every invariant that those show must hold.
//
// A seed fixes the plan: which requests, scripts, faults and points, in which
// order each actor takes them. Which process meets which fault first is up to the
// machine, so a failure is repeated by its seed often, not always.
//
// That the harness can fail is shown by mutants: builds of the functions with one
// guard of the ledger taken out, each of which a seed must refuse.
package crash
