package boot

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/schemas"
	"github.com/aws/smithy-go"

	"github.com/latchkey/latchkey/shared/awscall"
	"github.com/latchkey/latchkey/shared/fault"
)

// TurnQueue is the queue of agent turns. It is safe for concurrent use.
type TurnQueue struct {
	api    *sqs.Client
	direct awscall.Service
	send   *smithy.OperationSchema
	url    string
}

// TurnQueue opens the queue.
func (e *Env) TurnQueue() *TurnQueue {
	return newTurnQueue(sqs.NewFromConfig(e.AWS), e.Config.TurnQueueURL)
}

func newTurnQueue(api *sqs.Client, at string) *TurnQueue {
	o := api.Options()
	q := &TurnQueue{api: api, url: at, send: smithy.NewOperationSchema(schemas.SendMessage, schemas.SendMessageRequest, schemas.SendMessageResult),
		direct: awscall.Service{Name: "sqs", Region: o.Region, HTTP: o.HTTPClient, Signer: o.HTTPSignerV4, Credentials: o.Credentials,
			Protocol: o.Protocol, Errors: sqs.TypeRegistry, Retryer: o.Retryer}}
	params := sqs.EndpointParameters{Region: aws.String(o.Region), Endpoint: o.BaseEndpoint,
		UseDualStack: aws.Bool(o.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled),
		UseFIPS:      aws.Bool(o.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled)}
	endpoint, err := o.EndpointResolverV2.ResolveEndpoint(context.Background(), params)
	if err != nil {
		q.direct.Err = fmt.Errorf("boot: no endpoint of the queue: %w", err)
	}
	q.direct.URL = awscall.At(endpoint.URI)
	return q
}

var errDamaged = errors.New("boot: the queue got another message than was sent")

// Send enqueues body behind the others of its group. It fails with unavailable. What
// is sent twice is in the queue once, for five minutes.
func (q *TurnQueue) Send(ctx context.Context, group, id string, body []byte) error {
	var out sqs.SendMessageOutput
	err := q.direct.Insist(ctx, q.send, &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: aws.String(string(body)),
		MessageGroupId: &group, MessageDeduplicationId: &id}, &out)
	// The service's checksum is MD5 (SQS API reference, SendMessage, read 2026-11).
	if sum := md5.Sum(body); err == nil && aws.ToString(out.MD5OfMessageBody) != hex.EncodeToString(sum[:]) {
		err = errDamaged
	}
	if err != nil {
		return fault.Wrap(fault.Unavailable, "boot.TurnQueue.Send", "the queue is not available, try again", err)
	}
	return nil
}

// Change sets when a received message is delivered again.
func (q *TurnQueue) Change(ctx context.Context, receiptHandle string, after time.Duration) error {
	seconds := int32(min(max(after, 0), 12*time.Hour) / time.Second)
	_, err := q.api.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &q.url, ReceiptHandle: &receiptHandle, VisibilityTimeout: seconds})
	if err != nil {
		return fault.Wrap(fault.Unavailable, "boot.TurnQueue.Change", "visibility could not be set to "+strconv.Itoa(int(seconds))+" s", err)
	}
	return nil
}
