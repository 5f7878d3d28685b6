package stacks

import (
	"path/filepath"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2integrations"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awseventstargets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssqs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsssm"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/payment"
	"github.com/latchkey/latchkey/shared/stripe"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/topology"
)

// liveAlias is what every trigger calls.
const liveAlias = "live"

// shared is what functions refer to.
type shared struct {
	stack  awscdk.Stack
	p      Props
	logs   map[string]string // function -> ARN of its log group's streams
	params map[string]*string
	apiURL *string
}

// arn builds an ARN in the stack's own account and region.
func (s shared) arn(service, resource string) string {
	return "arn:" + *s.stack.Partition() + ":" + service + ":" + *s.stack.Region() + ":" + *s.stack.Account() + ":" + resource
}

// value is a parameter that Data wrote, resolved at deployment.
func (s shared) value(name string) string {
	if s.params[name] == nil {
		s.params[name] = awsssm.StringParameter_ValueForStringParameter(s.stack, jsii.String(s.p.parameter(name)), nil)
	}
	return *s.params[name]
}

// vaultKeys are the ARNs of all vault keys, the default first.
func (s shared) vaultKeys() []string {
	out := make([]string, s.p.VaultKeys)
	for n := range out {
		out[n] = s.value(vaultKeyParam(n))
	}
	return out
}

func addApp(stack awscdk.Stack, p Props) {
	api := awsapigatewayv2.NewHttpApi(stack, jsii.String("Api"), &awsapigatewayv2.HttpApiProps{
		ApiName: jsii.String(p.name("api")), Description: jsii.String("Latchkey " + p.Stage + ": webhooks and admin API"),
	})
	in := shared{stack: stack, p: p, logs: map[string]string{}, params: map[string]*string{}, apiURL: api.ApiEndpoint()}
	for _, f := range topology.Functions() {
		if f.Queue != nil {
			addQueue(stack, p, f.Queue)
		}
	}
	for _, f := range topology.Functions() {
		alias := addFunction(stack, p, f, in)
		for _, route := range f.Routes {
			addRoute(api, f, route, alias)
		}
		if len(f.Paths) > 0 {
			url := alias.AddFunctionUrl(&awslambda.FunctionUrlOptions{
				// The function checks the virtual key itself: SDKs cannot sign for IAM.
				AuthType: awslambda.FunctionUrlAuthType_NONE, InvokeMode: awslambda.InvokeMode_RESPONSE_STREAM,
			})
			output(stack, "Url"+title(f.Name), url.Url())
		}
		if f.Schedule > 0 {
			awsevents.NewRule(stack, jsii.String("Schedule"+title(f.Name)), &awsevents.RuleProps{
				Schedule: awsevents.Schedule_Rate(awscdk.Duration_Seconds(jsii.Number(f.Schedule.Seconds()))),
				Targets:  &[]awsevents.IRuleTarget{awseventstargets.NewLambdaFunction(alias, nil)},
			})
		}
		addMappings(stack, p, f, alias, in)
	}
	addAlarms(stack, p)
	output(stack, "ApiUrl", api.ApiEndpoint())
}

func addQueue(stack awscdk.Stack, p Props, q *topology.Queue) {
	dead := awssqs.Queue_FromQueueArn(stack, jsii.String("Dead"+title(q.Name)),
		jsii.String("arn:"+*stack.Partition()+":sqs:"+*stack.Region()+":"+*stack.Account()+":"+p.deadLetters(q.Name)))
	awssqs.NewQueue(stack, jsii.String("Queue"+title(q.Name)), &awssqs.QueueProps{
		QueueName: jsii.String(p.name(q.Name) + ".fifo"), Fifo: jsii.Bool(true),
		DeduplicationScope: awssqs.DeduplicationScope_MESSAGE_GROUP, FifoThroughputLimit: awssqs.FifoThroughputLimit_PER_MESSAGE_GROUP_ID,
		VisibilityTimeout: awscdk.Duration_Seconds(jsii.Number(q.Visibility.Seconds())),
		DeadLetterQueue:   &awssqs.DeadLetterQueue{Queue: dead, MaxReceiveCount: jsii.Number(q.MaxReceive)},
		Encryption:        awssqs.QueueEncryption_SQS_MANAGED, EnforceSSL: jsii.Bool(true),
	})
}

func addFunction(stack awscdk.Stack, p Props, f topology.Function, in shared) awslambda.Alias {
	name := p.name(f.Name)
	group := awslogs.NewLogGroup(stack, jsii.String("Logs"+title(f.Name)), &awslogs.LogGroupProps{
		LogGroupName: jsii.String(p.logGroup(f.Name)), Retention: awslogs.RetentionDays_ONE_MONTH,
		RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
	in.logs[f.Name] = *group.LogGroupArn()
	fn := awslambda.NewFunction(stack, jsii.String("Function"+title(f.Name)), &awslambda.FunctionProps{
		FunctionName: jsii.String(name), Runtime: awslambda.Runtime_PROVIDED_AL2023(), Architecture: awslambda.Architecture_ARM_64(),
		Handler: jsii.String("bootstrap"), Code: awslambda.Code_FromAsset(jsii.String(filepath.Join(p.Build, f.Name)), nil),
		MemorySize: jsii.Number(f.MemoryMB), Timeout: awscdk.Duration_Seconds(jsii.Number(f.Timeout.Seconds())),
		Tracing: awslambda.Tracing_ACTIVE, LoggingFormat: awslambda.LoggingFormat_JSON, LogGroup: group,
		// Frozen: the CDK's own grants would widen what the topology says.
		Role:        role(stack, p, f, in).WithoutPolicyUpdates(nil),
		Environment: environment(p, f, in),
		CurrentVersionOptions: &awslambda.VersionOptions{
			// CloudFormation would delete the old version and with it the way back.
			RemovalPolicy: awscdk.RemovalPolicy_RETAIN,
		},
	})
	alias := awslambda.NewAlias(stack, jsii.String("Alias"+title(f.Name)), &awslambda.AliasProps{
		AliasName: jsii.String(liveAlias), Version: fn.CurrentVersion(),
	})
	if topology.Invoked(f.Name) {
		// Whoever hands over an event does so again on its own schedule: a repeat by
		// Lambda would only run the same work twice.
		alias.ConfigureAsyncInvoke(&awslambda.EventInvokeConfigOptions{
			MaxEventAge: awscdk.Duration_Minutes(jsii.Number(1)), RetryAttempts: jsii.Number(0),
		})
	}
	return alias
}

// environment is what the function reads; none of it is secret.
func environment(p Props, f topology.Function, in shared) *map[string]*string {
	env := map[string]*string{config.Stage: jsii.String(p.Stage)}
	want := f.Environment
	if want.Tables {
		for _, t := range table.Specs() {
			env[config.TableVar(t.Role)] = jsii.String(p.name(string(t.Role)))
		}
	}
	if want.Vault {
		env[config.VaultKeyARN] = jsii.String(strings.Join(in.vaultKeys(), ","))
		env[config.MACKeyARN] = jsii.String(in.value(macKeyParam))
	}
	if want.TurnQueue {
		env[config.TurnQueueURL] = jsii.String("https://sqs." + *in.stack.Region() + "." + *in.stack.UrlSuffix() + "/" +
			*in.stack.Account() + "/" + p.name(topology.TurnQueue) + ".fifo")
	}
	if want.PublicURL {
		env[config.PublicURL] = in.apiURL
	}
	if want.Providers {
		for provider, ref := range p.Platform {
			env[config.PlatformVar(provider, "SECRET")] = jsii.String(ref)
		}
	}
	if want.Payments {
		env[config.StripeWebhookSecret] = jsii.String(payment.Reference(stripe.ID))
	}
	for _, name := range f.Invokes {
		env[config.FunctionVar(name)] = jsii.String(p.name(name) + ":" + liveAlias)
	}
	return &env
}

func addRoute(api awsapigatewayv2.HttpApi, f topology.Function, route string, alias awslambda.Alias) {
	method, path, _ := strings.Cut(route, " ")
	api.AddRoutes(&awsapigatewayv2.AddRoutesOptions{
		Path: jsii.String(path), Methods: &[]awsapigatewayv2.HttpMethod{awsapigatewayv2.HttpMethod(method)},
		Integration: awsapigatewayv2integrations.NewHttpLambdaIntegration(jsii.String("Integration"+title(f.Name)), alias, nil),
	})
}

func addMappings(stack awscdk.Stack, p Props, f topology.Function, alias awslambda.Alias, in shared) {
	if m := f.Stream; m != nil {
		filters := make([]any, len(m.Filters))
		for i, pattern := range m.Filters {
			filters[i] = &awslambda.CfnEventSourceMapping_FilterProperty{Pattern: jsii.String(pattern)}
		}
		awslambda.NewCfnEventSourceMapping(stack, jsii.String("Stream"+title(f.Name)), &awslambda.CfnEventSourceMappingProps{
			FunctionName: alias.FunctionArn(), EventSourceArn: jsii.String(in.value(string(m.Table) + streamParamTail)),
			StartingPosition: jsii.String("TRIM_HORIZON"), BatchSize: jsii.Number(m.BatchSize),
			BisectBatchOnFunctionError: jsii.Bool(m.Bisect), MaximumRetryAttempts: jsii.Number(m.MaxRetries),
			MaximumRecordAgeInSeconds: jsii.Number(m.MaxAge.Seconds()), MaximumBatchingWindowInSeconds: jsii.Number(0),
			FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
			MetricsConfig:         &awslambda.CfnEventSourceMapping_MetricsConfigProperty{Metrics: jsii.Strings("EventCount")},
			FilterCriteria:        &awslambda.CfnEventSourceMapping_FilterCriteriaProperty{Filters: filters},
			DestinationConfig: &awslambda.CfnEventSourceMapping_DestinationConfigProperty{
				OnFailure: &awslambda.CfnEventSourceMapping_OnFailureProperty{Destination: jsii.String(in.value(failuresParam))},
			},
		})
	}
	if q := f.Queue; q != nil {
		awslambda.NewCfnEventSourceMapping(stack, jsii.String("Queue"+title(f.Name)+"Mapping"), &awslambda.CfnEventSourceMappingProps{
			FunctionName: alias.FunctionArn(), EventSourceArn: jsii.String(in.arn("sqs", p.name(q.Name)+".fifo")),
			BatchSize: jsii.Number(q.BatchSize), FunctionResponseTypes: jsii.Strings("ReportBatchItemFailures"),
			ScalingConfig: &awslambda.CfnEventSourceMapping_ScalingConfigProperty{MaximumConcurrency: jsii.Number(q.MaxConcurrency)},
		}).AddResourceDependency(child(stack, "Queue"+title(q.Name)), jsii.String("the mapping needs its queue"))
	}
}

func output(stack awscdk.Stack, name string, value *string) {
	awscdk.NewCfnOutput(stack, jsii.String(name), &awscdk.CfnOutputProps{Value: value})
}

// title makes a logical id of a name: "mac-key-arn" -> "MacKeyArn".
func title(s string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '_' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
