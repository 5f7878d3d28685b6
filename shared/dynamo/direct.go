package dynamo

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
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/schemas"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// direct sends operations with the SDK's own parts, in a row: its serializer, its
// signer, its HTTP client, its deserializer with its error types, its retryer.
// What it leaves out is the stack of middleware that the SDK's client puts
// together anew for each call, about 250 allocations and more processor time than
// everything else that happens to a request of ours (measured 2026-11, dynamodb
// v1.73.1). It serves the reads and writes of metered calls and of the webhook
// path; all others use the client.
//
// It differs from the client in this: parameters are not validated before they
// are sent (the service does), a missing ClientRequestToken is not made up, the
// clock is not corrected by the service's answers, endpoints are regional and not
// those of an account, and nothing is told about the SDK's metrics.
type direct struct {
	o   dynamodb.Options
	url *url.URL
	err error // why there is no url

	get, batchGet, query, transact, update, put *smithy.OperationSchema
}

func newDirect(client *dynamodb.Client) *direct {
	d := &direct{o: client.Options(),
		get:      smithy.NewOperationSchema(schemas.GetItem, schemas.GetItemInput, schemas.GetItemOutput),
		batchGet: smithy.NewOperationSchema(schemas.BatchGetItem, schemas.BatchGetItemInput, schemas.BatchGetItemOutput),
		query:    smithy.NewOperationSchema(schemas.Query, schemas.QueryInput, schemas.QueryOutput),
		transact: smithy.NewOperationSchema(schemas.TransactWriteItems, schemas.TransactWriteItemsInput, schemas.TransactWriteItemsOutput),
		update:   smithy.NewOperationSchema(schemas.UpdateItem, schemas.UpdateItemInput, schemas.UpdateItemOutput),
		put:      smithy.NewOperationSchema(schemas.PutItem, schemas.PutItemInput, schemas.PutItemOutput)}
	params := dynamodb.EndpointParameters{Region: aws.String(d.o.Region), Endpoint: d.o.BaseEndpoint,
		UseDualStack: aws.Bool(d.o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(d.o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled)}
	endpoint, err := d.o.EndpointResolverV2.ResolveEndpoint(context.Background(), params)
	if err != nil {
		d.err = fmt.Errorf("dynamo: no endpoint: %w", err)
		return d
	}
	u := endpoint.URI
	if u.Path == "" {
		u.Path = "/"
	}
	d.url = &u
	return d
}

// read sends an operation that may be repeated, as often as the client's retryer
// allows.
func (d *direct) read(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, out smithy.Deserializable) error {
	r := d.o.Retryer
	release := func(error) error { return nil }
	for try := 1; ; try++ {
		err := d.once(ctx, op, in, out)
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
		if noDelay != nil || wait(ctx, delay) != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// once sends an operation once. Errors are those of the client: the service's
// typed ones in a *smithyhttp.ResponseError, or a *smithyhttp.RequestSendError.
func (d *direct) once(ctx context.Context, op *smithy.OperationSchema, in smithy.Serializable, out smithy.Deserializable) error {
	if d.err != nil {
		return d.err
	}
	built := smithyhttp.Request{Request: &http.Request{URL: &url.URL{}, Header: make(http.Header, 10)}}
	if err := d.o.Protocol.SerializeRequest(ctx, op, in, &built); err != nil {
		return &smithy.SerializationError{Err: err}
	}
	body, err := io.ReadAll(built.GetStream())
	if err != nil {
		return &smithy.SerializationError{Err: err}
	}
	u := *d.url
	r := (&http.Request{Method: http.MethodPost, URL: &u, Host: u.Host, Header: built.Header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }}).WithContext(ctx)
	// Compressed answers would be inflated without a bound.
	r.Header["Accept-Encoding"], r.Header["User-Agent"] = []string{"identity"}, []string{"latchkey aws-sdk-go-v2/" + aws.SDKVersion}
	if err := d.sign(ctx, r, body); err != nil {
		return err
	}
	answer, err := d.o.HTTPClient.Do(r)
	if err != nil {
		return &smithyhttp.RequestSendError{Err: err}
	}
	return d.decode(ctx, op, answer, out)
}

// sign leaves a request as it is if the client was made without credentials.
func (d *direct) sign(ctx context.Context, r *http.Request, body []byte) error {
	if d.o.Credentials == nil {
		return nil
	}
	creds, err := d.o.Credentials.Retrieve(ctx)
	if err != nil {
		return fmt.Errorf("dynamo: no credentials: %w", err)
	}
	sum := sha256.Sum256(body)
	if err := d.o.HTTPSignerV4.SignHTTP(ctx, creds, r, hex.EncodeToString(sum[:]), "dynamodb", d.o.Region, time.Now()); err != nil {
		return fmt.Errorf("dynamo: signing failed: %w", err)
	}
	return nil
}

// maxAnswer is above the 16 MB that a batch of items may have, as JSON.
const maxAnswer = 64 << 20

var errAnswer = errors.New("dynamo: the answer is damaged")

func (d *direct) decode(ctx context.Context, op *smithy.OperationSchema, answer *http.Response, out smithy.Deserializable) error {
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
	err := d.o.Protocol.DeserializeResponse(ctx, op, dynamodb.TypeRegistry, response, out)
	if err == nil {
		return nil
	}
	return &smithyhttp.ResponseError{Response: response, Err: err}
}
