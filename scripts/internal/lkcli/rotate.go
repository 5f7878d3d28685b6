package lkcli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const rotationsPath = "/api/operator/rotations"

// pollEvery is the time between two looks at a running job.
const pollEvery = time.Second

func rotationColumns() []string {
	return []string{"id", "kind", "state", "org_id", "pass", "done", "failed_count", "reason", "created_at", "ended_at"}
}

func rotationCommands() []command {
	one := []arg{{name: "id", about: "of the job"}}
	return []command{
		{name: "rotate", about: "move the credentials of --org or of all to the vault's key, or renew their data keys; goes on with a job that is open (operator)",
			method: http.MethodPost, path: rotationsPath, local: rotate,
			examples: []string{"lk rotate --all --to arn:aws:kms:eu-central-1:111122223333:key/2b7e --wait", "lk rotate --org acme --kind dek --wait"},
			flags: []option{plain(boolean, "all", "the credentials of all organisations"),
				plain(text, "kind", "kek: to the key --to; material: to the newest material of the key; dek: fresh data keys; import: copies of the integrations of --org as their mode wants them; default kek"),
				plain(text, "to", "full ARN of a configured key, for kek; default the present one"),
				plain(integer, "rate", "records per second, default 50"),
				plain(boolean, "wait", "show the progress until the job has ended; exit code 1 if it failed")}},
		{name: "rotate list", about: "the jobs of the vault, newest first (operator)", method: http.MethodGet, path: rotationsPath, list: true, paged: true,
			columns: rotationColumns()},
		{name: "rotate get", about: "a job of the vault with what failed (operator)", method: http.MethodGet, path: rotationsPath + "/{id}", args: one},
		{name: "rotate rollback", about: "go back to the key before and move the credentials back (operator)", method: http.MethodPost,
			path: rotationsPath + "/{id}/rollback", args: one},
		{name: "vault verify", about: "open every credential of --org or of all and say which do not open; changes nothing (operator)", local: verifyVault,
			examples: []string{"lk vault verify", "lk vault verify --org acme --json"},
			flags:    []option{plain(integer, "rate", "records per second, default 50")}},
	}
}

// vaultJob is what the commands need of a job.
type vaultJob struct {
	ID          string
	Kind        string
	OrgID       string `json:"org_id"`
	To          string
	State       string
	Pass        int
	Done        int64
	FailedCount int64 `json:"failed_count"`
	Reason      string
}

func (r vaultJob) ended() bool { return r.State == "done" || r.State == "failed" }

// rotate is lk rotate.
func rotate(ctx context.Context, in *invocation) error {
	if all := in.text("all") == "true"; all == (in.org != "") {
		return wrongCall("say which credentials: --org ORG or --all")
	}
	kind := in.text("kind")
	if kind == "" {
		kind = "kek"
	}
	if kind != "kek" && kind != "material" && kind != "dek" && kind != "import" {
		return wrongCall("--kind is kek, material, dek or import")
	}
	body := map[string]any{"kind": kind}
	if in.has("to") {
		body["to"] = in.text("to")
	}
	return in.runRotation(ctx, body, in.text("wait") == "true")
}

// verifyVault is lk vault verify.
func verifyVault(ctx context.Context, in *invocation) error {
	return in.runRotation(ctx, map[string]any{"kind": "verify"}, true)
}

// runRotation starts a job, or goes on with an open one that was asked for in
// the same words.
func (in *invocation) runRotation(ctx context.Context, body map[string]any, wait bool) error {
	c, err := in.connect()
	if err != nil {
		return err
	}
	if in.org != "" {
		body["org_id"] = in.org
	}
	if in.has("rate") {
		n, err := strconv.Atoi(in.text("rate"))
		if err != nil || n < 1 {
			return wrongCall("--rate is a whole number from 1")
		}
		body["rate"] = n
	}
	raw, err := c.do(ctx, operation{method: http.MethodPost, path: rotationsPath, body: encode(body)})
	if f, ok := err.(*failure); ok && f.Status == http.StatusConflict {
		open, found, lookErr := in.openRotation(ctx, c, body)
		if lookErr != nil || !found {
			return err
		}
		_, _ = fmt.Fprintln(in.Stderr, "lk: this job is running already; following it")
		raw, err = open, nil
	}
	if err != nil {
		return err
	}
	if wait {
		if raw, err = in.follow(ctx, c, raw); err != nil {
			return err
		}
	}
	return in.showRotation(raw)
}

// openRotation finds the open job that body asks for.
func (in *invocation) openRotation(ctx context.Context, c *client, body map[string]any) (raw json.RawMessage, found bool, err error) {
	items, _, err := c.collect(ctx, operation{method: http.MethodGet, path: rotationsPath, query: url.Values{}}, true, maxPage)
	if err != nil {
		return nil, false, err
	}
	for _, item := range items {
		var r vaultJob
		if json.Unmarshal(item, &r) != nil {
			return nil, false, unreadable()
		}
		org, _ := body["org_id"].(string)
		to, named := body["to"].(string)
		if !r.ended() && r.Kind == body["kind"] && r.OrgID == org && (!named || r.To == to) {
			return item, true, nil
		}
	}
	return nil, false, nil
}

// follow shows a job's progress until it has ended and returns it then.
func (in *invocation) follow(ctx context.Context, c *client, raw json.RawMessage) (json.RawMessage, error) {
	shown := ""
	for {
		var r vaultJob
		if json.Unmarshal(raw, &r) != nil || r.ID == "" {
			return nil, unreadable()
		}
		line := fmt.Sprintf("%s: %s, pass %d, %d done, %d failed", clean(r.ID), clean(r.State), r.Pass, r.Done, r.FailedCount)
		if r.Reason != "" {
			line += " (" + clean(r.Reason) + ")"
		}
		if line != shown {
			_, _ = fmt.Fprintln(in.Stderr, "lk: "+line)
			shown = line
		}
		if r.ended() {
			return raw, nil
		}
		if err := in.sleep(ctx, pollEvery); err != nil {
			return nil, failed("interrupted", "the job goes on without lk; the same command follows it again")
		}
		var err error
		if raw, err = c.do(ctx, operation{method: http.MethodGet, path: rotationsPath + "/" + url.PathEscape(r.ID)}); err != nil {
			return nil, err
		}
	}
}

// sleep waits, or fails when ctx ends.
func (in *invocation) sleep(ctx context.Context, d time.Duration) error {
	if in.Sleep != nil {
		in.Sleep(d)
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// showRotation prints a job; one that failed is exit code 1.
func (in *invocation) showRotation(raw json.RawMessage) error {
	if err := in.showOne(raw); err != nil {
		return err
	}
	var r vaultJob
	if json.Unmarshal(raw, &r) != nil || r.State != "failed" {
		return nil
	}
	f := failed("rotation_failed", "the job ended with failures; what failed is listed, the other credentials are done")
	f.answered = true
	return f
}
