// Package awscall sends operations of AWS with the SDK's own parts, in a row: a
// service's serializer, its signer, its HTTP client, its deserializer with its
// error types, its retryer.
//
// What it leaves out is the stack of middleware that the SDK's clients put
// together anew for each call, about 250 allocations and more processor time than
// everything else that happens to a request of ours (measured 2026-11, dynamodb
// v1.73.1). It serves the reads and writes of metered calls and of the webhook
// path; all others use the clients.
//
// It differs from a client in this: parameters are not validated before they
// are sent (the service does), a missing token or checksum is not made up, the
// clock is not corrected by the service's answers, endpoints are regional and not
// those of an account, and nothing is told about the SDK's metrics.
//
// A [Service] is safe for concurrent use.
package awscall

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Service is one service of AWS, with the parts of its client. All but Err and
// Credentials are required.
type Service struct {
	Name   string // as requests are signed for it
	Region string
	// URL is where requests go; Err, if it is set, why there is none.
	URL *url.URL
	Err error

	HTTP interface {
		Do(*http.Request) (*http.Response, error)
	}
	Signer interface {
		SignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, payloadHash, service, region string, at time.Time, options ...func(*v4.SignerOptions)) error
	}
	// Credentials may be nil: then requests are not signed.
	Credentials aws.CredentialsProvider
	Protocol    smithyhttp.ClientProtocol
	// Errors are the service's error types.
	Errors  *smithy.TypeRegistry
	Retryer aws.Retryer
}

// Insist sends an operation that may be repeated, as often as the client's retryer
// allows. Errors are those of [Service.Once].
func (s *Service) Insist(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, out smithy.Deserializable) error {
	r := s.Retryer
	release := func(error) error { return nil }
	for try := 1; ; try++ {
		err := s.Once(ctx, op, in, out)
		_ = release(err)
		if err == nil || ctx.Err() != nil || r.MaxAttempts() > 0 && try >= r.MaxAttempts() || !r.IsErrorRetryable(err) {
			return err
		}
		token, refused := r.GetRetryToken(ctx, err)
		if refused != nil {
			return err
		}
		release = token
		delay, noDelay := r.RetryDelay(try, err)
		if noDelay != nil || Wait(ctx, delay) != nil {
			return err
		}
	}
}

// Wait waits, or gives ctx's error when that ends before.
func Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Once sends an operation once. Errors are those of the client: the service's
// typed ones in a *smithyhttp.ResponseError, or a *smithyhttp.RequestSendError.
func (s *Service) Once(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, out smithy.Deserializable) error {
	if s.Err != nil {
		return s.Err
	}
	built := smithyhttp.Request{Request: &http.Request{URL: &url.URL{}, Header: make(http.Header, 10)}}
	if err := s.Protocol.SerializeRequest(ctx, op, in, &built); err != nil {
		return &smithy.SerializationError{Err: err}
	}
	body, err := io.ReadAll(built.GetStream())
	if err != nil {
		return &smithy.SerializationError{Err: err}
	}
	u := *s.URL
	r := (&http.Request{Method: http.MethodPost, URL: &u, Host: u.Host, Header: built.Header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }}).WithContext(ctx)
	// Compressed answers would be inflated without a bound.
	r.Header["Accept-Encoding"], r.Header["User-Agent"] = []string{"identity"}, []string{"latchkey aws-sdk-go-v2/" + aws.SDKVersion}
	if err := s.sign(ctx, r, body); err != nil {
		return err
	}
	answer, err := s.HTTP.Do(r)
	if err != nil {
		return &smithyhttp.RequestSendError{Err: err}
	}
	return s.decode(ctx, op, answer, out)
}

func (s *Service) sign(ctx context.Context, r *http.Request, body []byte) error {
	if s.Credentials == nil {
		return nil
	}
	creds, err := s.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("%s: no credentials: %w", s.Name, err)
	}
	sum := sha256.Sum256(body)
	if err := s.Signer.SignHTTP(ctx, creds, r, hex.EncodeToString(sum[:]), s.Name, s.Region, time.Now()); err != nil {
		return fmt.Errorf("%s: signing failed: %w", s.Name, err)
	}
	return nil
}

// maxAnswer is above the 16 MB that a batch of items may have, as JSON.
const maxAnswer = 64 << 20

var errAnswer = errors.New("awscall: the answer is damaged")

func (s *Service) decode(ctx context.Context, op *smithy.OperationSchema, answer *http.Response, out smithy.Deserializable) error {
	defer answer.Body.Close()
	var buf bytes.Buffer
	buf.Grow(int(min(max(answer.ContentLength, 0), maxAnswer)) + bytes.MinRead)
	if _, err := buf.ReadFrom(io.LimitReader(answer.Body, maxAnswer+1)); err != nil {
		return &smithyhttp.RequestSendError{Err: err}
	}
	if sum := answer.Header.Get("X-Amz-Crc32"); sum != "" && sum != strconv.FormatUint(uint64(crc32.ChecksumIEEE(buf.Bytes())), 10) || buf.Len() > maxAnswer {
		return &smithyhttp.RequestSendError{Err: errAnswer}
	}
	answer.Body = io.NopCloser(&buf)
	response := &smithyhttp.Response{Response: answer}
	err := s.Protocol.DeserializeResponse(ctx, op, s.Errors, response, out)
	if err == nil {
		return nil
	}
	return &smithyhttp.ResponseError{Response: response, Err: err}
}

// At is the URL of an endpoint as requests name it.
func At(u url.URL) *url.URL {
	if u.Path == "" {
		u.Path = "/"
	}
	return &u
}
