package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/latchkey/latchkey/scripts/internal/stack"
)

// readyFile is what ./scripts/dev writes.
type readyFile struct {
	BaseURL      string            `json:"base_url"`
	FunctionURLs map[string]string `json:"function_urls"`
	DynamoDBURL  string            `json:"dynamodb_url"`
	KMSURL       string            `json:"kms_url"`
	SQSURL       string            `json:"sqs_url"`
	OperatorKey  string            `json:"operator_key"`
	OrgID        string            `json:"org_id"`
	APIKey       string            `json:"api_key"`
	LogDir       string            `json:"log_dir"`
}

// startDev runs the program behind ./scripts/dev on a free port.
func startDev(t *testing.T, binary, root, data string) (*exec.Cmd, readyFile) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready.json")
	cmd := exec.CommandContext(context.Background(), binary, "--port", "0", "--data", data, "--ready-file", ready)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var r readyFile
	eventually(t, "the stack is ready", func() bool {
		b, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(b, &r) == nil
	})
	if r.BaseURL == "" || r.FunctionURLs["invoke"] == "" || r.DynamoDBURL == "" || r.KMSURL == "" || r.SQSURL == "" || r.OperatorKey == "" || r.LogDir == "" {
		t.Fatalf("ready file: %+v", r)
	}
	return cmd, r
}

// children lists the live processes that descend from pid.
func children(t *testing.T, pid int) []int {
	t.Helper()
	parents := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	must(t, err)
	for _, e := range entries {
		child, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// The name stands in parentheses and may hold anything.
		fields := strings.Fields(string(b)[strings.LastIndex(string(b), ")")+1:])
		if parent, err := strconv.Atoi(fields[1]); err == nil && fields[0] != "Z" {
			parents[parent] = append(parents[parent], child)
		}
	}
	var out []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		out = append(out, parents[queue[0]]...)
		queue = append(queue, parents[queue[0]]...)
	}
	return out
}

func alive(pids []int) []int {
	var out []int
	for _, p := range pids {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p), "stat"))
		if err == nil && !strings.Contains(string(b), ") Z ") {
			out = append(out, p)
		}
	}
	return out
}

// TestDevLeavesNothingAndKeepsData: no process survives Ctrl-C or a crash of the
// parent, and a restart finds what was there.
func TestDevLeavesNothingAndKeepsData(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs /proc")
	}
	root, err := filepath.Abs("../..")
	must(t, err)
	binary := filepath.Join(t.TempDir(), "local")
	out, err := exec.Command("go", "build", "-o", binary, "../local").CombinedOutput()
	if err != nil {
		t.Fatalf("%s", out)
	}
	data := filepath.Join(t.TempDir(), "state")
	var first readyFile
	for i, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM} {
		cmd, r := startDev(t, binary, root, data)
		if i == 0 {
			first = r
		}
		if r.OrgID != first.OrgID || r.APIKey != first.APIKey || r.OperatorKey != first.OperatorKey {
			t.Errorf("after a restart the seed differs")
		}
		a := post(t, r.BaseURL+"/v1/chat/completions", r.APIKey, chatBody(simChat, "dev "+strconv.Itoa(i), false))
		if a.Status != http.StatusOK {
			t.Fatalf("start %d: %d %s", i, a.Status, a.Body)
		}
		admin := stack.Client{Base: r.BaseURL, Key: r.APIKey}
		eventually(t, "the calls of all starts are settled", func() bool {
			var page struct{ Items []entry }
			must(t, admin.Call(t.Context(), http.MethodGet, "/api/orgs/"+r.OrgID+"/entries?limit=100", nil, &page))
			usage := 0
			for _, e := range page.Items {
				if e.Kind == "usage" {
					usage++
				}
			}
			return usage == i+1
		})
		pids := children(t, cmd.Process.Pid)
		if len(pids) < 3 {
			t.Fatalf("only %d children: %v", len(pids), pids)
		}
		must(t, cmd.Process.Signal(signal))
		err := cmd.Wait()
		if signal != syscall.SIGKILL && err != nil {
			t.Errorf("%v: %v", signal, err)
		}
		eventually(t, "all children are gone", func() bool { return len(alive(pids)) == 0 })
	}
}
