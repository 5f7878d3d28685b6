// Package stacks renders the topology to CloudFormation: a Data stack that holds
// what must never be lost (tables, keys, dead letters) and an App stack that
// holds what every release replaces (functions, API, mappings, roles).
//
// The two share names and SSM parameters, never exports, so that a rollback of
// App cannot be blocked by Data. Data is retained and protected against
// deletion. Every permission of a function is written here from the topology;
// the CDK may not add any. Nothing is looked up: a synth needs no account.
package stacks

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// vaultKeysContext is the context value for [Props.VaultKeys].
const vaultKeysContext = "latchkey:vault-keys"

// maxVaultKeys bounds the keys: every function's role names all of them.
const maxVaultKeys = 5

// Props are the choices of one deployment.
type Props struct {
	// Stage names the deployment; it is part of every resource name.
	Stage string
	// Build holds one folder per function with its bootstrap binary.
	Build string
	// LogDays is how long function logs are kept.
	LogDays float64
	// VaultKeys is how many keys wrap data keys. The first is the default; a second
	// one is made before a rotation to it. A number that gets smaller leaves keys
	// behind that no function may use: their records must be moved before.
	VaultKeys int
	// Platform maps a provider to the vault reference of the platform's own key.
	Platform map[taxonomy.Provider]string
}

// FromContext reads the props from the CDK context: stage (default dev), build
// (default build), latchkey:vault-keys (default 1), and platform, a map of
// provider to <org>/<credential>.
func FromContext(app awscdk.App) Props {
	p := Props{Stage: "dev", Build: "build", LogDays: 30, VaultKeys: 1, Platform: map[taxonomy.Provider]string{}}
	switch n := app.Node().TryGetContext(jsii.String(vaultKeysContext)).(type) {
	case float64: // from cdk.json
		p.VaultKeys = int(n)
	case string: // from -c; what is no number is refused as 0
		p.VaultKeys, _ = strconv.Atoi(n)
	}
	if s, ok := app.Node().TryGetContext(jsii.String("stage")).(string); ok && s != "" {
		p.Stage = s
	}
	if b, ok := app.Node().TryGetContext(jsii.String("build")).(string); ok && b != "" {
		p.Build = b
	}
	if m, ok := app.Node().TryGetContext(jsii.String("platform")).(map[string]any); ok {
		for provider, ref := range m {
			if s, ok := ref.(string); ok {
				p.Platform[taxonomy.Provider(provider)] = s
			}
		}
	}
	return p
}

func (p Props) check() error {
	if p.Stage == config.Local {
		return errors.New("the stage local is refused: it opens private endpoints and plain keys; choose another with -c stage=NAME")
	}
	if !table.ValidID(p.Stage) || len(p.Stage) > 16 {
		return errors.New("the stage must be 1 to 16 letters, digits, - or _; set it with -c stage=NAME")
	}
	if p.VaultKeys < 1 || p.VaultKeys > maxVaultKeys {
		return errors.New("context " + vaultKeysContext + " must be a number from 1 to " + strconv.Itoa(maxVaultKeys))
	}
	for _, f := range topology.Functions() {
		if _, err := os.Stat(filepath.Join(p.Build, f.Name, "bootstrap")); err != nil {
			return errors.New("function " + f.Name + " is not built; run ./scripts/build first")
		}
	}
	for provider := range p.Platform {
		if _, ok := taxonomy.ParseProvider(string(provider)); !ok {
			return errors.New("context platform names an unknown provider: " + string(provider))
		}
	}
	return nil
}

// name prefixes a resource name.
func (p Props) name(s string) string { return topology.App + "-" + p.Stage + "-" + s }

// parameter is the SSM parameter by which App finds something of Data.
func (p Props) parameter(s string) string { return "/" + topology.App + "/" + p.Stage + "/" + s }

// Add puts both stacks into the app.
func Add(app awscdk.App, p Props) error {
	if err := p.check(); err != nil {
		return err
	}
	data := awscdk.NewStack(app, jsii.String("Latchkey-"+p.Stage+"-Data"), &awscdk.StackProps{
		Description: jsii.String("Latchkey: tables, keys, dead letters"), TerminationProtection: jsii.Bool(true),
	})
	addData(data, p)
	application := awscdk.NewStack(app, jsii.String("Latchkey-"+p.Stage+"-App"), &awscdk.StackProps{
		Description: jsii.String("Latchkey: functions, API, mappings"),
	})
	addApp(application, p)
	application.AddStackDependency(data, jsii.String("App reads the SSM parameters that Data writes"))
	return nil
}
