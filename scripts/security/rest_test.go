package security

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/leak"
	"github.com/latchkey/latchkey/shared/table"
)

// canaries are what is looked for, by what it was planted in.
var canaries = map[string]string{"secret": planted, "message": spoken}

// leaked lists where a secret, or what somebody wrote, stands that must not: secrets
// nowhere, messages in conversations, in what is sent and in the queue of turns.
// Logs are read from where the last call ended. kept counts the messages found where
// they belong, so that a search that finds nothing is one that can find something.
func (w *world) leaked(t testing.TB) (where []string, kept int) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(w.LogDir, "*.log"))
	must(t, err)
	for _, name := range logs {
		b, err := os.ReadFile(name)
		must(t, err)
		for _, found := range leak.In(b[min(w.searched[name], len(b)):], canaries) {
			where = append(where, filepath.Base(name)+": "+found)
		}
		w.searched[name] = len(b)
	}
	for role, name := range w.Tables {
		for page := dynamodb.NewScanPaginator(w.Dynamo, &dynamodb.ScanInput{TableName: aws.String(name)}); page.HasMorePages(); {
			out, err := page.NextPage(t.Context())
			must(t, err)
			for _, it := range out.Items {
				found, said := heldIn(role, it)
				where, kept = append(where, found...), kept+said
			}
		}
	}
	for _, q := range w.Queues.Queues() {
		messages, err := w.Queues.Messages(q.Name, 1000)
		must(t, err)
		b, err := json.Marshal(messages)
		must(t, err)
		for _, found := range leak.In(b, map[string]string{"secret": planted}) {
			where = append(where, "queue "+q.Name+": "+found)
		}
	}
	events, err := json.Marshal(w.Events.Events())
	must(t, err)
	for _, found := range leak.In(events, canaries) {
		where = append(where, "events: "+found)
	}
	slices.Sort(where)
	return slices.Compact(where), kept
}

// text are the attributes of the conversations' table that hold what was written:
// a message's or part's text, what is spoken of it, and what was heard.
var text = []string{"text", "say", "hd"}

// summary is the attribute of a session that holds what was written, once that is long.
const summary = "sum"

// heldIn lists what an item holds that it must not, and counts what it may.
func heldIn(role table.Role, it map[string]types.AttributeValue) (found []string, kept int) {
	sk, _ := it[table.SK].(*types.AttributeValueMemberS)
	session := sk != nil && sk.Value == table.Session("", "").SK
	for name, v := range it {
		look := canaries
		if role == table.Sessions && (slices.Contains(text, name) || session && name == summary) {
			look = map[string]string{"secret": planted}
			kept += bytes.Count(leak.Flatten(map[string]types.AttributeValue{"": v}), []byte(spoken))
		}
		for _, f := range leak.In(leak.Flatten(map[string]types.AttributeValue{name: v}), look) {
			found = append(found, fmt.Sprintf("table %s, attribute %s of %.40s: %s", role, name, leak.Flatten(map[string]types.AttributeValue{"": it[table.SK]}), f))
		}
	}
	return found, kept
}
