package admin

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/credit"
)

// usageJSON are the buckets of one or many calls.
type usageJSON struct {
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
	AudioSeconds       seconds             `json:"audio_seconds"`
	AudioSecondsOut    seconds             `json:"audio_seconds_out"`
	Characters         int64               `json:"characters"`
	Images             int64               `json:"images"`
	Source             billing.UsageSource `json:"source"`
}

// seconds is written as decimal seconds from whole milliseconds, without a
// float.
type seconds int64

// MarshalJSON implements [encoding/json.Marshaler].
func (s seconds) MarshalJSON() ([]byte, error) {
	if s%1000 == 0 {
		return fmt.Appendf(nil, "%d", s/1000), nil
	}
	return []byte(strings.TrimRight(fmt.Sprintf("%d.%03d", s/1000, s%1000), "0")), nil
}

func usageOut(u billing.Usage) usageJSON {
	if u.Source == "" {
		u.Source = billing.NoUsage
	}
	return usageJSON{InputTokens: u.InputTokens, CachedInputTokens: u.CachedInputTokens, CacheWriteTokens: u.CacheWriteTokens,
		CacheWrite1hTokens: u.CacheWrite1hTokens, OutputTokens: u.OutputTokens, ReasoningTokens: u.ReasoningTokens,
		InputAudioTokens: u.InputAudioTokens, OutputAudioTokens: u.OutputAudioTokens, InputImageTokens: u.InputImageTokens,
		OutputImageTokens: u.OutputImageTokens, AudioSeconds: seconds(u.AudioMillis), AudioSecondsOut: seconds(u.AudioOutMillis),
		Characters: u.Characters, Images: u.Images, Source: u.Source}
}

type usageRow struct {
	Key      map[string]string `json:"key"`
	Requests int64             `json:"requests"`
	usageJSON
	Cost credit.Micro `json:"cost"`
	// Paid is what the organisation's agency paid of it.
	Paid credit.Micro `json:"paid_by_agency"`
}

// groups maps the words a caller may group by to the ledger's.
var groups = map[string]string{"day": "day", "provider": "provider", "model": "model", "agent": "agent", "agent_id": "agent",
	"source": "source", "billing_source": "source", "client": "client", "client_id": "client"}

func usageParams() []param {
	return []param{{"from", "first day, YYYY-MM-DD, default 30 days ago"}, {"to", "last day, default today"},
		{"group_by", "comma separated: day, provider, model, agent, source, client; default day"}}
}

func getUsage(c *call) (any, error) {
	from, err := c.day("from", c.req.Now.AddDate(0, 0, -30))
	if err != nil {
		return nil, err
	}
	to, err := c.day("to", c.req.Now)
	if err != nil {
		return nil, err
	}
	asked := []string{"day"}
	if words := c.req.Query["group_by"]; len(words) > 0 {
		asked = strings.Split(strings.Join(words, ","), ",")
	}
	var by []string
	for _, word := range asked {
		group, ok := groups[word]
		if !ok {
			return nil, malformed("group_by", "group_by may hold day, provider, model, agent, source and client, separated by commas")
		}
		by = append(by, group)
	}
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	if c.req.Query.Get("limit") == "" {
		p.limit = maxLimit // a month by day and model in one page
	}
	rows, err := c.Ledger.Usage(c, c.org.ID, from, to, by)
	if err != nil {
		return nil, err
	}
	rows, next, err := usagePage(rows, p)
	if err != nil {
		return nil, err
	}
	return answer(rows, next, func(r credit.UsageRow) usageRow {
		values := map[string]string{"day": r.Day, "provider": r.Provider, "model": r.Model, "agent": r.Agent, "source": string(r.Source), "client": r.Client}
		key := map[string]string{}
		for _, word := range asked {
			key[word] = values[groups[word]]
		}
		return usageRow{Key: key, Requests: r.Requests, usageJSON: usageOut(r.Usage), Cost: r.Cost, Paid: r.Paid}
	}), nil
}

// usagePage pages over the groups. A group's place is a digest of its words,
// because models have names of any characters; groups never go away, so that one
// that is not there belongs to another question.
func usagePage(rows []credit.UsageRow, p page) (out []credit.UsageRow, next string, err error) {
	place := func(r credit.UsageRow) string {
		sum := sha256.Sum256(fmt.Appendf(nil, "%q", [...]string{r.Day, r.Provider, r.Model, r.Agent, string(r.Source), r.Client}))
		return hex.EncodeToString(sum[:12])
	}
	if p.after != "" {
		i := slices.IndexFunc(rows, func(r credit.UsageRow) bool { return place(r) == p.after })
		if i < 0 {
			return nil, "", malformed("cursor", "this cursor belongs to another question; start without it")
		}
		rows = rows[i+1:]
	}
	if len(rows) <= p.limit {
		return rows, "", nil
	}
	return rows[:p.limit], place(rows[p.limit-1]), nil
}

// day reads a day, or the day of a point in time.
func (c *call) day(name string, fallback time.Time) (string, error) {
	s := c.req.Query.Get(name)
	if s == "" {
		return fallback.UTC().Format(time.DateOnly), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Format(time.DateOnly), nil
	}
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return "", malformed(name, name+" is a day, YYYY-MM-DD")
	}
	return s, nil
}
