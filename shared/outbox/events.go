package outbox

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// Detail types. Consumers match on them.
const (
	TypeEntry     = "latchkey.ledger.entry"
	TypeAnomaly   = "latchkey.ledger.anomaly"
	TypeLow       = "latchkey.credits.low"
	TypeExhausted = "latchkey.credits.exhausted"
	TypeReplenish = "latchkey.credits.not_replenished"
	TypeSuspended = "latchkey.install.suspended"
	TypeHandoff   = "latchkey.session.handoff"
	TypeApproval  = "latchkey.approval.waiting"
)

// head is what every detail begins with. Stage tells the stages of one account
// apart, which share its bus.
type head struct {
	ID    string    `json:"id"`
	Stage string    `json:"stage"`
	OrgID string    `json:"org_id,omitempty"`
	At    time.Time `json:"at"`
}

type usageDetail struct {
	InputTokens        int64               `json:"input_tokens"`
	CachedInputTokens  int64               `json:"cached_input_tokens"`
	CacheWriteTokens   int64               `json:"cache_write_tokens"`
	CacheWrite1hTokens int64               `json:"cache_write_1h_tokens"`
	OutputTokens       int64               `json:"output_tokens"`
	ReasoningTokens    int64               `json:"reasoning_tokens"`
	InputAudioTokens   int64               `json:"input_audio_tokens"`
	OutputAudioTokens  int64               `json:"output_audio_tokens"`
	InputImageTokens   int64               `json:"input_image_tokens"`
	OutputImageTokens  int64               `json:"output_image_tokens"`
	AudioMillis        int64               `json:"audio_ms"`
	AudioOutMillis     int64               `json:"audio_out_ms"`
	Characters         int64               `json:"characters"`
	Images             int64               `json:"images"`
	Source             billing.UsageSource `json:"source"`
}

type entryDetail struct {
	head
	Kind         credit.EntryKind `json:"kind"`
	Amount       credit.Micro     `json:"amount"`
	RequestID    string           `json:"request_id,omitempty"`
	Attempt      int              `json:"attempt,omitempty"`
	PostingID    string           `json:"posting_id,omitempty"`
	Source       string           `json:"billing_source,omitempty"`
	PriceVersion string           `json:"price_version,omitempty"`
	Provider     string           `json:"provider,omitempty"`
	Model        string           `json:"model,omitempty"`
	ConnectionID string           `json:"connection_id,omitempty"`
	AgentID      string           `json:"agent_id,omitempty"`
	KeyID        string           `json:"key_id,omitempty"`
	Usage        *usageDetail     `json:"usage,omitempty"`
	Estimated    bool             `json:"estimated"`
	Late         bool             `json:"late"`
}

// EntryEvent tells of a new entry; its id is the entry's.
func EntryEvent(stage string, e credit.Entry) Event {
	d := entryDetail{head: head{e.ID, stage, e.Org, e.At.UTC()}, Kind: e.Kind, Amount: e.Amount, Attempt: e.Attempt, Source: string(e.Source),
		PriceVersion: e.PriceVersion, Provider: e.Provider, Model: e.Model, ConnectionID: e.Connection, AgentID: e.Agent, KeyID: e.Key,
		Estimated: e.Estimated, Late: e.Late}
	if e.Kind.OfRequest() {
		d.RequestID = e.Request
	} else {
		d.PostingID = e.Request
	}
	if e.Kind == credit.UsageEntry {
		u := e.Usage
		d.Usage = &usageDetail{u.InputTokens, u.CachedInputTokens, u.CacheWriteTokens, u.CacheWrite1hTokens, u.OutputTokens, u.ReasoningTokens,
			u.InputAudioTokens, u.OutputAudioTokens, u.InputImageTokens, u.OutputImageTokens, u.AudioMillis, u.AudioOutMillis,
			u.Characters, u.Images, u.Source}
	}
	return event(TypeEntry, d.head, d)
}

type anomalyDetail struct {
	head
	Reason string `json:"reason"`
	PK     string `json:"pk"`
	SK     string `json:"sk"`
}

// AnomalyEvent tells of something that settlement cannot process. The same
// reason for the same item has the same id.
func AnomalyEvent(stage string, p credit.Poison) Event {
	d := anomalyDetail{head: head{ID: "an_" + digest(p.PK, p.SK, p.Reason), Stage: stage, At: p.At.UTC()}, Reason: p.Reason, PK: clip(p.PK), SK: clip(p.SK)}
	return event(TypeAnomaly, d.head, d)
}

// Balance is what an alert tells.
type Balance struct {
	ID, Org   string
	At        time.Time
	Threshold string       // "50%", "20%", "5%", "absolute" or "exhausted"
	Limit     credit.Micro // at or below which it is told
	Left      credit.Micro // what was left when it was seen
	Level     credit.Micro // the balance after the last top-up
	Since     time.Time    // of that top-up, zero if there was none
}

type balanceDetail struct {
	head
	Threshold string       `json:"threshold"`
	Limit     credit.Micro `json:"limit"`
	Left      credit.Micro `json:"left"`
	Level     credit.Micro `json:"level"`
	Since     *time.Time   `json:"since,omitempty"`
}

// BalanceEvent tells that credits are low, or that none are left.
func BalanceEvent(stage string, b Balance, exhausted bool) Event {
	d := balanceDetail{head: head{b.ID, stage, b.Org, b.At.UTC()}, Threshold: b.Threshold, Limit: b.Limit, Left: b.Left, Level: b.Level}
	if !b.Since.IsZero() {
		since := b.Since.UTC()
		d.Since = &since
	}
	if exhausted {
		return event(TypeExhausted, d.head, d)
	}
	return event(TypeLow, d.head, d)
}

// Replenish is what a standing order that does not buy tells.
type Replenish struct {
	Org string
	At  time.Time
	// Reason is one of package topup's.
	Reason string
	// Enabled says whether it goes on, from Retry.
	Enabled  bool
	Failures int
	Retry    time.Time
	Serial   int64 // tells the events of an organisation apart
}

type replenishDetail struct {
	head
	Reason   string     `json:"reason"`
	Enabled  bool       `json:"enabled"`
	Failures int        `json:"failures"`
	Retry    *time.Time `json:"retry_at,omitempty"`
}

// ReplenishEvent tells that credits were not bought, and whether it will be tried
// again.
func ReplenishEvent(stage string, r Replenish) Event {
	d := replenishDetail{head: head{"rp_" + digest(r.Org, strconv.FormatInt(r.Serial, 10)), stage, r.Org, r.At.UTC()}, Reason: r.Reason, Enabled: r.Enabled, Failures: r.Failures}
	if r.Enabled {
		retry := r.Retry.UTC()
		d.Retry = &retry
	}
	return event(TypeReplenish, d.head, d)
}

// Suspension is an install that was stopped without its owner.
type Suspension struct {
	Org, Install, Provider string
	At                     time.Time
	Reason                 string // audit code
	Version                int64  // of the install, tells repeats apart
}

type suspensionDetail struct {
	head
	Install  string `json:"install_id"`
	Provider string `json:"provider"`
	Reason   string `json:"reason"`
}

// SuspensionEvent tells that an install was suspended, and why.
func SuspensionEvent(stage string, s Suspension) Event {
	d := suspensionDetail{head: head{"su_" + digest(s.Install, strconv.FormatInt(s.Version, 10)), stage, s.Org, s.At.UTC()},
		Install: s.Install, Provider: s.Provider, Reason: s.Reason}
	return event(TypeSuspended, d.head, d)
}

// ByPerson is who handed a session over where it was not the agent.
const ByPerson = "person"

// Handoff is a session that went into the hands of a person.
type Handoff struct {
	Org, Install, Session, Agent string
	// Reason is bounded where it entered; By is "agent" or [ByPerson].
	Reason, By string
	At         time.Time
	Once       string // tells the handoffs of a session apart
}

type handoffDetail struct {
	head
	Install string `json:"install_id"`
	Session string `json:"session_id"`
	Agent   string `json:"agent_id"`
	By      string `json:"by"`
	Reason  string `json:"reason"`
}

// HandoffEvent tells that a person is to answer in a session. It holds nothing of the
// conversation but the reason.
func HandoffEvent(stage string, h Handoff) Event {
	d := handoffDetail{head: head{"ho_" + digest(h.Org, h.Session, h.Once), stage, h.Org, h.At.UTC()}, Install: h.Install, Session: h.Session, Agent: h.Agent, By: h.By, Reason: h.Reason}
	return event(TypeHandoff, d.head, d)
}

// Approval is a call of a tool that waits for a person.
type Approval struct {
	Org, ID, Tool, Agent, Install, Session string
	At, ExpiresAt                          time.Time
}

type approvalDetail struct {
	head
	Approval string    `json:"approval_id"`
	Tool     string    `json:"tool"`
	Agent    string    `json:"agent_id"`
	Install  string    `json:"install_id"`
	Session  string    `json:"session_id"`
	Expires  time.Time `json:"expires_at"`
}

// ApprovalEvent tells that a call waits, once per approval. Its arguments are not in it.
func ApprovalEvent(stage string, a Approval) Event {
	d := approvalDetail{head: head{"aw_" + digest(a.Org, a.ID), stage, a.Org, a.At.UTC()}, Approval: a.ID, Tool: a.Tool, Agent: a.Agent, Install: a.Install, Session: a.Session, Expires: a.ExpiresAt.UTC()}
	return event(TypeApproval, d.head, d)
}

// event encodes a detail. The types above cannot fail to encode. One above
// [MaxDetail], whose names were not bounded where they entered, is told without
// its particulars rather than not at all.
func event(kind string, h head, detail any) Event {
	b, err := json.Marshal(detail)
	if err != nil || len(b) > MaxDetail {
		b, _ = json.Marshal(struct {
			head
			Cut bool `json:"cut"`
		}{h, true})
	}
	return Event{ID: h.ID, Type: kind, At: h.At, Detail: b}
}

// maxClip bounds a key in an anomaly, in bytes.
const maxClip = 512

func clip(s string) string {
	if len(s) > maxClip {
		return s[:maxClip]
	}
	return s
}

// digest is 20 characters over unambiguous parts.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = h.Write([]byte(strconv.Itoa(len(p)) + ":" + p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}
