package dynamo

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// Attributes of the ledger's items. They are short because a request item must
// stay under 1 KB: every write of it is billed by the KB.
const (
	aState     = "st"
	aOwner     = "own"
	aHold      = "hold"  // what the attempt holds now, 0 once expired
	aHold0     = "hold0" // what it held at most
	aShard     = "sh"
	aCreated   = "at"
	aPrint     = "fp"
	aProvider  = "prov"
	aModel     = "model"
	aConn      = "conn"
	aAgent     = "agt"
	aKeyID     = "key"
	aSource    = "src"
	aPrice     = "pv"
	aLast      = "last" // latest attempt, on the parent
	aIdem      = "idem"
	aAmount    = "a"
	aUsedAt    = "ua"
	aOutcome   = "oc"
	aUsage     = "us"
	aEstimated = "est"
	aVendorID  = "prid"
	aStatus    = "code"
	aReason    = "rsn"
	aCheckUse  = "cku"
	aCheckAmt  = "cka"
	aExpiredAt = "xa"
	aFree      = "fr" // allowance of the month, where a fee is due
	aWaived    = "fw" // the fee fell to the allowance

	aRule     = "rule"
	aHash     = "hash"
	aDecision = "dec"

	aPosted  = "posted"
	aHeld    = "held"
	aAvail   = "avail"
	aLine    = "line"
	aVersion = "ver"
	aMode    = "mode"

	aNext   = "nx" // on a balance: the earliest end of a grant not folded yet
	aBase   = "base"
	aEnds   = "ends"
	aEnded  = "done"
	aOf     = "of"
	aRef    = "ref"
	aRollLo = "rmin"
	aRollHi = "rmax"

	aID     = "id"
	aKind   = "kind"
	aOrigin = "orig"
	aLegs   = "legs"
	aLate   = "late"
	aPoison = "why"
)

// ledgerText sets an attribute unless it is empty.
func ledgerText(it item, name, s string) {
	if s != "" {
		it[name] = str(s)
	}
}

// usageItem stores the buckets that are not 0, and the source.
func usageItem(u billing.Usage) item {
	it := make(item, 4)
	for _, b := range usageBuckets(&u) {
		if *b.value != 0 {
			it[b.name] = num(*b.value)
		}
	}
	switch u.Source {
	case billing.FromProvider:
		it["s"] = str("p")
	case billing.Estimated:
		it["s"] = str("e")
	}
	return it
}

func parseUsage(it item) (billing.Usage, error) {
	var u billing.Usage
	r := read(it)
	for _, b := range usageBuckets(&u) {
		*b.value = r.num(b.name)
	}
	switch r.str("s") {
	case "p":
		u.Source = billing.FromProvider
	case "e":
		u.Source = billing.Estimated
	default:
		u.Source = billing.NoUsage
	}
	if r.err == nil {
		r.err = u.Check()
	}
	return u, r.err
}

type usageBucket struct {
	name  string
	value *int64
}

// usageBuckets names the stored buckets of a usage.
func usageBuckets(u *billing.Usage) [15]usageBucket {
	return [...]usageBucket{
		{"it", &u.InputTokens}, {"ct", &u.CachedInputTokens}, {"cw", &u.CacheWriteTokens}, {"ot", &u.OutputTokens},
		{"rt", &u.ReasoningTokens}, {"ia", &u.InputAudioTokens}, {"oa", &u.OutputAudioTokens}, {"ms", &u.AudioMillis},
		{"ch", &u.Characters}, {"rq", &u.Requests}, {"c1", &u.CacheWrite1hTokens}, {"ii", &u.InputImageTokens}, {"oi", &u.OutputImageTokens},
		{"mo", &u.AudioOutMillis}, {"im", &u.Images},
	}
}

// requestItem is the item of a new attempt.
func requestItem(r credit.ReserveRequest, shard int) item {
	k := table.Request(r.Org, r.Request, r.Attempt)
	it := make(item, 24)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	it[aState] = str(string(credit.Dispatched))
	it[aOwner] = str(r.Owner)
	it[aHold], it[aHold0] = num(int64(r.Hold)), num(int64(r.Hold))
	it[aShard] = num(int64(shard))
	it[aCreated] = millis(r.Now)
	it[table.HoldsPK] = str(holdBucket(r.Org, r.Request, r.Draw))
	if d := r.Draw; d != nil {
		it[aAgency], it[aDrawDay] = str(d.Agency), str(d.Day)
	}
	it[table.HoldsSK] = millis(r.Expires)
	it[aPrint] = bin(r.Fingerprint[:])
	it[aProvider] = str(r.Provider)
	it[aSource] = str(string(r.Source))
	if r.Legacy() {
		it[aHold], it[aShard] = num(0), num(homeShard)
		stampItem(it, r.Stamp)
	} else if !r.Stamp.Legacy() {
		stampItem(it, r.Stamp)
	}
	ledgerText(it, aModel, r.Model)
	ledgerText(it, aConn, r.Connection)
	ledgerText(it, aAgent, r.Agent)
	ledgerText(it, aKeyID, r.Key)
	ledgerText(it, aPrice, r.PriceVersion)
	if r.Idempotent {
		it[aIdem] = boolean(true)
	}
	if r.Fee.Due() {
		it[aFree] = num(r.Fee.Free)
	}
	return it
}

func decisionItem(r credit.ReserveRequest) item {
	k := table.Decision(r.Org, r.Request, r.Attempt)
	it := item{table.PK: str(k.PK), table.SK: str(k.SK)}
	ledgerText(it, aRule, r.Rule)
	ledgerText(it, aHash, r.DecisionHash)
	if len(r.Decision) > 0 {
		it[aDecision] = bin(r.Decision)
	}
	return it
}

// requestKey takes organisation, request and attempt from the key of a request
// item; the item does not repeat them.
func requestKey(pk, sk string) (org, request string, attempt int, err error) {
	rest, ok := strings.CutPrefix(pk, "R#")
	org, request, found := strings.Cut(rest, "#")
	if !ok || !found || !table.ValidID(org) || !table.ValidID(request) {
		return "", "", 0, fmt.Errorf("%w: request key", errItem)
	}
	if sk == "REQ" {
		return org, request, 1, nil
	}
	n, ok := strings.CutPrefix(sk, "REQ#")
	attempt, err = strconv.Atoi(n)
	if !ok || err != nil || attempt < 2 || attempt > credit.MaxAttempts {
		return "", "", 0, fmt.Errorf("%w: request key", errItem)
	}
	return org, request, attempt, nil
}

// parseUsed reads what settlement needs of a request item.
func parseUsed(it item) (credit.Used, error) {
	r := read(it)
	org, request, attempt, err := requestKey(r.str(table.PK), r.str(table.SK))
	if err != nil {
		return credit.Used{}, err
	}
	u := credit.Used{
		Org: org, Request: request, Attempt: attempt, Shard: int(r.num(aShard)),
		Hold: credit.Micro(r.num(aHold)), Amount: credit.Micro(r.num(aAmount)), Expired: r.has(aExpiredAt),
		Kind: credit.OutcomeKind(r.str(aOutcome)), Estimated: r.bool(aEstimated), At: r.time(aUsedAt),
		Source: taxonomy.BillingSource(r.str(aSource)), PriceVersion: r.str(aPrice), Provider: r.str(aProvider),
		Model: r.str(aModel), Connection: r.str(aConn), Agent: r.str(aAgent), Key: r.str(aKeyID), Stamp: parseStamp(r),
		Agency: r.str(aAgency), Day: r.str(aDrawDay),
		Free: r.num(aFree), Waived: r.bool(aWaived),
	}
	if u.Free > 0 {
		u.Created = r.time(aCreated)
	}
	if u.Usage, err = parseUsage(r.sub(aUsage)); err != nil {
		return credit.Used{}, err
	}
	switch {
	case r.err != nil:
		return credit.Used{}, r.err
	case !r.has(aAmount) || !r.has(aHold) || !r.has(aShard) || u.At.IsZero():
		return credit.Used{}, fmt.Errorf("%w: used request is incomplete", errItem)
	case u.Amount < 0 || u.Amount > billing.MaxAmount || u.Hold < 0 || u.Hold > billing.MaxAmount || u.Shard < 0:
		return credit.Used{}, fmt.Errorf("%w: amount out of range", errItem)
	case u.Kind != credit.Completed && u.Kind != credit.Partial && u.Kind != credit.Refused:
		return credit.Used{}, fmt.Errorf("%w: unknown outcome", errItem)
	case u.Agency != "" && (!table.ValidID(u.Agency) || len(u.Day) != 8):
		return credit.Used{}, fmt.Errorf("%w: draw", errItem)
	case u.Kind == credit.Refused && u.Amount != 0:
		return credit.Used{}, fmt.Errorf("%w: refused with an amount", errItem)
	case u.Own() && u.Amount != 0 && !r.has(aFree):
		return credit.Used{}, fmt.Errorf("%w: an amount on an own key without a fee", errItem)
	case u.Free < 0 || u.Free > 0 && u.Created.IsZero():
		return credit.Used{}, fmt.Errorf("%w: allowance", errItem)
	}
	return u, nil
}

// parseOpen reads a request item as a sweep sees it.
func parseOpen(it item) (credit.Open, error) {
	r := read(it)
	org, request, attempt, err := requestKey(r.str(table.PK), r.str(table.SK))
	if err != nil {
		return credit.Open{}, err
	}
	o := credit.Open{
		Org: org, Request: request, Attempt: attempt, Owner: r.str(aOwner), State: credit.State(r.str(aState)),
		Shard: int(r.num(aShard)), Hold: credit.Micro(r.num(aHold)), Created: r.time(aCreated), Expires: r.time(table.HoldsSK),
		Source: taxonomy.BillingSource(r.str(aSource)), Stamp: parseStamp(r), HasCheckpoint: r.has(aCheckAmt), Checkpoint: credit.Micro(r.num(aCheckAmt)),
		Agency: r.str(aAgency), Day: r.str(aDrawDay),
	}
	if o.CheckpointUsage, err = parseUsage(r.sub(aCheckUse)); err != nil {
		return credit.Open{}, err
	}
	if o.State == credit.UsedState {
		if o.Used, err = parseUsed(it); err != nil {
			return credit.Open{}, err
		}
	}
	return o, r.err
}

func entryItem(e credit.Entry) item {
	k := e.Place()
	it := make(item, 20)
	it[table.PK], it[table.SK] = str(k.PK), str(k.SK)
	it[aID] = str(e.ID)
	it["org"] = str(e.Org)
	it[aKind] = str(string(e.Kind))
	it["req"] = str(e.Request)
	it["att"] = num(int64(e.Attempt))
	it[aCreated] = millis(e.At)
	it[aAmount] = num(int64(e.Amount))
	legs := make([]types.AttributeValue, len(e.Legs))
	for i, leg := range e.Legs {
		legs[i] = list(str(leg.Account), num(int64(leg.Amount)))
	}
	it[aLegs] = list(legs...)
	ledgerText(it, aSource, string(e.Source))
	ledgerText(it, aPrice, e.PriceVersion)
	ledgerText(it, aProvider, e.Provider)
	ledgerText(it, aModel, e.Model)
	ledgerText(it, aConn, e.Connection)
	ledgerText(it, aAgent, e.Agent)
	ledgerText(it, aKeyID, e.Key)
	ledgerText(it, aClient, e.Client)
	ledgerText(it, aAgency, e.Agency)
	if e.Paid != 0 {
		it[aDrawPaid] = num(int64(e.Paid))
	}
	if us := usageItem(e.Usage); len(us) > 0 {
		it[aUsage] = mapping(us)
	}
	if e.Estimated {
		it[aEstimated] = boolean(true)
	}
	if e.Late {
		it[aLate] = boolean(true)
	}
	if !e.UsedAt.IsZero() {
		it[aUsedAt] = millis(e.UsedAt)
	}
	stampItem(it, e.Stamp)
	if e.Tokens != 0 {
		it[aTokens] = num(e.Tokens)
	}
	return it
}

func parseEntry(it item) (credit.Entry, error) {
	r := read(it)
	e := credit.Entry{
		ID: r.str(aID), Org: r.str("org"), Kind: credit.EntryKind(r.str(aKind)), Request: r.str("req"), Attempt: int(r.num("att")),
		At: r.time(aCreated), Amount: credit.Micro(r.num(aAmount)), Source: taxonomy.BillingSource(r.str(aSource)),
		PriceVersion: r.str(aPrice), Provider: r.str(aProvider), Model: r.str(aModel), Connection: r.str(aConn),
		Client: r.str(aClient), Agency: r.str(aAgency), Paid: credit.Micro(r.num(aDrawPaid)), Tokens: r.num(aTokens),
		Agent: r.str(aAgent), Key: r.str(aKeyID), Estimated: r.bool(aEstimated), Late: r.bool(aLate), UsedAt: r.time(aUsedAt),
	}
	if e.Kind == credit.UsageEntry {
		e.Stamp = parseStamp(r)
	}
	for _, v := range r.list(aLegs) {
		pair, ok := v.(*types.AttributeValueMemberL)
		if !ok || len(pair.Value) != 2 {
			return credit.Entry{}, fmt.Errorf("%w: leg", errItem)
		}
		leg := read(item{"n": pair.Value[0], "v": pair.Value[1]})
		e.Legs = append(e.Legs, credit.Leg{Account: leg.str("n"), Amount: credit.Micro(leg.num("v"))})
		if leg.err != nil {
			return credit.Entry{}, leg.err
		}
	}
	var err error
	if e.Usage, err = parseUsage(r.sub(aUsage)); err != nil {
		return credit.Entry{}, err
	}
	if r.err != nil {
		return credit.Entry{}, r.err
	}
	if e.ID == "" || !table.ValidID(e.Org) || e.At.IsZero() || e.At.After(maxEntryTime) {
		return credit.Entry{}, fmt.Errorf("%w: entry is incomplete", errItem)
	}
	return e, nil
}

// maxEntryTime keeps the thirteen digits of an entry's key thirteen.
var maxEntryTime = time.UnixMilli(9_999_999_999_999)
