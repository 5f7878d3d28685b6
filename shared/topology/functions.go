package topology

import (
	"time"

	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
)

// usedFilter selects requests that turned USED; entryFilter new entries.
const (
	usedFilter  = `{"eventName":["MODIFY"],"dynamodb":{"NewImage":{"st":{"S":["USED"]}}}}`
	entryFilter = `{"eventName":["INSERT"],"dynamodb":{"Keys":{"pk":{"S":[{"prefix":"J#"}]}}}}`
)

// operatorVault is the partition of the operator's own credentials.
const operatorVault = "ORG#operator"

// callLedger is what a metered call writes: requests, and the hold on a balance, or
// the place on a legacy counter that lies beside it. It reaches neither entries nor grants, so it cannot settle.
func callLedger() TableAccess {
	return TableAccess{Table: table.Ledger, Actions: []string{"BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "Query", "UpdateItem"}, Keys: []string{"R#*", "A#*"}}
}

// callTables is what every metered call needs. It writes two things to config:
// the cooldown of a connection, and the counters of limits, which lie beside the
// organisation and its keys so that they are read with them.
func callTables() []TableAccess {
	return []TableAccess{
		{Table: table.Config, Actions: []string{"BatchGetItem", "GetItem", "Query"}},
		{Table: table.Config, Actions: []string{"UpdateItem"}, Keys: []string{"ORG#*", "KEYS#*"}},
		{Table: table.Vault, Actions: []string{"BatchGetItem", "Query"}},
		callLedger(),
		// What the free allowance of the month took; settle counts it.
		{Table: table.Ledger, Actions: []string{"BatchGetItem"}, Keys: []string{"F#*"}},
	}
}

// Functions lists every function, sorted by name.
func Functions() []Function {
	return []Function{billing(), conform(), console(), invoke(), rotate(), settle(), stt(), sweep(), tts(), turn(), webhook()}
}

// billing alone sells credits. Of the ledger it may add to and correct a balance,
// and reads neither requests nor entries; of the configuration it reads what tells
// who calls; of the vault the operator's credentials, of which it opens those of
// the payment vendor.
func billing() Function {
	return Function{
		Name: Billing, MemoryMB: 256, Timeout: 29 * time.Second,
		Routes: []string{"POST /billing/stripe", "ANY /api/orgs/{org}/billing/{proxy+}"},
		Tables: []TableAccess{
			{Table: table.Config, Actions: []string{"GetItem", "Query"}, Keys: []string{"ORG#*", "KEYS#*", "OPERATOR", table.AuditHeads}},
			{Table: table.Config, Actions: []string{"PutItem"}, Keys: []string{table.AuditRows, table.AuditHeads}},
			{Table: table.Vault, Actions: []string{"Query"}, Keys: []string{operatorVault}},
			{Table: table.Ledger, Actions: []string{"BatchGetItem", "GetItem", "PutItem", "UpdateItem"}, Keys: []string{"A#*"}},
			{Table: table.Ledger, Actions: []string{"GetItem", "PutItem"}, Keys: []string{"B#*", "X#*"}},
			{Table: table.Ledger, Actions: []string{"PutItem"}, Keys: []string{"G#*", "J#*"}},
			{Table: table.Ledger, Actions: []string{"Query"}, Keys: []string{"G#*"}},
			// What a standing order that does not buy tells.
			{Table: table.Usage, Actions: []string{"PutItem"}, Keys: []string{table.KeptEvents}},
		},
		KMS:         []KeyAccess{{Actions: []string{"Decrypt"}, Classes: []taxonomy.CredentialClass{taxonomy.Payment}}},
		Environment: Environment{Tables: true, Vault: true, PublicURL: true, Payments: true},
	}
}

// conform is invoked by console and sweep, which may not open keys.
func conform() Function {
	return Function{
		Name: Conform, MemoryMB: 256, Timeout: 60 * time.Second,
		Tables: []TableAccess{
			// It writes the health of a connection, and beside the organisation what
			// the vendor lists for it.
			{Table: table.Config, Actions: []string{"GetItem", "UpdateItem"}, Keys: []string{"ORG#*", "OFFERS#*"}},
			{Table: table.Vault, Actions: []string{"Query"}},
		},
		// It is asked to trade what a tenant's authorisation brought for a token, with
		// the secret of the platform's app.
		KMS:         []KeyAccess{{Actions: []string{"Decrypt"}, Classes: []taxonomy.CredentialClass{taxonomy.AIKey, taxonomy.VoiceKey, taxonomy.ChannelApp}}},
		Environment: Environment{Tables: true, Vault: true, Providers: true, Channels: true},
	}
}

func console() Function {
	return Function{
		Name: Console, MemoryMB: 256, Timeout: 29 * time.Second,
		Routes:  []string{"ANY /api/{proxy+}", "GET /oauth/{provider}/begin", "POST /oauth/{provider}/begin", "GET /oauth/{provider}/callback"},
		Invokes: []string{Conform, Rotate},
		Sends:   []string{TurnQueue},
		Tables: []TableAccess{
			// BatchGetItem plans a request as the callers do, to explain it.
			{Table: table.Config, Actions: []string{"BatchGetItem", "BatchWriteItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"}},
			{Table: table.Vault, Actions: []string{"BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query"}},
			{Table: table.Sessions, Actions: []string{"GetItem", "Query"}},
			// Decisions about calls that wait.
			{Table: table.Sessions, Actions: []string{"DeleteItem", "PutItem"}, Keys: []string{table.Approvals, table.ApprovalsDue}},
			// Who answers in a session, what the conversation says of that, and what is said
			// under which idempotency key.
			{Table: table.Sessions, Actions: []string{"PutItem", "UpdateItem"}, Keys: []string{table.SessionItems}},
			{Table: table.Sessions, Actions: []string{"DeleteItem", "PutItem"}, Keys: []string{table.HandedRows}},
			{Table: table.Sessions, Actions: []string{"PutItem"}, Keys: []string{table.SaidRows}},
			// BatchGetItem reads open holds, and what clients of an agency drew.
			{Table: table.Ledger, Actions: []string{"BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "Query", "UpdateItem"}, Index: true},
			{Table: table.Usage, Actions: []string{"GetItem", "Query"}},
			// The event that a person took a session over.
			{Table: table.Usage, Actions: []string{"PutItem"}, Keys: []string{table.KeptEvents}},
			// Settings of alerts, and rows that are built anew.
			{Table: table.Usage, Actions: []string{"DeleteItem", "PutItem", "UpdateItem"}, Keys: []string{table.AlertLevels, "SEEN#*", "U#*", "USAGE#*"}},
		},
		KMS: []KeyAccess{
			{Actions: []string{"GenerateDataKey"}, Classes: taxonomy.CredentialClasses()},
			{Actions: []string{"GenerateMac"}},
		},
		Environment: Environment{Tables: true, Vault: true, TurnQueue: true, PublicURL: true, Providers: true, Channels: true},
	}
}

func invoke() Function {
	return Function{
		Name: Invoke, MemoryMB: 512, Timeout: 300 * time.Second,
		Paths:       []string{"/v1/chat/completions", "/v1/messages", "/v1/messages/count_tokens", "/v1/responses", "/v1/embeddings", "/v1/models", "/v1/models/{proxy+}", "/v1beta/{proxy+}"},
		Tables:      callTables(),
		KMS:         []KeyAccess{{Actions: []string{"Decrypt"}, Classes: []taxonomy.CredentialClass{taxonomy.AIKey}}},
		Environment: Environment{Tables: true, Vault: true, Providers: true},
	}
}

func voice(name string, paths ...string) Function {
	return Function{
		Name: name, MemoryMB: 512, Timeout: 120 * time.Second, Paths: paths,
		Tables:      callTables(),
		KMS:         []KeyAccess{{Actions: []string{"Decrypt"}, Classes: []taxonomy.CredentialClass{taxonomy.AIKey, taxonomy.VoiceKey}}},
		Environment: Environment{Tables: true, Vault: true, Providers: true},
	}
}

func stt() Function { return voice(STT, "/v1/audio/transcriptions", "/v1/audio/translations") }

func tts() Function { return voice(TTS, "/v1/audio/speech") }

// rotate alone opens every class, and only to seal the value again or to see
// whether it opens. Nobody outside can call it. Its lease, not a reserved
// concurrency, keeps two of them apart.
func rotate() Function {
	return Function{
		Name: Rotate, MemoryMB: 256, Timeout: 300 * time.Second,
		Tables: []TableAccess{
			{Table: table.Vault, Actions: []string{"ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan"}},
			{Table: table.Config, Actions: []string{"GetItem", "PutItem"}, Keys: []string{table.AuditRows, table.AuditHeads}},
		},
		KMS: []KeyAccess{
			{Actions: []string{"Decrypt", "GenerateDataKey", "ReEncryptFrom", "ReEncryptTo"}, Classes: taxonomy.CredentialClasses()},
			{Actions: []string{"GenerateMac"}},
		},
		Environment: Environment{Tables: true, Vault: true},
	}
}

func settle() Function {
	return Function{
		Name: Settle, MemoryMB: 256, Timeout: 60 * time.Second,
		Stream: &Stream{
			Table: table.Ledger, BatchSize: 100, MaxRetries: 8, MaxAge: 12 * time.Hour, Bisect: true,
			Filters: []string{usedFilter, entryFilter},
		},
		Tables: []TableAccess{
			// The check is that of the month that an entry is written into.
			{Table: table.Ledger, Actions: []string{"BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "UpdateItem"}},
			// It tells callers how many balance shards to use, as sweep does.
			{Table: table.Config, Actions: []string{"UpdateItem"}, Keys: []string{"ORG#*"}},
			// Events that it has sent are deleted, rows never.
			{Table: table.Usage, Actions: []string{"BatchGetItem", "GetItem", "PutItem", "UpdateItem"}},
			{Table: table.Usage, Actions: []string{"DeleteItem"}, Keys: []string{table.KeptEvents}},
		},
		Events:      true,
		Environment: Environment{Tables: true},
	}
}

func sweep() Function {
	return Function{
		Name: Sweep, MemoryMB: 256, Timeout: 55 * time.Second, Schedule: time.Minute,
		// Billing looks after standing orders to buy credits: it has the keys.
		Invokes: []string{Billing, Conform, Rotate},
		// Decisions about calls that wait.
		Sends: []string{TurnQueue},
		Tables: []TableAccess{
			{Table: table.Sessions, Actions: []string{"DeleteItem", "PutItem", "Query"}, Keys: []string{table.ApprovalsDue}},
			{Table: table.Sessions, Actions: []string{"GetItem", "PutItem"}, Keys: []string{table.Approvals}},
			// Of the configuration it sees only which probes are due.
			{Table: table.Config, Actions: []string{"Query"}, Index: true, Keys: []string{table.ProbesDue}},
			// It tells callers how many balance shards to use.
			{Table: table.Config, Actions: []string{"UpdateItem"}, Keys: []string{"ORG#*"}},
			// It ends the drain of a legacy counter, which is a change of who pays.
			{Table: table.Config, Actions: []string{"GetItem", "PutItem"}, Keys: []string{table.AuditRows, table.AuditHeads}},
			{Table: table.Ledger, Actions: []string{"BatchGetItem", "ConditionCheckItem", "GetItem", "PutItem", "Query", "UpdateItem"}, Index: true},
			// It forgets poison that has been settled.
			{Table: table.Ledger, Actions: []string{"DeleteItem"}, Keys: []string{table.PoisonList}},
			// Events that the bus did not take.
			{Table: table.Usage, Actions: []string{"DeleteItem", "PutItem", "Query"}, Keys: []string{table.KeptEvents}},
			// Rows and alerts of entries that the stream lost.
			{Table: table.Usage, Actions: []string{"BatchGetItem", "GetItem", "PutItem", "Query", "UpdateItem"}, Keys: []string{table.AlertLevels, "SEEN#*", "U#*", "USAGE#*"}},
			{Table: table.Vault, Actions: []string{"GetItem", "Query"}, Keys: []string{"ROT"}},
		},
		Events:      true,
		Environment: Environment{Tables: true, TurnQueue: true},
	}
}

func turn() Function {
	return Function{
		Name: Turn, MemoryMB: 512, Timeout: 120 * time.Second,
		Queue: &Queue{Name: TurnQueue, BatchSize: 1, MaxConcurrency: 50, Visibility: 240 * time.Second, MaxReceive: 3},
		// A press of a button decides about a call that waits, and the conversation goes on.
		Sends: []string{TurnQueue},
		// Writes to config end an install whose app was removed at the vendor, and make
		// that of a conversation that is claimed.
		Tables: append(callTables(),
			TableAccess{Table: table.Config, Actions: []string{"ConditionCheckItem", "DeleteItem", "PutItem"}},
			// A state that somebody said to claim a conversation is used up.
			TableAccess{Table: table.Config, Actions: []string{"UpdateItem"}, Keys: []string{"OAUTH#*"}},
			// The events that tell an owner of a suspended install, and of a session that is
			// in a person's hands.
			TableAccess{Table: table.Usage, Actions: []string{"PutItem"}, Keys: []string{table.KeptEvents}},
			TableAccess{Table: table.Sessions, Actions: []string{"ConditionCheckItem", "GetItem", "PutItem", "Query", "UpdateItem"}},
			// A session that the agent takes back, and what was due about a call that is decided.
			TableAccess{Table: table.Sessions, Actions: []string{"DeleteItem"}, Keys: []string{table.ApprovalsDue, table.HandedRows}}),
		KMS: []KeyAccess{{Actions: []string{"Decrypt"}, Classes: []taxonomy.CredentialClass{
			taxonomy.AIKey, taxonomy.VoiceKey, taxonomy.ChannelSend, taxonomy.Tool}}},
		Environment: Environment{Tables: true, Vault: true, TurnQueue: true, Providers: true, Channels: true},
	}
}

func webhook() Function {
	return Function{
		Name: Webhook, MemoryMB: 256, Timeout: 10 * time.Second,
		Routes: []string{"ANY /webhooks/{provider}/{install}", "GET /widget.js"},
		Sends:  []string{TurnQueue},
		Tables: []TableAccess{
			{Table: table.Config, Actions: []string{"GetItem", "Query"}},
			{Table: table.Vault, Actions: []string{"Query"}},
			{Table: table.Sessions, Actions: []string{"GetItem", "PutItem", "UpdateItem"}},
			// What a visitor of an organisation's pages was shown, and nothing else of the talk.
			{Table: table.Sessions, Actions: []string{"Query"}, Keys: []string{table.ShownItems}},
		},
		KMS:         []KeyAccess{{Actions: []string{"Decrypt"}, Classes: []taxonomy.CredentialClass{taxonomy.ChannelVerify}}},
		Environment: Environment{Tables: true, Vault: true, TurnQueue: true, Channels: true},
	}
}
