package admin

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

type settingsJSON struct {
	org.Settings
	Version int64 `json:"version"`
}

// settingsOut shows an older record exactly as it is stored.
func settingsOut(s org.Settings, version int64) any {
	if s.Legacy != nil {
		return s.Legacy.Record
	}
	return settingsJSON{s, version}
}

func getSettings(c *call) (any, error) {
	s, version, err := c.Orgs.Config.Settings(c, c.org.ID)
	return settingsOut(s, version), err
}

// putSettingsBody may name the version that was read; a change in between is
// then a conflict.
type putSettingsBody struct {
	org.Settings
	Version *int64 `json:"version"`
}

func putSettings(c *call) (any, error) {
	var doc map[string]json.RawMessage
	if json.Unmarshal(c.req.Body, &doc) == nil && org.IsLegacy(doc) {
		return putLegacySettings(c)
	}
	return with(replaceSettings)(c)
}

func replaceSettings(c *call, b putSettingsBody) (any, error) {
	seen := int64(-1)
	if b.Version != nil {
		if seen = *b.Version; seen < 0 {
			return nil, malformed("version", "version is the number that was read")
		}
	}
	s, version, err := c.Orgs.PutSettings(c, c.op, c.org.ID, b.Settings, seen)
	return settingsOut(s, version), err
}

// putLegacySettings stores an openrouter_v1 record. It names no version, so it
// replaces whatever is stored.
func putLegacySettings(c *call) (any, error) {
	if err := decodeBody(c, org.LegacyRecord()); err != nil {
		return nil, err
	}
	s, err := org.ParseLegacy(c.req.Body)
	if err != nil {
		return nil, err
	}
	s, version, err := c.Orgs.PutSettings(c, c.op, c.org.ID, s, -1)
	return settingsOut(s, version), err
}

// tiersJSON maps each tier to its features.
type tiersJSON map[taxonomy.Tier]taxonomy.Features

func tiersOut(t org.Tiers) tiersJSON {
	out := tiersJSON{}
	for _, tier := range org.AllTiers() {
		out[tier] = t.Of(tier)
	}
	return out
}

func getTiers(c *call) (any, error) {
	t, _, err := c.Orgs.Config.Tiers(c)
	return tiersOut(t), err
}

type featuresBody struct {
	BYOK   *bool `json:"byok"`
	BYOA   *bool `json:"byoa"`
	Agency *bool `json:"agency"`
}

type tiersBody map[taxonomy.Tier]featuresBody

func putTiers(c *call, b tiersBody) (any, error) {
	for tier := range b {
		if _, ok := taxonomy.ParseTier(string(tier)); !ok {
			return nil, malformed("tier", "tiers are free, pro, agency and enterprise")
		}
	}
	t, err := c.Orgs.PutTiers(c, c.op, func(t org.Tiers) org.Tiers {
		for tier, change := range b {
			f := t.Of(tier)
			for _, x := range []struct {
				to   *bool
				from *bool
			}{{&f.BYOK, change.BYOK}, {&f.BYOA, change.BYOA}, {&f.Agency, change.Agency}} {
				if x.from != nil {
					*x.to = *x.from
				}
			}
			t[tier] = f
		}
		return t
	})
	if err != nil {
		return nil, err
	}
	return tiersOut(t), nil
}

type auditJSON struct {
	ID      string            `json:"id"`
	At      time.Time         `json:"at"`
	Actor   string            `json:"actor"`
	Action  string            `json:"action"`
	Target  string            `json:"target"`
	Outcome audit.Outcome     `json:"outcome"`
	Code    string            `json:"code,omitempty"`
	Detail  map[string]string `json:"detail,omitempty"`
}

func auditOut(r audit.Row) auditJSON {
	return auditJSON{ID: r.ID, At: r.At, Actor: r.Actor, Action: r.Action, Target: r.Target, Outcome: r.Outcome, Code: r.Code, Detail: r.Detail}
}

func listAudit(c *call) (any, error) { return c.auditOf(c.org.ID) }

func listOperatorAudit(c *call) (any, error) { return c.auditOf(org.Operator) }

func (c *call) auditOf(id string) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	rows, next, err := c.Audit.Audit(c, id, p.after, p.limit, c.req.Now)
	if err != nil {
		return nil, err
	}
	return answer(rows, next, auditOut), nil
}

// verifyJSON is the result of recomputing a chain of audit rows.
type verifyJSON struct {
	OK      bool `json:"ok"`
	Checked int  `json:"checked"`
	// Unchained counts rows from before the chain existed; they are not covered.
	Unchained int   `json:"unchained"`
	FirstSeq  int64 `json:"first_seq"`
	LastSeq   int64 `json:"last_seq"`
	// HeadHash is the hash of the last row: noted elsewhere, it shows later
	// whether the whole chain was made anew.
	HeadHash    string      `json:"head_hash"`
	BrokenCount int         `json:"broken_count"`
	Broken      []breakJSON `json:"broken"`
}

type breakJSON struct {
	Seq    int64        `json:"seq"`
	ToSeq  int64        `json:"to_seq,omitempty"`
	ID     string       `json:"id,omitempty"`
	Reason audit.Reason `json:"reason"`
}

func verifyParam() param {
	return param{"months", "how many months back, 1 to 13, this one included; default 13"}
}

func verifyAudit(c *call) (any, error) { return c.verify(c.org.ID) }

func verifyOperatorAudit(c *call) (any, error) { return c.verify(org.Operator) }

func (c *call) verify(id string) (any, error) {
	months := audit.Months
	if s := c.req.Query.Get("months"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, malformed("months", "months is a whole number from 1 to 13")
		}
		months = n
	}
	r, err := audit.Verify(c, c.Audit, id, months, c.req.Now)
	if err != nil {
		return nil, err
	}
	out := verifyJSON{OK: r.OK, Checked: r.Checked, Unchained: r.Older, FirstSeq: r.First, LastSeq: r.Last, BrokenCount: r.Breaks, Broken: []breakJSON{}}
	if r.Last > 0 {
		out.HeadHash = r.Head.String()
	}
	for _, b := range r.Broken {
		out.Broken = append(out.Broken, breakJSON{Seq: b.Seq, ToSeq: b.To, ID: b.ID, Reason: b.Reason})
	}
	return out, nil
}
