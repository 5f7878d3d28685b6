package lambdahost

import (
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"time"
)

const runtimeAPIVariable = "AWS_LAMBDA_RUNTIME_API"

// childEnv is the whole environment of a child: what Lambda sets, with
// credentials that open nothing, then Spec.Env. The two AWS_*_FILE variables
// are not Lambda's: without them the SDK finds the developer's own ~/.aws
// through the password database even when HOME is absent.
func childEnv(spec Spec, region, address string, now time.Time, instance string) []string {
	vars := map[string]string{
		"_HANDLER":                        "bootstrap",
		"LAMBDA_TASK_ROOT":                filepath.Dir(spec.Binary),
		"AWS_REGION":                      region,
		"AWS_EXECUTION_ENV":               "AWS_Lambda_provided.al2023",
		"AWS_LAMBDA_FUNCTION_NAME":        spec.Name,
		"AWS_LAMBDA_FUNCTION_VERSION":     "$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": strconv.Itoa(spec.MemoryMB),
		"AWS_LAMBDA_LOG_FORMAT":           "JSON",
		"AWS_LAMBDA_LOG_GROUP_NAME":       "/aws/lambda/" + spec.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME":      now.Format("2006/01/02") + "/[$LATEST]" + instance,
		"AWS_ACCESS_KEY_ID":               "local-" + spec.Name,
		"AWS_SECRET_ACCESS_KEY":           "local",
		"AWS_SESSION_TOKEN":               "local",
		"AWS_CONFIG_FILE":                 os.DevNull,
		"AWS_SHARED_CREDENTIALS_FILE":     os.DevNull,
	}
	for name, value := range spec.Env {
		vars[name] = value
	}
	vars[runtimeAPIVariable] = address
	out := make([]string, 0, len(vars))
	for name, value := range vars {
		out = append(out, name+"="+value)
	}
	sort.Strings(out)
	return out
}
