package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/latchkey/latchkey/scripts/awsinstant"
	"github.com/latchkey/latchkey/scripts/internal/stack"
	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/billing"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/connection"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/kmskey"
)

// The organisation of a lambda measurement and that of the platform's own keys.
const (
	seedOrg      = "bench"
	seedPlatform = "benchplatform"
	seedOwn      = "c-own"
	seedShared   = "c-platform"
	seedKeyARN   = "arn:aws:kms:us-east-1:000000000000:key/bench"
	seedMACARN   = "arn:aws:kms:us-east-1:000000000000:key/benchmac"
)

// seed writes, through the product's own stores, what a call reads: an
// organisation with settings, a key and a connection, the platform's key in the
// vault, tiers and a price book. It returns the virtual key.
func seed(ctx context.Context, upstream, file string) (string, error) {
	store := awsinstant.New()
	cfg := aws.Config{Region: "us-east-1", HTTPClient: store, Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", "")}
	db, err := dynamo.New(dynamodb.NewFromConfig(cfg), seedTables())
	if err != nil {
		return "", err
	}
	keys, err := kmskey.New(kmskey.Options{Client: kms.NewFromConfig(cfg), KeyARNs: []string{seedKeyARN}, MACKeyARN: seedMACARN})
	if err != nil {
		return "", err
	}
	fields, err := boot.Fields()
	if err != nil {
		return "", err
	}
	v, err := vault.New(vault.Options{Store: dynamo.NewVault(db), KEK: keys, Fields: fields, Now: time.Now, App: topology.App, Stage: config.Local})
	if err != nil {
		return "", err
	}
	s := seeder{ctx: ctx, db: db, vault: v, now: time.Now().UTC().Truncate(time.Millisecond), origin: upstream}
	key, err := s.write()
	if err != nil {
		return "", err
	}
	return key, store.Save(file)
}

func seedTables() dynamo.Tables {
	names := dynamo.Tables{}
	for _, s := range table.Specs() {
		names[s.Role] = "bench-" + string(s.Role)
	}
	return names
}

type seeder struct {
	ctx    context.Context
	db     *dynamo.DB
	vault  *vault.Vault
	now    time.Time
	origin string
}

func (s *seeder) op() audit.Op {
	return audit.Op{Actor: "bench", ID: boot.NewID(s.now), At: s.now}
}

func (s *seeder) row(what string) audit.Row {
	op := s.op()
	return audit.Row{ID: op.ID, Org: seedOrg, At: op.At, Actor: op.Actor, Action: what + ".create", Target: seedOrg, Outcome: audit.Done}
}

func (s *seeder) write() (string, error) {
	ctx := s.ctx
	o := org.Org{ID: seedOrg, Name: "Bench", Tier: taxonomy.Enterprise, Status: org.Active, LedgerMode: org.LedgerCredit, Version: 1, CreatedAt: s.now}
	if err := s.db.Orgs().CreateOrg(ctx, o, s.row("org")); err != nil {
		return "", err
	}
	settings := org.DefaultSettings()
	settings.Aliases = map[string]string{"fast": modelPlatform}
	if err := s.db.Orgs().PutSettings(ctx, seedOrg, settings, 0, s.row("settings")); err != nil {
		return "", err
	}
	if err := s.db.Orgs().PutTiers(ctx, org.Tiers{taxonomy.Enterprise: {BYOK: true, BYOA: true}}, 0, s.row("tiers")); err != nil {
		return "", err
	}
	plain, digest, err := org.Mint(seedOrg, "k1", rand.Reader)
	if err != nil {
		return "", err
	}
	key := org.Key{ID: "k1", Org: seedOrg, Name: "bench", Scopes: org.Scopes(), Hash: digest, CreatedAt: s.now}
	if err := s.db.Keys().CreateKey(ctx, key, s.row("key")); err != nil {
		return "", err
	}
	own := connection.Connection{ID: seedOwn, Org: seedOrg, Provider: taxonomy.OpenAICompatible, Label: "own", BaseURL: s.origin + "/v1", Origin: s.origin,
		Enabled: true, BillingSource: taxonomy.BYOK, Capabilities: []taxonomy.Capability{taxonomy.CapText}, Status: connection.Active,
		Health: connection.Health{Status: connection.Healthy, CheckedAt: s.now}, Class: taxonomy.AIKey, CreatedAt: s.now, Version: 1}
	if err := s.db.Connections().CreateConnection(ctx, own, s.row("connection")); err != nil {
		return "", err
	}
	for _, c := range []vault.Ref{
		{Org: seedOrg, ID: seedOwn, Provider: string(taxonomy.OpenAICompatible), Class: taxonomy.AIKey},
		{Org: seedPlatform, ID: seedShared, Provider: string(taxonomy.OpenRouter), Class: taxonomy.AIKey},
	} {
		if _, err := s.vault.Create(ctx, vault.NewCredential{Op: s.op(), Ref: c, Label: "bench", Origin: s.origin,
			Fields: map[string]secret.Text{"api_key": secret.FromString("sk-bench-0123456789abcdef" + c.Org)}}); err != nil {
			return "", err
		}
	}
	var rows []billing.Row
	for meter, rate := range map[billing.Meter]int64{billing.InputText: 1_000_000, billing.OutputText: 2_000_000} {
		rows = append(rows, billing.Row{Provider: string(taxonomy.OpenRouter), Model: modelVendor, Meter: meter, RatePico: rate, Source: "bench", SourceDate: "2026-11-21"})
	}
	if _, err := s.db.Prices().Import(ctx, rows, time.Time{}, s.now, true, func(string) audit.Row { return s.row("prices") }); err != nil {
		return "", err
	}
	var presented string
	err = plain.Use(func(b []byte) error { presented = string(b); return nil })
	return presented, err
}

// lambdaEnv is the environment of the measured function: what Lambda and infra/
// set, and the platform's key as a vault reference, as on AWS.
func lambdaEnv(f topology.Function, upstream, state, dir, daemon string) []string {
	vars := slices.DeleteFunc(functionEnv(f), func(v string) bool { return strings.HasPrefix(v, "AWS_ENDPOINT_URL_") })
	return append(vars, "LAMBDA_TASK_ROOT="+dir, "AWS_SESSION_TOKEN=bench", "AWS_XRAY_DAEMON_ADDRESS="+daemon,
		config.PlatformVar(taxonomy.OpenRouter, "SECRET")+"="+seedPlatform+"/"+seedShared,
		config.PlatformVar(taxonomy.OpenRouter, "BASE_URL")+"="+upstream+"/v1",
		config.EndpointAllow+"="+host(upstream), "LATCHKEY_BENCH_STATE="+state)
}

// functionURLEvent is a request as a function URL delivers it.
func functionURLEvent(key, path string, query map[string]string, body string) ([]byte, error) {
	raw := ""
	for name, value := range query {
		raw += "&" + name + "=" + value
	}
	e := events.LambdaFunctionURLRequest{Version: "2.0", RawPath: path, RawQueryString: raw, Body: body, QueryStringParameters: query,
		Headers: map[string]string{
			"authorization": "Bearer " + key, "content-type": "application/json", "accept": "application/json", "user-agent": "OpenAI/Python 1.99.0",
			"accept-encoding": "gzip, deflate", "host": "abcdefghijklmnopqrstuvwxyz.lambda-url.us-east-1.on.aws", "x-forwarded-for": "203.0.113.9",
			"x-forwarded-port": "443", "x-forwarded-proto": "https", "x-stainless-lang": "python", "x-stainless-retry-count": "0"},
		RequestContext: events.LambdaFunctionURLRequestContext{AccountID: "anonymous", APIID: "abcdefghijklmnopqrstuvwxyz",
			DomainName: "abcdefghijklmnopqrstuvwxyz.lambda-url.us-east-1.on.aws", DomainPrefix: "abcdefghijklmnopqrstuvwxyz",
			RequestID: "5c0f6f0e-0000-4000-8000-000000000000", Time: "22/Nov/2026:00:00:00 +0000", TimeEpoch: time.Now().UnixMilli(),
			HTTP: events.LambdaFunctionURLRequestContextHTTPDescription{Method: "POST", Path: path, Protocol: "HTTP/1.1", SourceIP: "203.0.113.9", UserAgent: "OpenAI/Python 1.99.0"}}}
	return json.Marshal(e)
}

// epochMark stands before the time of an event.
const epochMark = `"timeEpoch":`

// stamp sets the time of an event, which the function takes for its clock: one
// that stood still would go back between calls, and caches distrust that.
func stamp(event []byte, now time.Time) {
	if at := bytes.Index(event, []byte(epochMark)); at >= 0 {
		copy(event[at+len(epochMark):], strconv.FormatInt(now.UnixMilli(), 10))
	}
}

// lambdaBuild compiles the measured function: functions/invoke with the main file
// of the bench.
func lambdaBuild(ctx context.Context, root, dir string) (string, error) {
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(root, "functions", "invoke", "main.go"): filepath.Join(root, "scripts", "benchcmd", "testdata", "invoke", "main.go")}})
	if err != nil {
		return "", err
	}
	file, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "invoke")
	if err := stack.WriteFile(file, overlay); err != nil {
		return "", err
	}
	return out, goBuildWith(ctx, root, runtime.GOARCH, []string{"-overlay", file}, out, "./functions/invoke")
}
