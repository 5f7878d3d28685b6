package stack

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
	"github.com/latchkey/latchkey/scripts/internal/front"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
	"github.com/latchkey/latchkey/scripts/internal/localevents"
	"github.com/latchkey/latchkey/scripts/internal/localfaults"
	"github.com/latchkey/latchkey/scripts/internal/localkms"
	"github.com/latchkey/latchkey/scripts/internal/localsqs"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// endpoints are the servers of the AWS protocols.
type endpoints struct {
	servers []*http.Server

	dynamodb, kms, sqs, lambda, events string
	vaultKeys                          []string
	macKey                             string
}

// serve starts a server on a free loopback port and returns its URL.
func (e *endpoints) serve(h http.Handler, port int) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return "", err
	}
	e.serveOn(l, h)
	return "http://" + l.Addr().String(), nil
}

func (e *endpoints) serveOn(l net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	e.servers = append(e.servers, srv)
	go func() { _ = srv.Serve(l) }()
}

func (e *endpoints) close() {
	for _, s := range e.servers {
		_ = s.Close()
	}
}

// AccessKey is the fake access key id that a function's permissions bind.
func AccessKey(function string) string { return accessKey(function) }

// accessKey is the fake access key id of a function.
func accessKey(function string) string { return "LOCAL" + strings.ToUpper(function) }

func queueName(name string) string { return name + ".fifo" }

func deadLetterName(name string) string { return name + "-dead.fifo" }

func (s *Stack) path(name string) string {
	if s.opts.InMemory {
		return ""
	}
	return filepath.Join(s.opts.Data, name)
}

func (s *Stack) startEndpoints() error {
	e := &endpoints{}
	s.endpoints = e
	names := map[string]string{}
	for _, f := range topology.Functions() {
		names[accessKey(f.Name)] = f.Name
	}
	s.Faults = localfaults.NewTable(names)
	s.Tables = dynamo.Tables{}
	for _, spec := range table.Specs() {
		s.Tables[spec.Role] = "latchkey-" + string(spec.Role)
	}
	var err error
	observe := s.observer(names)
	if s.KMS, err = localkms.New(localkms.Config{Path: s.path("kms.json"), Clock: s.Clock, Faults: s.Faults, Admin: AdminKey,
		Log: func(a localkms.Access) { observe(a.Principal, "kms", a.Operation, 0) }}); err != nil {
		return err
	}
	// Two, so that a rotation from one to the other can be tried.
	for _, alias := range []string{"alias/latchkey-vault", "alias/latchkey-vault2"} {
		arn, err := s.KMS.EnsureKey(alias, localkms.Symmetric)
		if err != nil {
			return err
		}
		e.vaultKeys = append(e.vaultKeys, arn)
	}
	if e.macKey, err = s.KMS.EnsureKey("alias/latchkey-mac", localkms.HMAC256); err != nil {
		return err
	}
	s.KMS.SetPolicy(keyPolicy(e.vaultKeys, e.macKey))
	if s.Queues, err = localsqs.New(localsqs.Config{Dir: s.path("sqs"), Clock: s.Clock, Faults: s.Faults, Allow: queueAllow(), Admin: AdminKey}); err != nil {
		return err
	}
	if s.Events, err = localevents.New(localevents.Config{Path: s.path("events.jsonl"), Clock: s.Clock, Allow: eventAllow()}); err != nil {
		return err
	}
	if s.Proxy, err = localfaults.NewProxy(localfaults.ProxyConfig{Upstream: s.engine.URL, Faults: s.Faults, Allow: tableAllow(s.Tables), Rules: tableRules(s.Tables), Admin: AdminKey,
		OnCall: func(c localfaults.ProxyCall) { observe(c.Principal, c.Service, c.Operation, c.Elapsed) }}); err != nil {
		return err
	}
	if s.Host, err = lambdahost.New(lambdahost.Options{Clock: s.Clock, LogDir: s.LogDir, Stderr: s.opts.Log, Region: region}); err != nil {
		return err
	}
	return e.listen(s)
}

// observer makes what reports a function's call that has just ended; names are the
// functions by their access keys.
func (s *Stack) observer(names map[string]string) func(principal, service, operation string, elapsed time.Duration) {
	if s.opts.OnAWSCall == nil {
		return func(string, string, string, time.Duration) {}
	}
	return func(principal, service, operation string, elapsed time.Duration) {
		if name, known := names[principal]; known {
			end := time.Now()
			s.opts.OnAWSCall(AWSCall{name, service, operation, end.Add(-elapsed), end})
		}
	}
}

func (e *endpoints) listen(s *Stack) (err error) {
	for _, x := range []struct {
		url *string
		h   http.Handler
	}{
		{&e.dynamodb, s.Proxy}, {&e.kms, s.KMS}, {&e.sqs, s.Queues}, {&e.lambda, front.InvokeAPI(s.Host, invokeAllow())}, {&e.events, s.Events},
	} {
		if *x.url, err = e.serve(x.h, 0); err != nil {
			return err
		}
	}
	// People and tests get the engine itself, without the functions' permissions.
	s.DynamoDBURL, s.KMSURL, s.SQSURL = s.engine.URL, e.kms, e.sqs
	s.FunctionDynamoDBURL = e.dynamodb
	return s.createQueues()
}

func (s *Stack) createQueues() error {
	for _, f := range topology.Functions() {
		if f.Queue == nil {
			continue
		}
		dead := deadLetterName(f.Queue.Name)
		if _, err := s.Queues.EnsureQueue(dead, map[string]string{"FifoQueue": "true", "MessageRetentionPeriod": "1209600"}); err != nil {
			return err
		}
		_, err := s.Queues.EnsureQueue(queueName(f.Queue.Name), map[string]string{
			"FifoQueue": "true", "VisibilityTimeout": strconv.Itoa(int(f.Queue.Visibility.Seconds())),
			"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
			"RedrivePolicy": `{"deadLetterTargetArn":"` + s.Queues.ARN(dead) + `","maxReceiveCount":"` + strconv.Itoa(f.Queue.MaxReceive) + `"}`,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// VaultKeys are the ARNs of the keys that wrap data keys, the default first, and
// MACKey that of the key for fingerprints.
func (s *Stack) VaultKeys() (wrapping []string, mac string) {
	return slices.Clone(s.endpoints.vaultKeys), s.endpoints.macKey
}

// keyPolicy is the topology's key permissions as the key service enforces them.
func keyPolicy(vaultKeys []string, macKey string) localkms.Policy {
	p := localkms.Policy{}
	for _, f := range topology.Functions() {
		for _, k := range f.KMS {
			st := localkms.Statement{Keys: []string{macKey}}
			if len(k.Classes) > 0 {
				st.Keys, st.RequireContext, st.OnlyContext = vaultKeys, []string{"org"}, topology.ContextKeys()
				st.ContextEquals = map[string][]string{"app": {topology.App}, "stage": {stage}}
				for _, c := range k.Classes {
					st.ContextEquals["cls"] = append(st.ContextEquals["cls"], string(c))
				}
			}
			for _, a := range k.Actions {
				st.Actions = append(st.Actions, "kms:"+a)
			}
			p[accessKey(f.Name)] = append(p[accessKey(f.Name)], st)
		}
	}
	return p
}

// tableAllow is the topology's table permissions as the proxy enforces them.
func tableAllow(names dynamo.Tables) awswire.Allow {
	allow := awswire.Allow{}
	for _, f := range topology.Functions() {
		grants := map[string][]string{}
		for _, t := range f.Tables {
			grants[names[t.Table]] = append(grants[names[t.Table]], t.Actions...)
		}
		allow[accessKey(f.Name)] = grants
	}
	return allow
}

// invokeAllow is which function may invoke which.
func invokeAllow() awswire.Allow {
	allow := awswire.Allow{}
	for _, f := range topology.Functions() {
		grants := map[string][]string{}
		for _, name := range f.Invokes {
			grants[name] = []string{"InvokeFunction"}
		}
		allow[accessKey(f.Name)] = grants
	}
	return allow
}

// eventAllow is who may put events on the bus.
func eventAllow() awswire.Allow {
	allow := awswire.Allow{AdminKey: {"default": {"PutEvents"}}}
	for _, f := range topology.Functions() {
		if f.Events {
			allow[accessKey(f.Name)] = map[string][]string{"default": {"PutEvents"}}
		}
	}
	return allow
}

// tableRules is what the topology refuses on partitions, and where it grants an
// action on some partitions only.
func tableRules(names dynamo.Tables) localfaults.Rules {
	rules := localfaults.Rules{}
	for _, f := range topology.Functions() {
		principal := accessKey(f.Name)
		for _, t := range f.Denied() {
			rules[principal] = append(rules[principal], localfaults.Rule{Table: names[t.Table], Operations: t.Actions, Keys: t.Keys, Deny: true})
		}
		for _, t := range f.Tables {
			for _, a := range t.Actions {
				if keys := grantedKeys(f, t.Table, a); keys != nil {
					rules[principal] = append(rules[principal], localfaults.Rule{Table: names[t.Table], Operations: []string{a}, Keys: keys})
				}
			}
		}
	}
	return rules
}

// grantedKeys are the partitions of an action that several grants may name; nil
// if one of them names none, which is all.
func grantedKeys(f topology.Function, role table.Role, action string) []string {
	var keys []string
	for _, t := range f.Tables {
		if t.Table != role || !slices.Contains(t.Actions, action) {
			continue
		}
		if len(t.Keys) == 0 {
			return nil
		}
		keys = append(keys, t.Keys...)
	}
	return keys
}

func queueAllow() awswire.Allow {
	allow := awswire.Allow{}
	for _, f := range topology.Functions() {
		grants := map[string][]string{}
		for _, q := range f.Sends {
			grants[queueName(q)] = append(grants[queueName(q)], "SendMessage", "GetQueueUrl")
		}
		if f.Queue != nil {
			grants[queueName(f.Queue.Name)] = append(grants[queueName(f.Queue.Name)], "ChangeMessageVisibility")
		}
		allow[accessKey(f.Name)] = grants
	}
	return allow
}

// adminConfig is AWS access that no policy binds.
func adminConfig() aws.Config {
	return aws.Config{Region: region, Credentials: credentials.NewStaticCredentialsProvider(AdminKey, "local", ""), RetryMaxAttempts: 8}
}

func (s *Stack) createTables(ctx context.Context) error {
	s.Dynamo = dynamodb.NewFromConfig(adminConfig(), func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(s.engine.URL) })
	arns, err := ddblocal.EnsureTables(ctx, s.Dynamo, TableSpecs(s.Tables))
	if err != nil {
		return err
	}
	s.streamARN = arns
	if s.DB, err = dynamo.New(s.Dynamo, s.Tables); err != nil {
		return err
	}
	for _, f := range topology.Functions() {
		if f.Stream != nil && arns[s.Tables[f.Stream.Table]] == "" {
			return errors.New("stack: table " + string(f.Stream.Table) + " has no stream")
		}
	}
	return nil
}

// TableSpecs are the tables of the product as the engine creates them.
func TableSpecs(names dynamo.Tables) []ddblocal.TableSpec {
	var out []ddblocal.TableSpec
	for _, t := range table.Specs() {
		spec := ddblocal.TableSpec{Name: names[t.Role], PK: table.PK, SK: table.SK, Stream: t.Stream}
		if t.TTL {
			spec.TTLAttribute = table.TTL
		}
		for _, ix := range t.Index {
			spec.Indexes = append(spec.Indexes, ddblocal.IndexSpec{Name: ix.Name, PK: ix.PK, SK: ix.SK, SKType: "N", Projection: "KEYS_ONLY"})
		}
		out = append(out, spec)
	}
	return out
}

func (s *Stack) streamsClient() *dynamodbstreams.Client {
	return dynamodbstreams.NewFromConfig(adminConfig(), func(o *dynamodbstreams.Options) { o.BaseEndpoint = aws.String(s.endpoints.dynamodb) })
}

func (s *Stack) sqsClient() *sqs.Client {
	return sqs.NewFromConfig(adminConfig(), func(o *sqs.Options) { o.BaseEndpoint = aws.String(s.endpoints.sqs) })
}
