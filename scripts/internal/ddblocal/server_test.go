package ddblocal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/ddblocal"
)

// childMode makes the test binary the parent that gets killed.
const childMode = "LATCHKEY_TEST_DDBLOCAL_PARENT"

func TestMain(m *testing.M) {
	if emulator := os.Getenv(childMode); emulator != "" {
		s, err := ddblocal.Start(context.Background(), ddblocal.Options{Emulator: emulator, InMemory: true})
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("pid", s.PID)
		select {}
	}
	os.Exit(m.Run())
}

func emulator(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("LATCHKEY_TEST_EMULATOR")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "node_modules", "amplify-dynamodb-simulator", "emulator")
	}
	return dir
}

func start(t *testing.T, o ddblocal.Options) *ddblocal.Server {
	t.Helper()
	o.Emulator = emulator(t)
	s, err := ddblocal.Start(t.Context(), o)
	if errors.Is(err, ddblocal.ErrNotInstalled) || errors.Is(err, ddblocal.ErrJava) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

func client(url string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(url), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
}

func specs() []ddblocal.TableSpec {
	return []ddblocal.TableSpec{
		{Name: "config", PK: "pk", SK: "sk", Indexes: []ddblocal.IndexSpec{
			{Name: "by_due", PK: "gpk", SK: "due", SKType: "N", Projection: "KEYS_ONLY"}, {Name: "by_ref", PK: "ref"},
		}},
		{Name: "vault", PK: "pk", SK: "sk"},
		{Name: "sessions", PK: "pk", SK: "sk", TTLAttribute: "ttl"},
		{Name: "ledger", PK: "pk", SK: "sk", Stream: true},
		{Name: "usage", PK: "pk", SK: "sk"},
	}
}

func TestListensOnLoopbackOnly(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	s := start(t, ddblocal.Options{InMemory: true})
	_, err := client(s.URL).ListTables(t.Context(), &dynamodb.ListTablesInput{})
	require.NoError(t, err)
	listening := listeners(t, s.PID)
	require.Equal(t, []string{"0100007F:" + portHex(s.URL)}, listening,
		"the engine must have exactly one listener, on 127.0.0.1")
}

func portHex(url string) string {
	port, _ := strconv.Atoi(url[strings.LastIndex(url, ":")+1:])
	return fmt.Sprintf("%04X", port)
}

// listeners returns the local addresses of the process's listening TCP sockets.
func listeners(t *testing.T, pid int) []string {
	t.Helper()
	sockets := map[string]bool{}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	require.NoError(t, err)
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && strings.HasPrefix(link, "socket:[") {
			sockets[strings.TrimSuffix(strings.TrimPrefix(link, "socket:["), "]")] = true
		}
	}
	require.NotEmpty(t, sockets)
	var found []string
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(data), "\n") {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == "0A" && sockets[f[9]] {
				found = append(found, f[1])
			}
		}
	}
	return found
}

func TestTablesAreEnsuredAndSurviveRestart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, ddblocal.Options{DataDir: dir})
	began := time.Now()
	streams, err := ddblocal.EnsureTables(t.Context(), client(first.URL), specs())
	require.NoError(t, err)
	t.Logf("five tables created in %v", time.Since(began))
	require.Len(t, streams, 1)
	require.Contains(t, streams["ledger"], ":table/ledger/stream/")
	_, err = client(first.URL).PutItem(t.Context(), &dynamodb.PutItemInput{
		TableName: aws.String("ledger"), Item: item("ORG#a", "x"),
	})
	require.NoError(t, err)

	_, err = ddblocal.Start(t.Context(), ddblocal.Options{Emulator: emulator(t), DataDir: dir})
	require.ErrorIs(t, err, ddblocal.ErrInUse)

	require.NoError(t, first.Stop())
	second := start(t, ddblocal.Options{DataDir: dir})
	again, err := ddblocal.EnsureTables(t.Context(), client(second.URL), specs())
	require.NoError(t, err)
	require.Equal(t, streams, again, "the stream's ARN must survive, checkpoints name it")
	out, err := client(second.URL).GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("ledger"), Key: item("ORG#a", "x")})
	require.NoError(t, err)
	require.Len(t, out.Item, 2)
	ttl, err := client(second.URL).DescribeTimeToLive(t.Context(), &dynamodb.DescribeTimeToLiveInput{TableName: aws.String("sessions")})
	require.NoError(t, err)
	require.Equal(t, "ttl", aws.ToString(ttl.TimeToLiveDescription.AttributeName))

	changed := specs()
	changed[0].Indexes = changed[0].Indexes[:1]
	_, err = ddblocal.EnsureTables(t.Context(), client(second.URL), changed)
	require.ErrorIs(t, err, ddblocal.ErrTableDiffers)
	require.ErrorContains(t, err, "config")

	withStream := specs()
	withStream[1].Stream = true
	streams, err = ddblocal.EnsureTables(t.Context(), client(second.URL), withStream)
	require.NoError(t, err)
	require.Contains(t, streams["vault"], ":table/vault/stream/")
}

func item(pk, sk string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"pk": &types.AttributeValueMemberS{Value: pk}, "sk": &types.AttributeValueMemberS{Value: sk},
	}
}

func TestDiesWithItsParent(t *testing.T) {
	if _, err := os.Stat(filepath.Join(emulator(t), "DynamoDBLocal.jar")); err != nil {
		start(t, ddblocal.Options{InMemory: true})
	}
	self, err := os.Executable()
	require.NoError(t, err)
	dir, err := filepath.Abs(emulator(t))
	require.NoError(t, err)
	parent := exec.Command(self)
	parent.Env = append(os.Environ(), childMode+"="+dir)
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	var pid int
	_, err = fmt.Sscanf(line, "pid %d", &pid)
	if err != nil {
		parent.Wait()
		t.Skip(line)
	}
	require.NoError(t, syscall.Kill(pid, 0), "the engine runs")
	require.NoError(t, parent.Process.Kill())
	parent.Wait()
	require.Eventually(t, func() bool { return gone(pid) }, 20*time.Second, 20*time.Millisecond,
		"the engine must not outlive a killed parent")
}

// gone counts a zombie as gone: in a container nobody may reap it.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return runtime.GOOS == "linux"
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(after, "Z")
}

func TestMissingPackageAndJavaAreNamed(t *testing.T) {
	_, err := ddblocal.Start(t.Context(), ddblocal.Options{Emulator: t.TempDir(), InMemory: true})
	require.ErrorIs(t, err, ddblocal.ErrNotInstalled)
	require.ErrorContains(t, err, "npm ci")

	fake := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(fake, "DynamoDBLocal.jar"), nil, 0o644))
	t.Setenv("PATH", t.TempDir())
	_, err = ddblocal.Start(t.Context(), ddblocal.Options{Emulator: fake, InMemory: true})
	require.ErrorIs(t, err, ddblocal.ErrJava)
	require.ErrorContains(t, err, "openjdk-17-jdk-headless")
}

func TestOldJavaAndRuntimeWithoutCompilerAreNamed(t *testing.T) {
	cases := map[string]struct{ script, want string }{
		"old":         {"#!/bin/sh\n[ \"$1\" = -version ] && echo 'openjdk version \"1.8.0_412\"' && exit 0\nexit 1\n", "is version 8"},
		"no compiler": {"#!/bin/sh\n[ \"$1\" = -version ] && echo 'openjdk version \"17.0.15\"' && exit 0\nexit 1\n", "without the compiler module"},
		"broken":      {"#!/bin/sh\nexit 1\n", "does not run"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fake, home := t.TempDir(), t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(fake, "DynamoDBLocal.jar"), nil, 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(home, "java"), []byte(c.script), 0o755))
			_, err := ddblocal.Start(t.Context(), ddblocal.Options{Java: filepath.Join(home, "java"), Emulator: fake, InMemory: true, CacheDir: t.TempDir()})
			require.ErrorIs(t, err, ddblocal.ErrJava)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
}
