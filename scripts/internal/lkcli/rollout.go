package lkcli

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
)

const rolloutPath = "/api/rollout"

func rolloutCommands() []command {
	const one = rolloutPath + "/{subject}"
	of := []arg{{name: "subject", about: "a channel, ai_connections or credit_ledger"}}
	return []command{
		{name: "rollout status", aliases: []string{"rollout"}, about: "how far channels, ai_connections and credit_ledger are rolled out (operator)", method: http.MethodGet, path: rolloutPath, list: true, paged: true,
			columns: []string{"subject", "stage", "default", "org_ids", "matrix", "reason", "changed_by", "changed_at", "version"}},
		{name: "rollout promote", about: "bring a subject to canary for some organisations, or from canary to on; prints what takes it back (operator)", method: http.MethodPost, path: one + "/promote", args: of,
			examples: []string{"lk rollout rollback email --to off --reason trial", "lk rollout promote email --stage canary --org-ids o1a2b3,o4c5d6", "lk rollout promote ai_connections --stage on"},
			flags: []option{opt(text, "stage", "canary or on").must(), opt(words, "org_ids", "the organisations of the canary, at most 50"),
				opt(integer, "version", "only if this is the version that is stored")}},
		{name: "rollout rollback", about: "take a subject to the stage before; prints what takes it back (operator)", method: http.MethodPost, path: one + "/rollback", args: of,
			notice:   "what was active goes on; lk rollout enforce suspends the installs that the stage is not for",
			examples: []string{"lk rollout rollback line --reason answers-twice", "lk rollout rollback line --to off --reason answers-twice"},
			flags: []option{opt(text, "reason", "why, for the audit log").must(), opt(text, "to", "off or canary, default the stage before"),
				opt(integer, "version", "only if this is the version that is stored")}},
		{name: "rollout enforce", about: "suspend the active installs of a channel in all organisations that its stage is not for (operator)", method: http.MethodPost, path: one + "/enforce", args: of,
			local: enforceRollout, examples: []string{"lk rollout enforce line"}, flags: []option{plain(text, "cursor", "go on where an interrupted run ended")}},
	}
}

// enforceCalls bounds the calls of one command, each of which looks at 25
// organisations.
const enforceCalls = 100_000

// enforced is what one call of enforce did.
type enforced struct {
	Subject   string            `json:"subject"`
	Checked   int               `json:"checked"`
	Suspended []json.RawMessage `json:"suspended"`
	Next      string            `json:"next"`
}

// enforceRollout is lk rollout enforce: page by page to the end.
func enforceRollout(ctx context.Context, in *invocation) error {
	c, err := in.connect()
	if err != nil {
		return err
	}
	total := enforced{Suspended: []json.RawMessage{}, Next: in.text("cursor")}
	path, err := in.path(c)
	if err != nil {
		return err
	}
	for range enforceCalls {
		raw, err := c.do(ctx, operation{method: http.MethodPost, path: path, body: encode(map[string]any{"cursor": total.Next})})
		if err != nil && total.Subject != "" {
			// What was done stands before what failed, with the cursor that leads on.
			return errors.Join(in.showOne(encode(total)), err)
		}
		if err != nil {
			return err
		}
		var page enforced
		if json.Unmarshal(raw, &page) != nil || page.Subject == "" {
			return unreadable()
		}
		total.Subject, total.Next = page.Subject, page.Next
		total.Checked += page.Checked
		total.Suspended = append(total.Suspended, page.Suspended...)
		if page.Next == "" {
			return in.showOne(encode(total))
		}
	}
	return failed("interrupted", "there are more organisations; go on with --cursor "+total.Next)
}
