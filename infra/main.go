// Command infra is the CDK app: it renders shared/topology to CloudFormation.
//
// Run it through the CDK command line from the repository's root (cdk synth,
// cdk diff, cdk deploy --all). The stage comes from the context (-c stage=prod);
// everything else is in shared/topology and infra/stacks.
package main

import (
	"fmt"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/infra/stacks"
)

func main() {
	defer jsii.Close()
	app := awscdk.NewApp(nil)
	if err := stacks.Add(app, stacks.FromContext(app)); err != nil {
		fmt.Fprintln(os.Stderr, "infra:", err)
		os.Exit(1)
	}
	app.Synth(nil)
}
