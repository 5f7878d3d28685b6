package stacks

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey/latchkey/shared/topology"
)

// TestAlarms: every alarm of the topology is in the template, tells the topic, and
// looks at a figure that there is.
func TestAlarms(t *testing.T) {
	filters := map[string]string{} // metric -> pattern and value
	alarms := map[string]map[string]any{}
	mapped := ""
	for id, r := range app.Resources {
		switch r.Type {
		case "AWS::Logs::MetricFilter":
			m := r.Properties["MetricTransformations"].([]any)[0].(map[string]any)
			if m["MetricNamespace"] != "Latchkey/test" {
				t.Errorf("%v", m)
			}
			filters[m["MetricName"].(string)] = r.Properties["LogGroupName"].(string) + " " + r.Properties["FilterPattern"].(string) + " " + m["MetricValue"].(string)
		case "AWS::CloudWatch::Alarm":
			alarms[r.Properties["AlarmName"].(string)] = r.Properties
		case "AWS::Lambda::EventSourceMapping":
			if r.Properties["MetricsConfig"] != nil {
				mapped = id
			}
		}
	}
	for _, m := range topology.Metrics() {
		value := "1"
		if m.Field != "" {
			value = "$." + m.Field
		}
		if want := `/latchkey/test/` + m.Function + ` { $.message = "` + m.Message + `" } ` + value; filters[m.Name] != want {
			t.Errorf("%s: %q, want %q", m.Name, filters[m.Name], want)
		}
	}
	if len(alarms) != len(topology.Alarms()) {
		t.Errorf("%d alarms, want %d", len(alarms), len(topology.Alarms()))
	}
	for _, a := range topology.Alarms() {
		got := alarms["latchkey-test-"+a.Name]
		if got == nil || got["Threshold"] != a.Above || got["EvaluationPeriods"] != float64(a.Periods) || len(got["AlarmActions"].([]any)) != 1 ||
			(got["TreatMissingData"] == "breaching") != a.Silence || got["AlarmDescription"] != a.About {
			t.Errorf("%s: %v", a.Name, got)
			continue
		}
		raw, _ := json.Marshal(got)
		for _, part := range map[string][]string{
			"log":      {a.Log, `"Namespace":"Latchkey/test"`},
			"function": {a.Of, `"FunctionName","Value":"latchkey-test-` + a.OfFunction + `"`},
			"stream":   {a.Of, `"EventSourceMappingUUID","Value":{"Ref":"` + mapped + `"}`},
			"queue":    {a.Of, `"QueueName","Value":"latchkey-test-` + a.OfQueue + `-dead.fifo"`},
			"math":     {a.Expression, `"MetricName":"Charged","Namespace":"Latchkey/test"`, `"MetricName":"UnbilledAtMost"`},
		}[kind(a)] {
			if quoted := strings.NewReplacer("<", `\u003c`, ">", `\u003e`).Replace(part); !strings.Contains(string(raw), quoted) {
				t.Errorf("%s lacks %s: %s", a.Name, part, raw)
			}
		}
		if a.Log != "" && filters[a.Log] == "" {
			t.Errorf("%s: nobody logs %s", a.Name, a.Log)
		}
	}
}

func kind(a topology.Alarm) string {
	switch {
	case a.Log != "":
		return "log"
	case a.OfFunction != "":
		return "function"
	case a.OfStream != "":
		return "stream"
	case a.OfQueue != "":
		return "queue"
	}
	return "math"
}
