package stacks

import (
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// Parameter names.
const (
	macKeyParam     = "mac-key-arn"
	failuresParam   = "failures-bucket-arn"
	streamParamTail = "-stream-arn"
)

// vaultKeyParam names the parameter of the n-th vault key, from 0.
func vaultKeyParam(n int) string {
	if n == 0 {
		return "vault-key-arn"
	}
	return "vault-key-" + strconv.Itoa(n+1) + "-arn"
}

func addData(stack awscdk.Stack, p Props) {
	for _, spec := range table.Specs() {
		addTable(stack, p, spec)
	}
	for n := range p.VaultKeys {
		// The first one keeps the names it had when it was alone.
		suffix := ""
		if n > 0 {
			suffix = strconv.Itoa(n + 1)
		}
		key := awskms.NewKey(stack, jsii.String("VaultKey"+suffix), &awskms.KeyProps{
			Description: jsii.String("Latchkey " + p.Stage + ": wraps the data keys of credentials"),
			Alias:       jsii.String("alias/" + p.name("vault"+suffix)), EnableKeyRotation: jsii.Bool(true),
			RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		})
		parameter(stack, p, vaultKeyParam(n), key.KeyArn())
	}
	macKey := awskms.NewKey(stack, jsii.String("MacKey"), &awskms.KeyProps{
		Description: jsii.String("Latchkey " + p.Stage + ": fingerprints of credentials"),
		Alias:       jsii.String("alias/" + p.name("mac")), KeySpec: awskms.KeySpec_HMAC_256,
		KeyUsage: awskms.KeyUsage_GENERATE_VERIFY_MAC, RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
	// Only S3 receives whole records of a failed stream batch; SQS would get
	// positions in a stream that is gone after 24 hours.
	failures := awss3.NewBucket(stack, jsii.String("Failures"), &awss3.BucketProps{
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(), Encryption: awss3.BucketEncryption_S3_MANAGED,
		EnforceSSL: jsii.Bool(true), Versioned: jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
	for _, f := range topology.Functions() {
		if f.Queue != nil {
			addDeadLetters(stack, p, f.Queue)
		}
	}
	parameter(stack, p, macKeyParam, macKey.KeyArn())
	parameter(stack, p, failuresParam, failures.BucketArn())
}

func addTable(stack awscdk.Stack, p Props, spec table.Spec) {
	props := &awsdynamodb.TableProps{
		TableName:    jsii.String(p.name(string(spec.Role))),
		PartitionKey: attribute(table.PK, awsdynamodb.AttributeType_STRING),
		SortKey:      attribute(table.SK, awsdynamodb.AttributeType_STRING),
		BillingMode:  awsdynamodb.BillingMode_PAY_PER_REQUEST,
		PointInTimeRecoverySpecification: &awsdynamodb.PointInTimeRecoverySpecification{
			PointInTimeRecoveryEnabled: jsii.Bool(true), RecoveryPeriodInDays: jsii.Number(35),
		},
		DeletionProtection: jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		Encryption: awsdynamodb.TableEncryption_AWS_MANAGED,
	}
	if spec.TTL {
		props.TimeToLiveAttribute = jsii.String(table.TTL)
	}
	if spec.Stream {
		props.Stream = awsdynamodb.StreamViewType_NEW_AND_OLD_IMAGES
	}
	t := awsdynamodb.NewTable(stack, jsii.String("Table"+title(string(spec.Role))), props)
	for _, ix := range spec.Index {
		t.AddGlobalSecondaryIndex(&awsdynamodb.GlobalSecondaryIndexProps{
			IndexName: jsii.String(ix.Name), ProjectionType: awsdynamodb.ProjectionType_KEYS_ONLY,
			PartitionKey: attribute(ix.PK, awsdynamodb.AttributeType_STRING),
			SortKey:      attribute(ix.SK, awsdynamodb.AttributeType_NUMBER),
		})
	}
	if spec.Stream {
		parameter(stack, p, string(spec.Role)+streamParamTail, t.TableStreamArn())
	}
}

func addDeadLetters(stack awscdk.Stack, p Props, q *topology.Queue) {
	awssqs.NewQueue(stack, jsii.String("Dead"+title(q.Name)), &awssqs.QueueProps{
		QueueName: jsii.String(p.deadLetters(q.Name)), Fifo: jsii.Bool(true), RetentionPeriod: awscdk.Duration_Days(jsii.Number(14)),
		Encryption: awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: jsii.Bool(true), RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
	})
}

func (p Props) deadLetters(queue string) string { return p.name(queue) + "-dead.fifo" }

func attribute(name string, kind awsdynamodb.AttributeType) *awsdynamodb.Attribute {
	return &awsdynamodb.Attribute{Name: jsii.String(name), Type: kind}
}

func parameter(stack awscdk.Stack, p Props, name string, value *string) {
	awsssm.NewStringParameter(stack, jsii.String("Param"+title(name)), &awsssm.StringParameterProps{
		ParameterName: jsii.String(p.parameter(name)), StringValue: value,
	})
}
