package boot

import (
	"context"
	"fmt"

	"github.com/latchkey/latchkey/shared/config"
	"github.com/latchkey/latchkey/shared/dialect/openaichat"
	"github.com/latchkey/latchkey/shared/serve"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

// Function returns a function of the topology and what it needs to read.
func Function(name string) (topology.Function, config.Needs, error) {
	for _, f := range topology.Functions() {
		if f.Name != name {
			continue
		}
		e := f.Environment
		needs := config.Needs{Tables: e.Tables, Vault: e.Vault, TurnQueue: e.TurnQueue, PublicURL: e.PublicURL, Payments: e.Payments, Invokes: f.Invokes}
		if e.Providers {
			needs.Providers = Providers()
		}
		if e.Channels {
			needs.Channels = Channels()
		}
		return f, needs, nil
	}
	return topology.Function{}, config.Needs{}, fmt.Errorf("boot: function %q is not in the topology", name)
}

// Open loads the environment of a function.
func Open(ctx context.Context, name string) (*Env, topology.Function, error) {
	f, needs, err := Function(name)
	if err != nil {
		return nil, f, err
	}
	env, err := Load(ctx, needs)
	if err == nil {
		env.Function = name
	}
	return env, f, err
}

// ModelAPI puts together a model or speech function.
func ModelAPI(ctx context.Context, name string, classes ...taxonomy.CredentialClass) (*serve.Server, error) {
	env, f, err := Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return env.ModelAPI(f, classes...)
}

// ModelAPI is [ModelAPI] over an environment that is open.
func (e *Env) ModelAPI(f topology.Function, classes ...taxonomy.CredentialClass) (*serve.Server, error) {
	g, err := e.Gateway(f.Timeout, classes...)
	if err != nil {
		return nil, err
	}
	return &serve.Server{Gateway: g, Observe: e.Clock.Request, Now: e.Clock.Now, NewID: NewID, Log: e.Log,
		EncodeError: openaichat.EncodeError, Redact: e.Secrets}, nil
}
