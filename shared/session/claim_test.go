package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/session"
)

// TestClaimJobs: a claim names a hash and a conversation and says nothing, and no other
// job names a claim.
func TestClaimJobs(t *testing.T) {
	good := session.Job{Kind: session.JobClaim, Org: "operator", Install: "app_1", EventID: "1", Tenant: "app_1", Claim: strings.Repeat("ab", 32), ReceivedAt: time.Unix(1, 0).UTC(),
		Envelope: channel.Envelope{Provider: "telegram", EventID: "1", Space: "-42"}}
	for name, c := range map[string]struct {
		change func(j *session.Job)
		ok     bool
	}{
		"a claim":         {func(*session.Job) {}, true},
		"no hash":         {func(j *session.Job) { j.Claim = "" }, false},
		"no id":           {func(j *session.Job) { j.Claim = "a state#" }, false},
		"no conversation": {func(j *session.Job) { j.Envelope.Space = "" }, false},
		"a text":          {func(j *session.Job) { j.Envelope.Text = "/start x" }, false},
		"a message":       {func(j *session.Job) { j.Kind, j.AgentID, j.Envelope.Text = session.JobMessage, "a1", "x" }, false},
		"a removal":       {func(j *session.Job) { j.Kind = session.JobRevoked }, false},
	} {
		j := good
		c.change(&j)
		b, err := j.Encode()
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := session.DecodeJob(b); (err == nil) != c.ok || c.ok && got.Claim != good.Claim {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}
