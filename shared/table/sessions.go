package table

import (
	"fmt"
	"time"
)

// Sessions table.

// Session is a conversation by the hash of its routing key.
func Session(org, hash string) Key { return Key{"SESSION#" + org + "#" + hash, "SESSION"} }

// Message is one message of a session; seq orders it.
func Message(org, hash string, seq int64) Key {
	return Key{"SESSION#" + org + "#" + hash, fmt.Sprintf("MSG#%012d", seq)}
}

// OrgSession lists the sessions of an organisation.
func OrgSession(org, hash string) Key { return Key{"SESSIONS#" + org, hash} }

// Handed lists the sessions of an organisation in which a person answers.
func Handed(org, hash string) Key { return Key{"HANDED#" + org, hash} }

// Said remembers what a person said in an agent's place, by the turn that posts it.
func Said(org, turn string) Key { return Key{"SAID#" + org, turn} }

// Partitions that console and turn write for people who answer: a session with its
// messages, the list of those that people answer in, and what they said.
const (
	SessionItems = "SESSION#*"
	HandedRows   = "HANDED#*"
	SaidRows     = "SAID#*"
)

// ShownItem is one message that a person is shown; seq orders them.
func ShownItem(org, hash string, seq int64) Key {
	return Key{"SHOWN#" + org + "#" + hash, fmt.Sprintf("MSG#%012d", seq)}
}

// ShownState sorts behind every [ShownItem] of its session: how many there are, and
// until when an answer is being made.
func ShownState(org, hash string) Key { return Key{"SHOWN#" + org + "#" + hash, "STATE"} }

// ShownItems matches the partitions of what people are shown.
const ShownItems = "SHOWN#*"

// Room is what the guard against loops keeps of a room.
func Room(org, hash string) Key { return Key{"ROOM#" + org + "#" + hash, "ROOM"} }

// Dedupe is the inbound dedupe row of one event of one install.
func Dedupe(install, event string) Key { return Key{"DEDUP#" + install, event} }

// Alias is one id of a person at an install, hashed.
func Alias(install, hash string) Key { return Key{"ALIAS#" + install, hash} }

// Delivery is one row of an install's log of inbound requests; at orders it.
func Delivery(install string, at time.Time, id string) Key {
	return Key{"DELIV#" + install, fmt.Sprintf("%013d#%s", at.UnixMilli(), id)}
}

// Turn is one agent turn; its outbox parts share the partition.
func Turn(org, id string) Key { return Key{"TURN#" + org + "#" + id, "TURN"} }

// Outbox is one outgoing part of a turn.
func Outbox(org, turn string, part int) Key {
	return Key{"TURN#" + org + "#" + turn, fmt.Sprintf("OUT#%03d", part)}
}

// Approval is a call of a tool that waits for a person, or waited.
func Approval(org, id string) Key { return Key{"APPROVALS#" + org, id} }

// Approvals matches the partitions of all calls that wait.
const Approvals = "APPROVALS#*"

// ApprovalDue says when something has to be done about such a call.
func ApprovalDue(at time.Time, org, id string) Key {
	return Key{ApprovalsDue, fmt.Sprintf("%013d#%s#%s", at.UnixMilli(), org, id)}
}

// ApprovalsDue is the partition of what is to be done about calls that wait.
const ApprovalsDue = "APPROVALSDUE"

// Step is something stored on the way to a turn's answer.
func Step(org, turn string, n int) Key {
	return Key{"TURN#" + org + "#" + turn, fmt.Sprintf("STEP#%03d", n)}
}
