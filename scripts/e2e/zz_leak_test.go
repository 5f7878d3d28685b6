package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/scripts/internal/leak"
)

// canaries are the planted secrets. Only a window of each is searched for, so
// that a shortened leak is found, too.
var canaries = map[string]string{
	"platform key": "CNRYa41f09c2", "own key": "CNRYb7720d11", "signing secret": "CNRYc5530e88", "bot token": "CNRYd66104f3", "rotated secret": "CNRYe7700a11", "client secret": "CNRY6be20f93", "authorisation code": "CNRYcode", "echoed key": "CNRYf1902b7a",
	"integration": "CNRYf2e91c07", "tool header": "CNRY3ad905be", "legacy cipher key": "CNRY1d84b3a6", "AWS secret": "CNRYb9d03a5e", "payment key": "CNRY5b1c77d2", "payment secret": "CNRY90e2f4a1", "retiring payment secret": "CNRY17c3b8d6", "Bedrock key": "CNRYc0a7714f",
}

// leaks reports which canaries occur in b.
func leaks(b []byte) []string { return leak.In(b, canaries) }

// That the canaries reached the vendor, where they belong, is asserted by the
// tests that use them. TestZNoSecretLeaks runs last (tests run in the order of their files and names)
// and looks through everything that the other tests left behind: logs and crash
// output of every process, every table, every queue.
func TestZNoSecretLeaks(t *testing.T) {
	sawLogs := 0
	must(t, filepath.WalkDir(world.LogDir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		sawLogs += len(b)
		if found := leaks(b); len(found) > 0 {
			t.Errorf("%s: %v", filepath.Base(p), found)
		}
		return nil
	}))
	if sawLogs < 1000 {
		t.Errorf("only %d bytes of logs: the scenarios did not run", sawLogs)
	}
	items := 0
	for role, name := range world.Tables {
		var start map[string]types.AttributeValue
		for {
			out, err := world.Dynamo.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(name), ExclusiveStartKey: start})
			must(t, err)
			for _, it := range out.Items {
				items++
				if found := leaks(leak.Flatten(it)); len(found) > 0 {
					t.Errorf("table %s, item %s: %v", role, leak.Flatten(map[string]types.AttributeValue{"pk": it["pk"], "sk": it["sk"]}), found)
				}
			}
			if start = out.LastEvaluatedKey; len(start) == 0 {
				break
			}
		}
	}
	if items < 20 {
		t.Errorf("only %d items: the scenarios did not run", items)
	}
	for _, q := range world.Queues.Queues() {
		messages, err := world.Queues.Messages(q.Name, 1000)
		must(t, err)
		b, _ := json.Marshal(messages)
		if found := leaks(b); len(found) > 0 {
			t.Errorf("queue %s: %v", q.Name, found)
		}
	}
	answersMu.Lock()
	if len(answersWithLeaks) > 0 || answersSeen < 20 {
		t.Errorf("%d answers seen, with leaks: %v", answersSeen, answersWithLeaks)
	}
	answersMu.Unlock()
	tracesMu.Lock()
	if found := leaks(traces); len(found) > 0 || !bytes.Contains(traces, []byte("openrouter.chat")) {
		t.Errorf("%d bytes of traces, leaks %v", len(traces), found)
	}
	tracesMu.Unlock()
}

// TestLeakDetectorFindsPlantedLeaks: the search above can fail.
func TestLeakDetectorFindsPlantedLeaks(t *testing.T) {
	for name, c := range canaries {
		for form, text := range leak.Forms(c) {
			if len(leaks([]byte("prefix "+text+" suffix"))) == 0 {
				t.Errorf("a planted %s (%s) is not found", name, form)
			}
		}
	}
	log := filepath.Join(world.LogDir, "planted.log")
	must(t, os.WriteFile(log, []byte("key=sk-platform-CNRYa41f09c2\n"), 0o600))
	b, err := os.ReadFile(log)
	must(t, err)
	if len(leaks(b)) == 0 {
		t.Error("a planted log line is not found")
	}
	must(t, os.Remove(log))
	if len(leaks(leak.Flatten(map[string]types.AttributeValue{"x": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
		"y": &types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberB{Value: []byte("a CNRYb7720d11 b")}}}}}}))) == 0 {
		t.Error("a planted binary attribute is not found")
	}
}
