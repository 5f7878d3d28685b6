package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/kmskey"
)

// safe is a vault of the test's own on the stack's tables and keys, beside
// those of the functions.
type safe struct {
	t      *testing.T
	kms    *kms.Client
	old    string
	new    string
	refs   []vault.Ref
	values sync.Map // ref -> value
	fields *credential.Registry
	// places has one declared field for every class.
	places []place
}

// place is a declared field.
type place struct {
	class    taxonomy.CredentialClass
	provider string
	field    string
}

func secretValue(name string, n int) string {
	return fmt.Sprintf("%s-%05d-0123456789abcdefghijklmnopqrstuv", name, n)
}

// place finds where a credential keeps its value.
func (s *safe) place(class taxonomy.CredentialClass) place {
	return s.places[slices.IndexFunc(s.places, func(p place) bool { return p.class == class })]
}

func findPlaces(t *testing.T, r *credential.Registry) (out []place) {
	t.Helper()
	for _, class := range taxonomy.CredentialClasses() {
		found := false
		for _, m := range r.Manifests() {
			provider := m.ID
			if provider == credential.AnyProvider {
				provider = "vendor"
			}
			for _, f := range m.Fields {
				if f.Class == class && !found && f.CheckSecret(secret.FromString(secretValue("value", 1))) == nil {
					out, found = append(out, place{class, provider, f.Field}), true
				}
			}
		}
		if !found {
			t.Fatalf("no field is declared for %s", class)
		}
	}
	return out
}

func (s *safe) open() *vault.Vault {
	s.t.Helper()
	wrapping, mac := world.VaultKeys()
	keys, err := kmskey.New(kmskey.Options{Client: s.kms, KeyARNs: wrapping, MACKeyARN: mac, Timeout: time.Minute})
	must(s.t, err)
	v, err := vault.New(vault.Options{Store: dynamo.NewVault(world.DB), KEK: keys, Fields: s.fields, Now: time.Now, App: topology.App, Stage: "local"})
	must(s.t, err)
	return v
}

// newSafe stores n credentials of all classes, a hundred per organisation.
func newSafe(t *testing.T, n int) *safe {
	t.Helper()
	wrapping, _ := world.VaultKeys()
	s := &safe{t: t, old: wrapping[0], new: wrapping[1], kms: kms.New(kms.Options{Region: "us-east-1", BaseEndpoint: aws.String(world.KMSURL),
		Credentials: credentials.NewStaticCredentialsProvider(stack.AdminKey, "local", "")})}
	var err error
	s.fields, err = boot.Fields()
	must(t, err)
	s.refs, s.places = make([]vault.Ref, n), findPlaces(t, s.fields)
	v, batch := s.open(), serial.Add(1)
	parallel(8, n, func(i int) {
		p := s.places[i%len(s.places)]
		r := vault.Ref{Org: fmt.Sprintf("rotation%d-%d", batch, i/100), ID: fmt.Sprintf("c%05d", i), Provider: p.provider, Class: p.class}
		s.refs[i] = r
		s.put(v, r, secretValue("value", i))
	})
	if t.Failed() {
		t.FailNow()
	}
	return s
}

func (s *safe) text(r vault.Ref, value string) map[string]secret.Text {
	return map[string]secret.Text{s.place(r.Class).field: secret.FromString(value)}
}

// operation is one of a person of the test's own.
func operation() audit.Op {
	now := time.Now()
	return audit.Op{Actor: "operator:test", ID: boot.NewID(now), At: now}
}

func (s *safe) put(v *vault.Vault, r vault.Ref, value string) {
	_, err := v.Create(context.Background(), vault.NewCredential{Op: operation(), Ref: r, Origin: "https://vendor.example", Fields: s.text(r, value)})
	if err != nil {
		s.t.Errorf("create %s: %v (%s)", r.ID, err, vault.ReasonOf(err))
	}
	s.values.Store(r, value)
}

// read opens a credential and compares; a value that is being changed may be the
// one before or the one after.
func (s *safe) read(v *vault.Vault, r vault.Ref) error {
	before, _ := s.values.Load(r)
	c, err := v.Load(context.Background(), r.Org, r.Class, r.ID)
	if err != nil {
		return err
	}
	got := ""
	err = v.Reveal(context.Background(), c, vault.Use{Field: s.place(r.Class).field, Purpose: "test"}, func(b []byte) error { got = string(b); return nil })
	if err != nil {
		return fmt.Errorf("%w (%s)", err, vault.ReasonOf(err))
	}
	if after, _ := s.values.Load(r); got != before && got != after {
		return fmt.Errorf("opens as %q, want %v or %v", got, before, after)
	}
	return nil
}

// wantReadable opens everything with cold caches.
func (s *safe) wantReadable() {
	s.t.Helper()
	v := s.open()
	parallel(8, len(s.refs), func(i int) {
		if err := s.read(v, s.refs[i]); err != nil {
			s.t.Errorf("%s: %v", s.refs[i].ID, err)
		}
	})
}

func parallel(workers, n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// keysInUse counts the stored versions per wrapping key and material.
func keysInUse(t *testing.T) (byKey, byMaterial map[string]int) {
	t.Helper()
	byKey, byMaterial = map[string]int{}, map[string]int{}
	var start map[string]types.AttributeValue
	for {
		out, err := world.Dynamo.Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String(world.Tables[table.Vault]), ConsistentRead: aws.Bool(true), ExclusiveStartKey: start})
		must(t, err)
		for _, it := range out.Items {
			if k, ok := it["kek"].(*types.AttributeValueMemberS); ok {
				byKey[k.Value]++
				byMaterial[it["km"].(*types.AttributeValueMemberS).Value]++
			}
		}
		if start = out.LastEvaluatedKey; len(start) == 0 {
			return byKey, byMaterial
		}
	}
}

// rotationJob is a job as the API shows it.
type rotationJob struct {
	ID, State, Reason string
	Attempts, Pass    int
	Done              int64
	FailedCount       int64 `json:"failed_count"`
	Failed            []map[string]any
}

func (j rotationJob) ended() bool { return j.State == "done" || j.State == "failed" }

func startRotation(t *testing.T, body map[string]any) rotationJob {
	t.Helper()
	var j rotationJob
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/rotations", body, &j))
	return j
}

func getRotation(t *testing.T, id string) rotationJob {
	t.Helper()
	var j rotationJob
	must(t, operator().Call(t.Context(), http.MethodGet, "/api/operator/rotations/"+id, nil, &j))
	return j
}

// clock is the platform's time for the rotate function. It runs ahead, so that a
// killed worker's lease has run out for the next one.
type leaseClock struct{ ahead time.Duration }

// turn runs the rotate function once, a lease later than the turn before.
func (c *leaseClock) turn() {
	c.ahead += 61 * time.Second
	event, _ := json.Marshal(map[string]any{"at": time.Now().Add(c.ahead).UTC()})
	// Whether it ends or is killed shows in the job.
	_, _ = tryPost(context.Background(), world.BaseURL+"/_local/invoke/"+topology.Rotate, "", event)
}

// finish lets the job come to its end.
func (c *leaseClock) finish(t *testing.T, id string) rotationJob {
	t.Helper()
	for range 20 {
		if j := getRotation(t, id); j.ended() {
			return j
		}
		c.turn()
	}
	t.Fatalf("the job does not end: %+v", getRotation(t, id))
	return rotationJob{}
}

func runRotation(t *testing.T, body map[string]any) rotationJob {
	t.Helper()
	c := &leaseClock{}
	j := c.finish(t, startRotation(t, body).ID)
	if j.State != "done" || j.FailedCount != 0 {
		t.Fatalf("%v: %+v", body, j)
	}
	return j
}

// traffic is what must not notice anything: model calls with an own key, cold
// reads, and people who rotate and create.
type traffic struct {
	stop                 chan struct{}
	once                 sync.Once
	wg                   sync.WaitGroup
	calls, reads, writes atomic.Int64
}

func (s *safe) serve(x *tenant) *traffic {
	tr := &traffic{stop: make(chan struct{})}
	loop := func(f func()) {
		tr.wg.Go(func() {
			for {
				select {
				case <-tr.stop:
					return
				default:
					f()
				}
			}
		})
	}
	loop(func() {
		a, err := tryPost(context.Background(), world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/own", "during a rotation", false))
		if err != nil || a.Status != http.StatusOK {
			s.t.Errorf("a model call failed: %v, %d %s", err, a.Status, a.Body)
		}
		tr.calls.Add(1)
	})
	readers := len(s.refs) * 9 / 10
	loop(func() {
		v := s.open()
		for range 25 {
			if err := s.read(v, s.refs[rand.N(readers)]); err != nil {
				s.t.Errorf("a read failed: %v", err)
			}
			tr.reads.Add(1)
		}
	})
	v := s.open()
	loop(func() {
		n := tr.writes.Add(1)
		r := s.refs[readers+rand.N(len(s.refs)-readers)]
		value := secretValue("rotated", int(n))
		_, err := v.Rotate(context.Background(), vault.Rotation{Op: operation(), Ref: r, Fields: s.text(r, value)})
		if err != nil {
			s.t.Errorf("a person's rotation failed: %v (%s)", err, vault.ReasonOf(err))
		}
		s.values.Store(r, value)
		s.put(v, vault.Ref{Org: "rotation-new", ID: fmt.Sprintf("%s-%d", x.ID, n), Provider: "vendor", Class: taxonomy.Integration}, value)
		time.Sleep(20 * time.Millisecond) // people are slow
	})
	return tr
}

func (tr *traffic) end() { tr.once.Do(func() { close(tr.stop) }); tr.wg.Wait() }

func kmsCalls() map[awswire.Call]int { return world.KMS.Calls() }

// printCalls shows what a step cost.
func printCalls(t *testing.T, what string, before map[awswire.Call]int) {
	t.Helper()
	var lines []string
	for call, n := range kmsCalls() {
		if d := n - before[call]; d > 0 {
			lines = append(lines, fmt.Sprintf("%s.%s %d", call.Principal, call.Operation, d))
		}
	}
	slices.Sort(lines)
	t.Logf("%s: key service calls: %s", what, strings.Join(lines, ", "))
}

// TestKillRotate moves every credential to another key while the worker is
// killed again and again and everybody else goes on.
func TestKillRotate(t *testing.T) {
	n, kills, delay, rate := 200, 5, 300*time.Millisecond, 60
	if os.Getenv("LATCHKEY_SOAK") != "" {
		n, kills, delay, rate = 10_000, 50, 2*time.Second, 1000
	}
	x := newTenant(t, "enterprise", 1_000_000)
	x.connect(byokKey+"R", nil)
	began := time.Now()
	s := newSafe(t, n)
	t.Logf("%d credentials in %.0f s", n, time.Since(began).Seconds())

	calls, denied := kmsCalls(), len(world.KMS.Denials())
	began = time.Now()
	tr := s.serve(x)
	defer tr.end()
	j, moves := s.killRotations(rate, kills, delay)
	tr.end()
	t.Logf("%d moves, at least %d kills, %d attempts in the last move, %d passes, %.0f s; meanwhile %d model calls, %d cold reads, %d rotations and as many creations by people",
		moves, kills, j.Attempts, j.Pass, time.Since(began).Seconds(), tr.calls.Load(), tr.reads.Load(), tr.writes.Load())
	printCalls(t, "rotation with kills", calls)
	if got := world.KMS.Denials()[denied:]; len(got) > 0 {
		t.Errorf("the key service refused: %+v", got)
	}
	if byKey, _ := keysInUse(t); byKey[s.old] != 0 || byKey[s.new] < n {
		t.Errorf("versions per key: %v", byKey)
	}
	s.withoutOldKey(x, n)
	if os.Getenv("LATCHKEY_SOAK") == "" {
		s.otherJobs(j.ID)
	}
}

// killRotations kills workers that move everything to the new key. A move that
// is over before there were enough kills, because the machine stood still in
// between, is followed by one back and another one.
func (s *safe) killRotations(rate, kills int, delay time.Duration) (last rotationJob, moves int) {
	t := s.t
	t.Helper()
	targets := [2]string{s.new, s.old}
	start := func() string {
		id := startRotation(t, map[string]any{"kind": "kek", "to": targets[moves%2], "rate": rate}).ID
		moves++
		return id
	}
	clock, killed, attempts, id := &leaseClock{}, 0, 0, start()
	for killed < kills {
		done := make(chan struct{})
		go func() { defer close(done); clock.turn() }()
		eventually(t, "rotate is busy", func() bool {
			select {
			case <-done:
				return true
			default:
				return len(busy(t, topology.Rotate)) > 0
			}
		})
		time.Sleep(rand.N(delay)) // not to wait for anything: the kill comes at any moment
		for _, pid := range busy(t, topology.Rotate) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			killed++
		}
		<-done
		if j := getRotation(t, id); j.ended() && killed < kills {
			if attempts += j.Attempts; j.State != "done" || j.FailedCount != 0 || moves == 9 {
				t.Fatalf("after %d kills: %+v", killed, j)
			}
			id = start()
		}
	}
	last = clock.finish(t, id)
	if attempts += last.Attempts; last.State != "done" || last.FailedCount != 0 || attempts < kills/2 {
		t.Fatalf("%d attempts: %+v", attempts, last)
	}
	if moves%2 == 0 {
		if id = start(); clock.finish(t, id).State != "done" {
			t.Fatalf("the last move: %+v", getRotation(t, id))
		}
		last = getRotation(t, id)
	}
	return last, moves
}

// withoutOldKey: once the job is done, the old key is of no use to anybody.
func (s *safe) withoutOldKey(x *tenant, n int) {
	t := s.t
	_, err := s.kms.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: aws.String(s.old)})
	must(t, err)
	defer func() {
		_, err := s.kms.EnableKey(context.Background(), &kms.EnableKeyInput{KeyId: aws.String(s.old)})
		must(t, err)
	}()
	s.wantReadable()
	if a := post(t, world.BaseURL+"/v1/chat/completions", x.Key, chatBody("openai_compatible/own", "without the old key", false)); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	newTenant(t, "enterprise", 0).connect(byokKey+"S", nil)
	calls := kmsCalls()
	if j := runRotation(t, map[string]any{"kind": "verify", "rate": 1000}); j.Done < int64(n) {
		t.Errorf("%+v", j)
	}
	printCalls(t, "verify", calls)
}

// otherJobs runs the other kinds with the real function and leaves the first key
// in use.
func (s *safe) otherJobs(done string) {
	t := s.t
	_, err := s.kms.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: aws.String(s.new)})
	must(t, err)
	_, before := keysInUse(t)
	runRotation(t, map[string]any{"kind": "material", "rate": 1000})
	_, after := keysInUse(t)
	for m := range before {
		if after[m] != 0 || len(after) != 1 {
			t.Errorf("versions per material: %v, before %v", after, slices.Collect(maps.Keys(before)))
		}
	}
	runRotation(t, map[string]any{"kind": "dek", "rate": 1000})
	s.wantReadable()
	// Rolling the first job back is refused after none, and moves everything.
	must(t, operator().Call(t.Context(), http.MethodPost, "/api/operator/rotations/"+done+"/rollback", map[string]any{}, nil))
	if j := new(leaseClock).finish(t, done); j.State != "done" {
		t.Fatalf("%+v", j)
	}
	if byKey, _ := keysInUse(t); byKey[s.new] != 0 {
		t.Errorf("versions per key: %v", byKey)
	}
	s.wantReadable()
	runRotation(t, map[string]any{"kind": "verify", "rate": 1000})
}

// TestSweepGoesOnWithRotations: an open job whose worker is gone gets another
// one from the schedule, and every hour ended overlaps are removed.
func TestSweepGoesOnWithRotations(t *testing.T) {
	s := newSafe(t, 3)
	fault(t, map[string]any{"service": "kms", "function": topology.Rotate, "error": "throttle", "count": 1000})
	j := startRotation(t, map[string]any{"kind": "kek", "rate": 1000})
	eventually(t, "the worker gave up", func() bool { j = getRotation(t, j.ID); return j.Attempts > 0 && j.Reason != "" })
	clearFaults(t)
	sweep(t, 0)
	eventually(t, "the job ended", func() bool { j = getRotation(t, j.ID); return j.ended() })
	if j.State != "done" || j.Attempts < 2 {
		t.Errorf("%+v", j)
	}
	v := s.open()
	if _, err := v.Rotate(t.Context(), vault.Rotation{Op: operation(), Ref: s.refs[0], Overlap: time.Minute, Fields: s.text(s.refs[0], secretValue("next", 0))}); err != nil {
		t.Fatal(err)
	}
	// The next hour's minute 17.
	at := time.Now().Truncate(time.Hour).Add(time.Hour + 17*time.Minute)
	eventually(t, "the ended overlap is removed", func() bool {
		// Again and again: a run that has just passed the credential joins this one.
		sweep(t, time.Until(at))
		c, err := v.Load(t.Context(), s.refs[0].Org, s.refs[0].Class, s.refs[0].ID)
		must(t, err)
		return len(c.Versions) == 1 && len(c.Head.Drains) == 0
	})
}
