package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/shared/topology"
)

// role is a function's own role with exactly the statements of the topology.
func role(stack awscdk.Stack, p Props, f topology.Function, in shared) awsiam.Role {
	r := awsiam.NewRole(stack, jsii.String("Role"+title(f.Name)), &awsiam.RoleProps{
		AssumedBy:   awsiam.NewServicePrincipal(jsii.String("lambda.amazonaws.com"), nil),
		Description: jsii.String("Latchkey " + p.Stage + ": function " + f.Name),
	})
	add := func(st *awsiam.PolicyStatementProps) { r.AddToPolicy(awsiam.NewPolicyStatement(st)) }
	add(statement([]string{"logs:CreateLogStream", "logs:PutLogEvents"}, in.logs[f.Name]))
	// X-Ray knows no resources.
	add(statement([]string{"xray:PutTelemetryRecords", "xray:PutTraceSegments"}, "*"))
	for _, t := range f.Tables {
		arn := in.arn("dynamodb", "table/"+p.name(string(t.Table)))
		resources := []string{arn}
		if t.Index {
			resources = append(resources, arn+"/index/*")
		}
		st := statement(prefixed("dynamodb:", t.Actions), resources...)
		if len(t.Keys) > 0 {
			st.Conditions = &map[string]any{"ForAllValues:StringLike": map[string]any{"dynamodb:LeadingKeys": t.Keys}}
		}
		add(st)
	}
	for _, t := range f.Denied() {
		st := statement(prefixed("dynamodb:", t.Actions), in.arn("dynamodb", "table/"+p.name(string(t.Table))))
		st.Effect = awsiam.Effect_DENY
		st.Conditions = &map[string]any{"ForAnyValue:StringLike": map[string]any{"dynamodb:LeadingKeys": t.Keys}}
		add(st)
	}
	for _, k := range f.KMS {
		add(keyStatement(p, k, in))
	}
	for _, q := range f.Sends {
		add(statement([]string{"sqs:SendMessage"}, in.arn("sqs", p.name(q)+".fifo")))
	}
	for _, name := range f.Invokes {
		add(statement([]string{"lambda:InvokeFunction"}, in.arn("lambda", "function:"+p.name(name)+":"+liveAlias)))
	}
	if f.Events {
		add(statement([]string{"events:PutEvents"}, in.arn("events", "event-bus/default")))
	}
	if f.Queue != nil {
		add(statement([]string{"sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"},
			in.arn("sqs", p.name(f.Queue.Name)+".fifo")))
	}
	if f.Stream != nil {
		add(statement([]string{"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}, in.value(string(f.Stream.Table)+streamParamTail)))
		add(statement([]string{"dynamodb:ListStreams"}, "*"))
		add(statement([]string{"s3:ListBucket"}, in.value(failuresParam)))
		add(statement([]string{"s3:PutObject"}, in.value(failuresParam)+"/*"))
	}
	return r
}

// keyStatement grants a key operation. Credentials are told apart by their
// encryption context, so a function opens only its classes and always for a
// named organisation.
func keyStatement(p Props, k topology.KeyAccess, in shared) *awsiam.PolicyStatementProps {
	if len(k.Classes) == 0 {
		return statement(prefixed("kms:", k.Actions), in.value(macKeyParam))
	}
	classes := make([]string, len(k.Classes))
	for i, c := range k.Classes {
		classes[i] = string(c)
	}
	st := statement(prefixed("kms:", k.Actions), in.vaultKeys()...)
	st.Conditions = &map[string]any{
		"StringEquals": map[string]any{
			"kms:EncryptionContext:app":   topology.App,
			"kms:EncryptionContext:stage": p.Stage,
			"kms:EncryptionContext:cls":   classes,
		},
		"Null":                      map[string]any{"kms:EncryptionContext:org": "false"},
		"ForAllValues:StringEquals": map[string]any{"kms:EncryptionContextKeys": topology.ContextKeys()},
	}
	return st
}

func statement(actions []string, resources ...string) *awsiam.PolicyStatementProps {
	return &awsiam.PolicyStatementProps{Actions: jsii.Strings(actions...), Resources: jsii.Strings(resources...)}
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}
