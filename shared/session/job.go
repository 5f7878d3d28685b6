package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/table"
)

// JobKind is what the worker has to do.
type JobKind string

// Job kinds.
const (
	JobMessage JobKind = "message"
	JobRevoked JobKind = "revoked"
	// JobApproval goes on with a conversation after the decision about a call; its
	// envelope says where, its text what was decided.
	JobApproval JobKind = "approval"
	// JobPress is the press of a button, in its envelope.
	JobPress JobKind = "press"
	// JobHuman posts what a person wrote in the agent's place, which is its text.
	JobHuman JobKind = "human"
	// JobClaim makes a conversation with an app of the platform, whose install it names,
	// an organisation's.
	JobClaim JobKind = "claim"
)

// jobVersion is the format of queued jobs; another one is refused.
const jobVersion = 1

// MaxJob bounds a queued job, below the queue's own limit of 256 KB.
const MaxJob = 240 << 10

// ErrJob is returned for a body that is not a job of this version.
var ErrJob = errors.New("session: malformed job")

// Job is one verified event on its way from webhook to turn. It holds neither
// secrets nor the raw body.
type Job struct {
	Version int     `json:"v"`
	Kind    JobKind `json:"kind"`
	Org     string  `json:"org"`
	Install string  `json:"install"`
	// EventID is the id under which the event was received first.
	EventID    string           `json:"event_id"`
	AgentID    string           `json:"agent_id,omitempty"`
	PersonaID  string           `json:"persona_id,omitempty"`
	Tenant     string           `json:"tenant"`
	Identity   channel.Identity `json:"identity"`
	Envelope   channel.Envelope `json:"envelope"`
	ReceivedAt time.Time        `json:"received_at"`
	RequestID  string           `json:"request_id,omitempty"`
	// Approval is the decided call of a [JobApproval].
	Approval string `json:"approval,omitempty"`
	// Claim is the hash of the state of a [JobClaim].
	Claim string `json:"claim,omitempty"`
}

// Key is the routing key of the job's conversation.
func (j Job) Key() Key {
	e := j.Envelope
	return Key{Org: j.Org, Install: j.Install, Agent: j.AgentID, Persona: j.PersonaID,
		Provider: string(e.Provider), Tenant: j.Tenant, Space: e.Space, Thread: e.Thread}
}

// Continuing is the job without what it was about: how to go on in its conversation.
func (j Job) Continuing() Job {
	j.Approval, j.Envelope.Text, j.Envelope.Media, j.Envelope.Addressed = "", "", nil, nil
	return j
}

// Encode writes the job; [ErrJob] if it is larger than [MaxJob].
func (j Job) Encode() ([]byte, error) {
	j.Version = jobVersion
	b, err := json.Marshal(j)
	if err != nil || len(b) > MaxJob {
		return nil, ErrJob
	}
	return b, nil
}

// DecodeJob reads a job strictly.
func DecodeJob(b []byte) (Job, error) {
	var j Job
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if len(b) > MaxJob || d.Decode(&j) != nil {
		return Job{}, ErrJob
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Job{}, ErrJob
	}
	ok := j.Version == jobVersion && table.ValidID(j.Org) && table.ValidID(j.Install) && j.EventID != "" && (j.Kind == JobClaim) == (j.Claim != "")
	switch j.Kind {
	case JobMessage, JobApproval, JobHuman:
		ok = ok && (j.Kind == JobApproval) == (j.Approval != "") && (j.Approval == "" || table.ValidID(j.Approval)) && table.ValidID(j.AgentID) && j.Envelope.Space != "" && !j.Envelope.Empty()
	case JobPress:
		ok = ok && j.Approval == "" && j.Envelope.Space != "" && j.Envelope.Actor != "" && j.Envelope.Pressed != ""
	case JobRevoked:
	case JobClaim:
		ok = ok && table.ValidID(j.Claim) && j.Envelope.Space != "" && j.Envelope.Empty()
	default:
		ok = false
	}
	if !ok {
		return Job{}, ErrJob
	}
	return j, nil
}
