package stacks

import (
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscloudwatch"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssns"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/shared/topology"
)

// addAlarms makes metrics of what functions log, and the alarms of the topology,
// which all tell one topic.
func addAlarms(stack awscdk.Stack, p Props) {
	for _, m := range topology.Metrics() {
		value := "1"
		if m.Field != "" {
			value = "$." + m.Field
		}
		filter := awslogs.NewCfnMetricFilter(stack, jsii.String("Metric"+m.Name), &awslogs.CfnMetricFilterProps{
			LogGroupName: jsii.String(p.logGroup(m.Function)), FilterPattern: jsii.String(`{ $.message = "` + m.Message + `" }`),
			MetricTransformations: &[]any{&awslogs.CfnMetricFilter_MetricTransformationProperty{
				MetricNamespace: jsii.String(p.metrics()), MetricName: jsii.String(m.Name), MetricValue: jsii.String(value)}},
		})
		filter.AddResourceDependency(child(stack, "Logs"+title(m.Function)), jsii.String("the filter needs its log group"))
	}
	topic := awssns.NewTopic(stack, jsii.String("Alarms"), &awssns.TopicProps{TopicName: jsii.String(p.name("alarms"))})
	topic.GrantPublish(awsiam.NewServicePrincipal(jsii.String("cloudwatch.amazonaws.com"), nil))
	output(stack, "AlarmTopic", topic.TopicArn())
	for _, a := range topology.Alarms() {
		missing := "notBreaching"
		if a.Silence {
			missing = "breaching"
		}
		props := &awscloudwatch.CfnAlarmProps{
			AlarmName: jsii.String(p.name(a.Name)), AlarmDescription: jsii.String(a.About), AlarmActions: &[]any{topic.TopicArn()},
			ComparisonOperator: jsii.String("GreaterThanThreshold"), Threshold: jsii.Number(a.Above),
			EvaluationPeriods: jsii.Number(a.Periods), TreatMissingData: jsii.String(missing),
		}
		figure(stack, p, a, props)
		awscloudwatch.NewCfnAlarm(stack, jsii.String("Alarm"+title(a.Name)), props)
	}
}

// figure fills in what the alarm looks at.
func figure(stack awscdk.Stack, p Props, a topology.Alarm, props *awscloudwatch.CfnAlarmProps) {
	period := jsii.Number(a.Period.Seconds())
	if a.Expression != "" {
		queries := []any{&awscloudwatch.CfnAlarm_MetricDataQueryProperty{Id: jsii.String("result"), Expression: jsii.String(a.Expression), ReturnData: jsii.Bool(true)}}
		for _, m := range topology.Metrics() {
			if id := strings.ToLower(m.Name); strings.Contains(a.Expression, id) {
				queries = append(queries, &awscloudwatch.CfnAlarm_MetricDataQueryProperty{Id: jsii.String(id), ReturnData: jsii.Bool(false),
					MetricStat: &awscloudwatch.CfnAlarm_MetricStatProperty{Period: period, Stat: jsii.String(a.Statistic),
						Metric: &awscloudwatch.CfnAlarm_MetricProperty{Namespace: jsii.String(p.metrics()), MetricName: jsii.String(m.Name)}}})
			}
		}
		props.Metrics = &queries
		return
	}
	of := func(namespace, metric, dimension string, value *string) {
		props.Namespace, props.MetricName, props.Statistic, props.Period = jsii.String(namespace), jsii.String(metric), jsii.String(a.Statistic), period
		if dimension != "" {
			props.Dimensions = &[]any{&awscloudwatch.CfnAlarm_DimensionProperty{Name: jsii.String(dimension), Value: value}}
		}
	}
	switch {
	case a.Log != "":
		of(p.metrics(), a.Log, "", nil)
	case a.OfFunction != "":
		of("AWS/Lambda", a.Of, "FunctionName", jsii.String(p.name(a.OfFunction)))
	case a.OfStream != "":
		mapping := stack.Node().FindChild(jsii.String("Stream" + title(a.OfStream))).(awslambda.CfnEventSourceMapping)
		of("AWS/Lambda", a.Of, "EventSourceMappingUUID", mapping.Ref())
	case a.OfQueue != "":
		of("AWS/SQS", a.Of, "QueueName", jsii.String(p.deadLetters(a.OfQueue)))
	}
}

// metrics is the namespace of the stage's own metrics.
func (p Props) metrics() string { return "Latchkey/" + p.Stage }

// logGroup names a function's log group.
func (p Props) logGroup(function string) string { return "/latchkey/" + p.Stage + "/" + function }

func child(stack awscdk.Stack, id string) awscdk.CfnResource {
	return stack.Node().FindChild(jsii.String(id)).Node().DefaultChild().(awscdk.CfnResource)
}
