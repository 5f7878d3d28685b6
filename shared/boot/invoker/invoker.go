// Package invoker lets one function invoke another.
//
// It is a package of its own so that only the functions that need it carry the
// client. Names are those of the topology; a function can reach only those that
// its topology entry lists, because only those have a variable and a permission.
//
// A function that failed is an error here, never an answer: its code and message
// are not handed on, because another function's error text is nobody's answer.
// The SDK repeats throttled and unreachable calls; a function that started is
// not invoked twice by a synchronous call, an asynchronous one may be.
package invoker

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/fault"
)

// maxPayload bounds what is sent, in bytes: the limit of asynchronous calls, the
// lower of the two (AWS Lambda quotas, 2026-11).
const maxPayload = 1 << 20

// Invoker invokes functions. It is safe for concurrent use.
type Invoker struct {
	api   *lambda.Client
	names map[string]string
}

// Open builds the client of a function.
func Open(e *boot.Env) *Invoker {
	return &Invoker{api: lambda.NewFromConfig(e.AWS), names: e.Config.Functions}
}

// Invoke calls a function, waits for it and returns its answer. Errors:
// unavailable if it could not be called or failed.
func (i *Invoker) Invoke(ctx context.Context, function string, payload []byte) ([]byte, error) {
	out, err := i.call(ctx, function, payload, types.InvocationTypeRequestResponse)
	if err != nil {
		return nil, err
	}
	if out.FunctionError != nil {
		return nil, fault.New(fault.Unavailable, "invoker.Invoke", "the function "+function+" failed, try again; its log says why")
	}
	return out.Payload, nil
}

// InvokeAsync hands an event to a function and does not wait for it. Errors:
// unavailable if the event was not accepted.
func (i *Invoker) InvokeAsync(ctx context.Context, function string, payload []byte) error {
	_, err := i.call(ctx, function, payload, types.InvocationTypeEvent)
	return err
}

func (i *Invoker) call(ctx context.Context, function string, payload []byte, kind types.InvocationType) (*lambda.InvokeOutput, error) {
	const op = "invoker.call"
	name := i.names[function]
	if name == "" || len(payload) > maxPayload {
		return nil, fault.New(fault.Internal, op, "internal error, try again later")
	}
	out, err := i.api.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(name), Payload: payload, InvocationType: kind})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, op, "the function "+function+" is not available, try again", err)
	}
	return out, nil
}
