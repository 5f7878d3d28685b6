// Package kmskeytest gives tests a kmskey.Keys that talks to a KMS endpoint
// through the real SDK.
//
// It is imported by _test files only. With [EndpointVariable] set, keys are made
// on that endpoint, which must be on loopback (the local stack's key service);
// otherwise a small server in the test process answers. That server implements
// the five operations used here with real AES-GCM and HMAC, and can be told to
// fail with any error code; it has no policies and no key states.
package kmskeytest

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/latchkey/latchkey/shared/vault/kmskey"
)

// EndpointVariable names the environment variable with the URL of a KMS
// endpoint whose administrator is the access key id "local".
const EndpointVariable = "LATCHKEY_TEST_KMS_URL"

// Open returns keys on the endpoint of [EndpointVariable] or on a server of this
// test.
func Open(t testing.TB) *kmskey.Keys {
	t.Helper()
	endpoint := os.Getenv(EndpointVariable)
	if endpoint == "" {
		return NewServer(t).Keys(t)
	}
	u, err := url.Parse(endpoint)
	if err != nil || net.ParseIP(u.Hostname()) == nil || !net.ParseIP(u.Hostname()).IsLoopback() {
		t.Fatalf("%s must name a loopback address", EndpointVariable)
	}
	return keys(t, Client(endpoint))
}

// Client returns an SDK client of an endpoint, without retries.
func Client(endpoint string) *kms.Client {
	return kms.New(kms.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
	})
}

func keys(t testing.TB, client *kms.Client) *kmskey.Keys {
	t.Helper()
	k, err := kmskey.New(kmskey.Options{
		Client: client, KeyARNs: []string{create(t, client, &kms.CreateKeyInput{}), create(t, client, &kms.CreateKeyInput{})},
		MACKeyARN: create(t, client, &kms.CreateKeyInput{KeySpec: types.KeySpecHmac256, KeyUsage: types.KeyUsageTypeGenerateVerifyMac}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func create(t testing.TB, client *kms.Client, in *kms.CreateKeyInput) string {
	t.Helper()
	out, err := client.CreateKey(context.Background(), in)
	if err != nil {
		t.Fatalf("create key: %v", err)
	}
	return aws.ToString(out.KeyMetadata.Arn)
}

// Server is a key service on a loopback port. It is safe for concurrent use.
type Server struct {
	// URL is where it listens.
	URL string

	mu    sync.Mutex
	keys  map[string][]byte
	code  string
	calls map[string]int
}

// NewServer starts a server that stops when the test ends.
func NewServer(t testing.TB) *Server {
	s := &Server{keys: map[string][]byte{}, calls: map[string]int{}}
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

// Keys makes two wrapping keys and one for fingerprints and returns them.
func (s *Server) Keys(t testing.TB) *kmskey.Keys {
	t.Helper()
	return keys(t, Client(s.URL))
}

// Fail makes every call fail with an error code; empty ends that.
func (s *Server) Fail(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

// Calls is how often an operation was called.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// message holds the members of all requests and answers used here.
type message struct {
	KeyID       string            `json:"KeyId,omitempty"`
	Blob        []byte            `json:"CiphertextBlob,omitempty"`
	Plaintext   []byte            `json:",omitempty"`
	Context     map[string]string `json:"EncryptionContext,omitempty"`
	Message     []byte            `json:",omitempty"`
	Mac         []byte            `json:",omitempty"`
	Material    string            `json:"KeyMaterialId,omitempty"`
	SourceKeyID string            `json:"SourceKeyId,omitempty"`
	Source      map[string]string `json:"SourceEncryptionContext,omitempty"`
	TargetKeyID string            `json:"DestinationKeyId,omitempty"`
	Target      map[string]string `json:"DestinationEncryptionContext,omitempty"`
	TargetMat   string            `json:"DestinationKeyMaterialId,omitempty"`
	Metadata    map[string]string `json:"KeyMetadata,omitempty"`
}

type failure string

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in message
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil || json.Unmarshal(body, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[operation]++
	out, code := message{}, failure(s.code)
	if code == "" {
		out, code = s.run(operation, in)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": string(code), "message": "text of the service"})
		return
	}
	_ = json.NewEncoder(w).Encode(out)
}

func (s *Server) run(operation string, in message) (message, failure) {
	switch operation {
	case "CreateKey":
		arn := "arn:aws:kms:us-east-1:111122223333:key/" + hex.EncodeToString(random(8))
		s.keys[arn] = random(32)
		return message{Metadata: map[string]string{"Arn": arn, "KeyId": arn}}, ""
	case "GenerateDataKey":
		plain := random(32)
		return message{KeyID: in.KeyID, Plaintext: plain, Blob: s.wrap(in.KeyID, plain, in.Context), Material: "m1"}, ""
	case "Decrypt":
		plain, code := s.unwrap(in.KeyID, in.Blob, in.Context)
		return message{KeyID: in.KeyID, Plaintext: plain, Material: "m1"}, code
	case "ReEncrypt":
		plain, code := s.unwrap(in.SourceKeyID, in.Blob, in.Source)
		if code != "" {
			return message{}, code
		}
		return message{KeyID: in.TargetKeyID, Blob: s.wrap(in.TargetKeyID, plain, in.Target), TargetMat: "m1"}, ""
	case "GenerateMac":
		h := hmac.New(sha256.New, s.keys[in.KeyID])
		h.Write(in.Message)
		return message{KeyID: in.KeyID, Mac: h.Sum(nil)}, ""
	}
	return message{}, "UnknownOperationException"
}

func (s *Server) wrap(arn string, plain []byte, ectx map[string]string) []byte {
	return s.aead(arn).Seal(nil, nil, plain, contextBytes(ectx))
}

func (s *Server) unwrap(arn string, blob []byte, ectx map[string]string) ([]byte, failure) {
	if s.keys[arn] == nil {
		return nil, "NotFoundException"
	}
	plain, err := s.aead(arn).Open(nil, nil, blob, contextBytes(ectx))
	if err != nil {
		return nil, "InvalidCiphertextException"
	}
	return plain, ""
}

func (s *Server) aead(arn string) cipher.AEAD {
	block, err := aes.NewCipher(s.keys[arn])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func contextBytes(ectx map[string]string) []byte {
	var out []byte
	for _, name := range slices.Sorted(maps.Keys(ectx)) {
		out = fmt.Appendf(out, "%d:%s=%d:%s;", len(name), name, len(ectx[name]), ectx[name])
	}
	return out
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
