// Package table is the grammar of the DynamoDB tables: table roles, attribute
// and index names, and one builder per key.
//
// shared/dynamo, infra/ and the local stack read names from here, so a table is
// the same everywhere. Ids come from outside: a builder never escapes, ids that
// could break a key are refused by [ValidID] where they enter.
package table

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// Role names a table independently of its deployed name.
type Role string

// The five tables.
const (
	Config   Role = "config"
	Vault    Role = "vault"
	Sessions Role = "sessions"
	Ledger   Role = "ledger"
	Usage    Role = "usage"
)

// Attribute and index names.
const (
	PK  = "pk"
	SK  = "sk"
	TTL = "ttl" // epoch seconds, DynamoDB time to live

	// HoldsIndex lists open holds: hx (bucket) and exp (epoch milliseconds).
	HoldsIndex = "holds"
	HoldsPK    = "hx"
	HoldsSK    = "exp"

	// ProbesIndex lists the connections by when their next probe is due: dx (the
	// one partition ProbesDue) and due (epoch milliseconds).
	ProbesIndex = "probes"
	ProbesPK    = "dx"
	ProbesSK    = "due"
	ProbesDue   = "PROBES"
)

// Key is a primary key.
type Key struct{ PK, SK string }

// Spec describes one table for creation.
type Spec struct {
	Role   Role
	TTL    bool
	Stream bool // NEW_AND_OLD_IMAGES
	Index  []IndexSpec
}

// IndexSpec is a KEYS_ONLY global secondary index with a string partition key
// and a numeric sort key.
type IndexSpec struct{ Name, PK, SK string }

// Specs lists all tables.
func Specs() []Spec {
	return []Spec{
		{Role: Config, TTL: true, Index: []IndexSpec{{Name: ProbesIndex, PK: ProbesPK, SK: ProbesSK}}},
		{Role: Vault},
		{Role: Sessions, TTL: true},
		{Role: Ledger, TTL: true, Stream: true, Index: []IndexSpec{{Name: HoldsIndex, PK: HoldsPK, SK: HoldsSK}}},
		{Role: Usage, TTL: true},
	}
}

// ValidID reports whether s matches ^[A-Za-z0-9_-]{1,64}$.
func ValidID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			continue
		}
		return false
	}
	return true
}

// Config table.

// Org is the partition of an organisation's request-time configuration.
func Org(org string) Key { return Key{"ORG#" + org, "ORG"} }

// Settings is the settings record of an organisation.
func Settings(org string) Key { return Key{"ORG#" + org, "SETTINGS"} }

// Connection is one connection of an organisation.
func Connection(org, id string) Key { return Key{"ORG#" + org, "CONN#" + id} }

// Offers is what a vendor listed for a connection. It lies outside of the
// organisation's partition, which every request reads.
func Offers(org, connection string) Key { return Key{"OFFERS#" + org, connection} }

// ParseConnection takes the key of a connection apart.
func ParseConnection(k Key) (org, id string, ok bool) {
	org, isOrg := strings.CutPrefix(k.PK, "ORG#")
	id, isConn := strings.CutPrefix(k.SK, "CONN#")
	return org, id, isOrg && isConn && ValidID(org) && ValidID(id)
}

// Count is a counter of one limit of an organisation in the window that begins at
// start.
func Count(org, limit string, start time.Time) Key {
	return Key{"COUNT#" + org, limit + "#" + strconv.FormatInt(start.Unix(), 10)}
}

// Shards says how many balance shards an organisation's calls use. It lies beside
// the organisation, so that the request-time query yields it.
func Shards(org string) Key { return Key{"ORG#" + org, "SHARDS"} }

// Client is what an organisation knows of its agency's offer. It lies beside the
// organisation, so that the request-time query yields it.
func Client(org string) Key { return Key{"ORG#" + org, "CLIENT"} }

// Agent is one agent of an organisation.
func Agent(org, id string) Key { return Key{"ORG#" + org, "AGENT#" + id} }

// Tool is one tool of an organisation, in a partition of its own: only turns of
// agents that have tools read it.
func Tool(org, name string) Key { return Key{"TOOLS#" + org, name} }

// OrgList indexes organisations for operators and sweeps.
func OrgList(org string) Key { return Key{"ORGS", org} }

// OrgChild indexes the client organisations of an agency.
func OrgChild(parent, org string) Key { return Key{"ORGS#" + parent, org} }

// KeyUse makes one connection per vendor key and origin inside an organisation;
// use is "<fingerprint>#<origin>".
func KeyUse(org, use string) Key { return Key{"KEYUSE#" + org, use} }

// APIKey is one virtual key; keys have a partition of their own so that many
// keys do not make the request-time query longer.
func APIKey(org, kid string) Key { return Key{"KEYS#" + org, "KEY#" + kid} }

// OrgCounts holds what counts against the limits of an organisation. It lies
// beside the organisation, so that the request-time query yields it.
func OrgCounts(org string) Key { return Key{"ORG#" + org, "COUNTS"} }

// KeyCounts holds what counts against the limits of a virtual key. It sorts
// right after the key, because '#' sorts before every character of an id, so that
// one query yields both.
func KeyCounts(org, kid string) Key { return Key{"KEYS#" + org, "KEY#" + kid + "#COUNTS"} }

// Install is one channel install; its bindings share the partition.
func Install(id string) Key { return Key{"INSTALL#" + id, "INSTALL"} }

// Binding is one binding of an install.
func Binding(install, id string) Key { return Key{"INSTALL#" + install, "BIND#" + id} }

// OrgInstall lists the installs of an organisation.
func OrgInstall(org, id string) Key { return Key{"INSTALLS#" + org, "INSTALL#" + id} }

// Tenant makes one live install per channel app and tenant.
func Tenant(channel, app, tenant string) Key {
	return Key{"TENANT#" + channel + "#" + app + "#" + tenant, "TENANT"}
}

// TokenUse makes one live install per sending token, by keyed hash.
func TokenUse(hash string) Key { return Key{"TOKEN#" + hash, "TOKEN"} }

// Consent is one installation that was begun on a vendor's page, by the hash of its
// state.
func Consent(hash string) Key { return Key{"OAUTH#" + hash, "STATE"} }

// Audit is one audit row; t orders it.
func Audit(org string, t time.Time, id string) Key {
	return Key{"AUDIT#" + org + "#" + t.UTC().Format("200601"), fmt.Sprintf("%013d#%s", t.UnixMilli(), id)}
}

// AuditHead is the end of an organisation's chain of audit rows. It changes with
// every row, so it lies outside the partitions that nothing may change.
func AuditHead(org string) Key { return Key{"AUDITHEAD#" + org, "HEAD"} }

// AuditRows matches the partitions of audit rows.
const AuditRows = "AUDIT#*"

// AuditHeads matches the partitions of the ends of their chains.
const AuditHeads = "AUDITHEAD#*"

// PriceIndex holds which price book version applies from when.
func PriceIndex() Key { return Key{"PRICES", "INDEX"} }

// PriceRow is one row of an immutable price book version.
func PriceRow(version, id string) Key { return Key{"PRICES#" + version, "ROW#" + id} }

// Rollout is the stage of one subject.
func Rollout(subject string) Key { return Key{"ROLLOUT", subject} }

// Features overrides the features of the tiers.
func Features() Key { return Key{"OPERATOR", "TIERS"} }

// Terms are an organisation's own terms for its keys and endpoints, beside it so
// that they are read with it.
func Terms(org string) Key { return Key{"ORG#" + org, "TERMS"} }

// Vault table.

// CredentialHead is the head item of a credential.
func CredentialHead(org, class, cred string) Key {
	return Key{"ORG#" + org, class + "#" + cred + "#HEAD"}
}

// CredentialVersion is one version of a credential; versions are zero padded so
// that they sort.
func CredentialVersion(org, class, cred string, version int) Key {
	return Key{"ORG#" + org, fmt.Sprintf("%s#%s#V#%06d", class, cred, version)}
}

// Integration is the head of one integration, without secrets.
func Integration(org, id string) Key { return Key{"INTEG#" + org, id} }

// LegacyCopy is the legacy copy of an integration's values, in a partition of
// its own so that policies can tell it from the heads.
func LegacyCopy(org, id string) Key { return Key{"LEGACY#" + org, id} }

// Ring names the key that new data keys are wrapped under.
func Ring() Key { return Key{"RING", "RING"} }

// Rotation is one vault job.
func Rotation(id string) Key { return Key{"ROT", "JOB#" + id} }

// RotationSlot makes one open vault job of a sort.
func RotationSlot(slot string) Key { return Key{"ROT", "OPEN#" + slot} }

// Ledger table.

// Balance is one balance shard of an organisation.
func Balance(org string, shard int) Key { return Key{"A#" + org + "#" + strconv.Itoa(shard), "BAL"} }

// Offer is what an agency shares with its clients, and how much of it was drawn.
func Offer(agency string) Key { return Key{"A#" + agency + "#share", "OFFER"} }

// Drawn is what a client has drawn from its agency.
func Drawn(agency, client string) Key { return Key{"A#" + agency + "#share", "C#" + client} }

// FreeRequests counts the requests of a month that an organisation's free
// allowance took.
func FreeRequests(org string, month time.Time) Key {
	return Key{"F#" + org, "M#" + month.UTC().Format("200601")}
}

// Request is attempt n (from 1) of a request; attempt 1 is the parent of its
// idempotency key.
func Request(org, id string, attempt int) Key {
	if attempt == 1 {
		return Key{"R#" + org + "#" + id, "REQ"}
	}
	return Key{"R#" + org + "#" + id, "REQ#" + strconv.Itoa(attempt)}
}

// Decision is the decision record of an attempt.
func Decision(org, id string, attempt int) Key {
	return Key{"R#" + org + "#" + id, "DEC#" + strconv.Itoa(attempt)}
}

// Replay is the stored answer of an idempotent request.
func Replay(org, id string) Key { return Key{"R#" + org + "#" + id, "REPLAY"} }

// EntryBuckets is how many partitions the entries of one month have.
const EntryBuckets = 8

// Entry is one immutable entry.
func Entry(org, request string, attempt int, kind string, at time.Time) Key {
	return Key{EntryPartition(org, at, bucket(request, EntryBuckets)),
		fmt.Sprintf("E#%013d#%s#%d#%s", at.UnixMilli(), request, attempt, kind)}
}

// EntriesFrom sorts before every entry of a time and behind those before it.
func EntriesFrom(at time.Time) string { return fmt.Sprintf("E#%013d", at.UnixMilli()) }

// EntryPartition is one of the [EntryBuckets] partitions of a month.
func EntryPartition(org string, month time.Time, b int) string {
	return "J#" + org + "#" + month.UTC().Format("200601") + "#" + strconv.Itoa(b)
}

// Grant is one credit grant.
func Grant(org, id string) Key { return Key{"G#" + org, id} }

// AllGrantBuckets lists every partition of the index of open holds that holds
// grants with an end instead, by that end.
func AllGrantBuckets() []string {
	out := make([]string, grantBuckets)
	for i := range out {
		out[i] = "GX#" + strconv.Itoa(i)
	}
	return out
}

const grantBuckets = 8

// GrantBucket is the index partition of an organisation's grants with an end.
func GrantBucket(org string) string { return "GX#" + strconv.Itoa(bucket(org, grantBuckets)) }

// Opening is what an organisation had at the beginning of a month.
func Opening(org string, month time.Time) Key {
	return Key{"O#" + org, month.UTC().Format("200601")}
}

const closeBuckets = 8

// CloseBucket is the index partition of an organisation's balance, by when the
// next month is due to be closed.
func CloseBucket(org string) string { return "MX#" + strconv.Itoa(bucket(org, closeBuckets)) }

// AllCloseBuckets lists the index partitions of balances.
func AllCloseBuckets() []string {
	out := make([]string, closeBuckets)
	for i := range out {
		out[i] = "MX#" + strconv.Itoa(i)
	}
	return out
}

// Unbilled records, by the month of its end, an attempt that ended without usage
// although the vendor may have been called.
func Unbilled(org, request string, attempt int, at time.Time) Key {
	return Key{"UNBILLED#" + at.UTC().Format("200601"), fmt.Sprintf("%013d#%s#%s#%d", at.UnixMilli(), org, request, attempt)}
}

// TopUp is one purchase of credits.
func TopUp(id string) Key { return Key{"X#topup#" + id, "TOPUP"} }

// External says which top-up an object of the payment vendor belongs to.
func External(object string) Key { return Key{"X#object#" + object, "EV"} }

// Payer is how an organisation pays.
func Payer(org string) Key { return Key{"B#" + org, "PAYER"} }

// Replenish is the standing order of an organisation to buy credits.
func Replenish(org string) Key { return Key{"B#" + org, "REPLENISH"} }

const replenishBuckets = 4

// AllReplenishBuckets lists every partition of the index of open holds that holds
// standing orders instead, by when they are to be looked at.
func AllReplenishBuckets() []string {
	out := make([]string, replenishBuckets)
	for i := range out {
		out[i] = "RX#" + strconv.Itoa(i)
	}
	return out
}

// ReplenishBucket is the index partition of an organisation's standing order.
func ReplenishBucket(org string) string { return "RX#" + strconv.Itoa(bucket(org, replenishBuckets)) }

// Poison records an item that settlement could not process, by its key.
func Poison(pk, sk string) Key { return Key{PoisonList, pk + "|" + sk} }

// PoisonList is the partition of all poison: there should be none.
const PoisonList = "POISON"

// HoldOrgBuckets and HoldBuckets spread open holds over index partitions: one
// organisation's holds lie in HoldBuckets of them.
const (
	HoldOrgBuckets = 16
	HoldBuckets    = 4
)

// HoldBucket is the index partition of an open hold.
func HoldBucket(org, request string) string {
	return "H#" + strconv.Itoa(bucket(org, HoldOrgBuckets)) + "#" + strconv.Itoa(bucket(request, HoldBuckets))
}

// DrawBucket is the index partition of an open hold on an agency's balance for a
// request of a client.
func DrawBucket(agency, request string) string {
	return "HS#" + strconv.Itoa(bucket(agency, drawAgencies)) + "#" + strconv.Itoa(bucket(request, drawRequests))
}

// drawAgencies and drawRequests spread them; one agency's lie in drawRequests.
const (
	drawAgencies = 8
	drawRequests = 2
)

// DrawBucketsOf lists the index partitions that hold an agency's open holds for
// its clients, among those of others.
func DrawBucketsOf(agency string) []string {
	out := make([]string, drawRequests)
	for i := range out {
		out[i] = "HS#" + strconv.Itoa(bucket(agency, drawAgencies)) + "#" + strconv.Itoa(i)
	}
	return out
}

// HoldBucketsOf lists the index partitions that hold an organisation's open
// holds, among those of others.
func HoldBucketsOf(org string) []string {
	out := make([]string, HoldBuckets)
	for i := range out {
		out[i] = "H#" + strconv.Itoa(bucket(org, HoldOrgBuckets)) + "#" + strconv.Itoa(i)
	}
	return out
}

// AllHoldBuckets lists every index partition of open holds.
func AllHoldBuckets() []string {
	out := make([]string, 0, HoldOrgBuckets*HoldBuckets+drawAgencies*drawRequests)
	for i := range HoldOrgBuckets {
		for j := range HoldBuckets {
			out = append(out, "H#"+strconv.Itoa(i)+"#"+strconv.Itoa(j))
		}
	}
	for i := range drawAgencies {
		for j := range drawRequests {
			out = append(out, "HS#"+strconv.Itoa(i)+"#"+strconv.Itoa(j))
		}
	}
	return out
}

// Usage table.

// UsageRow is one projection row: a day of an organisation, split by model,
// agent and billing source.
func UsageRow(org, day, model, agent, source string) Key {
	return Key{"U#" + org, strings.Join([]string{day, source, agent, model}, "#")}
}

// UsageVersion says which version of an organisation's rows is read, and which
// one is being built.
func UsageVersion(org string) Key { return Key{"USAGE#" + org, "VERSION"} }

// InVersion is the key of a row or a mark in a version of the rows; version 0 is
// the first.
func InVersion(k Key, version int64) Key {
	if version == 0 {
		return k
	}
	return Key{k.PK + "#" + strconv.FormatInt(version, 10), k.SK}
}

// Seen marks an entry as projected.
func Seen(entry string) Key { return Key{"SEEN#" + entry, "SEEN"} }

// AlertLevel is what the balance of an organisation is measured against.
func AlertLevel(org string) Key { return Key{"ALERT#" + org, "LEVEL"} }

// AlertLevels matches the partitions of levels and alerts.
const AlertLevels = "ALERT#*"

// Alert is one alert of an organisation since a top-up; since orders it.
func Alert(org string, since time.Time, threshold string, limit int64) Key {
	return Key{"ALERT#" + org, fmt.Sprintf("%s%013d#%s#%d", AlertPrefix, max(since.UnixMilli(), 0), strings.TrimSuffix(threshold, "%"), limit)}
}

// AlertPrefix begins the sort key of every alert.
const AlertPrefix = "P#"

// KeptEvent is an event that the bus has not taken yet.
func KeptEvent(id string) Key { return Key{KeptEvents, id} }

// KeptEvents is the partition of all kept events.
const KeptEvents = "OUTBOX"

// Monitor is the health row of a background job.
func Monitor(name string) Key { return Key{"MONITOR", name} }

func bucket(s string, n uint32) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s))
	return int(h.Sum32() % n)
}
