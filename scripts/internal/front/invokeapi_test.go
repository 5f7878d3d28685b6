package front

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/stretchr/testify/require"

	"github.com/latchkey/latchkey/scripts/internal/awswire"
	"github.com/latchkey/latchkey/scripts/internal/lambdahost"
)

// sdk is the vendor's own client, as an oracle for the wire format.
func sdk(t *testing.T, host Invoker) (*lambda.Client, string) {
	s := httptest.NewServer(InvokeAPI(host, nil))
	t.Cleanup(s.Close)
	return lambda.New(lambda.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL), Credentials: credentials.NewStaticCredentialsProvider("local", "local", ""),
		RetryMaxAttempts: 1,
	}), s.URL
}

func TestInvokeAPIThroughTheSDK(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	host := realHost(t, nil)
	client, _ := sdk(t, host)
	for _, name := range []string{
		"plain", "plain:live", "000000000000:function:plain", "arn:aws:lambda:us-east-1:000000000000:function:plain",
		"arn:aws:lambda:us-east-1:000000000000:function:plain:7",
	} {
		out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Payload: []byte(`{"x":[1]}`)})
		require.NoError(t, err, name)
		require.EqualValues(t, 200, out.StatusCode)
		require.Equal(t, `{"x":[1]}`, string(out.Payload))
		require.Nil(t, out.FunctionError)
		require.Equal(t, "$LATEST", aws.ToString(out.ExecutedVersion))
	}
	out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), Qualifier: aws.String("live")})
	require.NoError(t, err)
	require.Equal(t, `{}`, string(out.Payload))
	for payload, want := range map[string]string{
		`{"op":"error","text":"x"}`:     `{"errorMessage":"x","errorType":"errorString"}`,
		`{"op":"exit","code":2}`:        `Runtime.ExitError`,
		`{"op":"huge","bytes":9000000}`: `Function.ResponseSizeTooLarge`,
	} {
		out, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: []byte(payload)})
		require.NoError(t, err, payload)
		require.EqualValues(t, 200, out.StatusCode)
		require.Equal(t, "Unhandled", aws.ToString(out.FunctionError))
		require.Contains(t, string(out.Payload), want)
	}
	hasty, _ := sdk(t, realHost(t, func(_ *lambdahost.Options, s *lambdahost.Spec) { s.Timeout = 300 * time.Millisecond }))
	out, err = hasty.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: []byte(`{"op":"hang"}`)})
	require.NoError(t, err)
	require.Equal(t, "Unhandled", aws.ToString(out.FunctionError))
	require.Contains(t, string(out.Payload), `"errorType":"Sandbox.Timedout"`)
	dry, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeDryRun})
	require.NoError(t, err)
	require.EqualValues(t, 204, dry.StatusCode)
}

func TestInvokeAPIErrorsThroughTheSDK(t *testing.T) {
	ctx := context.Background()
	host := realHost(t, nil)
	client, url := sdk(t, host)
	for _, kind := range []types.InvocationType{types.InvocationTypeRequestResponse, types.InvocationTypeEvent, types.InvocationTypeDryRun} {
		_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("nobody"), InvocationType: kind})
		var missing *types.ResourceNotFoundException
		require.ErrorAs(t, err, &missing, kind)
		require.Contains(t, missing.ErrorMessage(), "nobody")
	}
	_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: make([]byte, maxEventBytes+1)})
	var tooLarge *types.RequestTooLargeException
	require.ErrorAs(t, err, &tooLarge)
	large := `"` + strings.Repeat("x", maxAsyncBytes) + `"`
	_, err = client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeEvent, Payload: []byte(large)})
	require.ErrorAs(t, err, &tooLarge)
	_, err = client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: []byte(`{`)})
	var malformed *types.InvalidRequestContentException
	require.ErrorAs(t, err, &malformed)
	_, err = client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), InvocationType: "Other"})
	var parameter *types.InvalidParameterValueException
	require.ErrorAs(t, err, &parameter)
	_, err = client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("arn:aws:sqs:us-east-1:000000000000:plain")})
	require.ErrorAs(t, err, &parameter)
	_, err = client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain:one"), Qualifier: aws.String("two")})
	require.ErrorAs(t, err, &parameter)
	res, err := http.Get(url + "/2015-03-31/functions/")
	require.NoError(t, err)
	_ = res.Body.Close()
	require.Equal(t, 404, res.StatusCode)
}

func TestInvokeAPIThrottleAndEvent(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	url, arrived, open := gate(t)
	host := realHost(t, func(o *lambdahost.Options, s *lambdahost.Spec) {
		o.QueueWait, s.MaxEnvironments = 100*time.Millisecond, 1
	})
	client, _ := sdk(t, host)
	eventually(t, "the environment is warm", func() bool {
		_, err := host.Invoke(ctx, "plain", []byte(`{}`))
		return err == nil
	})
	idle := func() bool {
		e := host.Functions()[0].Environments
		return len(e) == 1 && e[0].State == "idle"
	}
	// An answer comes before its process asks for the next event.
	eventually(t, "the environment is idle", idle)
	out, err := client.Invoke(ctx, &lambda.InvokeInput{
		FunctionName: aws.String("plain"), InvocationType: types.InvocationTypeEvent, Payload: []byte(`{"op":"wait","url":"` + url + `/event"}`),
	})
	require.NoError(t, err)
	require.EqualValues(t, 202, out.StatusCode)
	require.Empty(t, out.Payload)
	await(t, arrived, "/event") // the call has returned, the function runs
	_, err = client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("plain"), Payload: []byte(`{}`)})
	var throttled *types.TooManyRequestsException
	require.ErrorAs(t, err, &throttled)
	close(open)
	eventually(t, "the event has been handled", idle)
}

func FuzzFunctionRef(f *testing.F) {
	f.Add("arn:aws:lambda:us-east-1:000000000000:function:a:$LATEST")
	f.Add("a:b")
	f.Fuzz(func(t *testing.T, s string) {
		if ref := functionRef.FindStringSubmatch(s); ref != nil && (ref[1] == "" || strings.ContainsAny(ref[1], ":/ \n")) {
			t.Fatalf("%q gave the name %q", s, ref[1])
		}
	})
}

// TestInvokeAPIPermissions: a caller reaches the functions that were granted to
// it and learns nothing of the others.
func TestInvokeAPIPermissions(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s := httptest.NewServer(InvokeAPI(realHost(t, nil), awswire.Allow{"LOCALA": {"plain": {"InvokeFunction"}}}))
	t.Cleanup(s.Close)
	for _, c := range []struct{ key, function, want string }{
		{"LOCALA", "plain", ""}, {"LOCALA", "other", "AccessDeniedException"}, {"LOCALB", "plain", "AccessDeniedException"},
	} {
		client := lambda.New(lambda.Options{Region: "us-east-1", BaseEndpoint: aws.String(s.URL), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(c.key, "local", "")})
		_, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String(c.function), Payload: []byte(`{}`)})
		if c.want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, c.want)
	}
}
