// Command turn runs one agent turn per queued message: history, model call,
// reply on the channel.
package main

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/agent/approval"
	"github.com/latchkey/latchkey/shared/agent/tool"
	"github.com/latchkey/latchkey/shared/agent/turn"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/consent"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/install"
	"github.com/latchkey/latchkey/shared/rollout"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/topology"
)

func main() {
	env, f, err := boot.Open(context.Background(), topology.Turn)
	if err != nil {
		boot.Exit(err)
	}
	h, err := wire(env, f.Timeout)
	if err != nil {
		boot.Exit(err)
	}
	boot.Start(env, h.Handle)
}

func wire(env *boot.Env, timeout time.Duration) (*Handler, error) {
	g, err := env.Gateway(timeout, taxonomy.AIKey)
	if err != nil {
		return nil, err
	}
	db, err := env.DB()
	if err != nil {
		return nil, err
	}
	secrets, err := env.Vault(db)
	if err != nil {
		return nil, err
	}
	out, err := env.Egress()
	if err != nil {
		return nil, err
	}
	client, base := env.ChannelAPI(out)
	channels := catalog.New(catalog.Entries())
	installs := &install.Service{Store: db.Installs(), Bindings: db.Installs(), Catalog: channels, Teller: db.Installs(), Stage: env.Config.Stage, Stages: stages{db.Rollouts()}}
	claims := &consent.Service{Store: db.Consents(), Installs: installs, Tenants: db.Installs(), Orgs: db.Orgs(), Rows: db.Audit(), Catalog: channels, NewID: boot.NewID}
	answers := metered{gateway: g, actions: credit.New(db.Ledger(), credit.Options{}), now: env.Clock.Now, log: env.Log}
	runner := turn.New(turn.Deps{
		Installs: db.Installs(), Revoker: installs, Claims: claims,
		Agents: db.Agents(), Turns: db.Sessions(), Transcript: db.Sessions(), Rooms: db.Sessions(),
		Model: answers, Speech: answers, Tools: pricedTools{metered: answers, store: db.Tools(), caller: tool.Caller{HTTP: out.Tenant(), Vault: secrets}},
		Approvals: db.Approvals(), Decider: &approval.Service{Store: db.Approvals(), Queue: env.TurnQueue()}, Audit: db.Audit(), Random: boot.Rand(),
		People: db.Sessions(), Signs: db.Sessions(), Stage: env.Config.Stage,
		Secrets: install.Opener{Vault: secrets, Purpose: topology.Turn}, Tokens: env.ChannelTokens(client), Catalog: channels,
		HTTP: client, Media: env.ChannelMedia(out), BaseURL: base, DataURL: env.ChannelData(), Recorder: auditLog{env.Log}, Now: env.Clock.Now, Wait: wait,
	})
	return &Handler{Turns: runner, Visibility: env.TurnQueue(), Clock: env.Clock, Log: env.Log}, nil
}

// stages says for whom a channel is rolled out, to make the install of a conversation
// that is claimed; the matrix is read then, not at each start.
type stages struct{ store rollout.Store }

// Admit implements [install.Stages].
func (s stages) Admit(ctx context.Context, subject, org string) error {
	// One that cannot be judged promotes nothing.
	matrix, _ := rollout.Stored()
	return (&rollout.Service{Store: s.store, Matrix: matrix, Channels: []taxonomy.Channel{taxonomy.Channel(subject)}}).Admit(ctx, subject, org)
}

// wait implements [turn.Deps].Wait.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
