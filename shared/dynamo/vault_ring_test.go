package dynamo_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/table"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/vault"
	"github.com/latchkey/latchkey/shared/vault/vaulttest"
)

// A ring that cannot be read is an error: taking it for an absent one would put
// new records under the first key again.
func TestVaultRefusesADamagedRing(t *testing.T) {
	e := newVaultEnv(t)
	s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	n := func(v string) types.AttributeValue { return &types.AttributeValueMemberN{Value: v} }
	for name, it := range map[string]map[string]types.AttributeValue{
		"no key": {"epoch": n("1")}, "no epoch": {"current": s("k")}, "epoch 0": {"current": s("k"), "epoch": n("0")}, "epoch text": {"current": s("k"), "epoch": s("1")},
	} {
		k := table.Ring()
		it[table.PK], it[table.SK] = s(k.PK), s(k.SK)
		e.put(it)
		if _, err := e.v.Ring(context.Background()); vault.ReasonOf(err) != vault.StoreFailed {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every page size shows every credential of the table once and whole, whatever
// else lies there.
func TestVaultPages(t *testing.T) {
	store, fx := vaultStore(t)
	e := newVaultEnvOn(t, store, fx)
	ctx := context.Background()
	want := []string{"ai_key/o1/c1: 1"}
	for _, org := range []string{"a", "o1", "z"} {
		for i := range 4 {
			r := vault.Ref{Org: org, ID: fmt.Sprint("p", i), Provider: "vendor", Class: taxonomy.ChannelSend}
			if _, err := e.v.Create(ctx, vault.NewCredential{Op: vaulttest.Op(), Ref: r, Fields: map[string]secret.Text{"bot_token": secret.FromString("one")}}); err != nil {
				t.Fatal(err)
			}
			for n := range i {
				if _, err := e.v.Rotate(ctx, vault.Rotation{Op: vaulttest.Op(), Ref: r, Overlap: time.Hour, Fields: map[string]secret.Text{"bot_token": secret.FromString(fmt.Sprint("value", n))}}); err != nil {
					t.Fatal(err)
				}
			}
			want = append(want, fmt.Sprintf("channel_send/%s/p%d: %d", org, i, i+1))
		}
	}
	slices.Sort(want)
	orphan := e.item(e.versionKey())
	for _, k := range []table.Key{table.Ring(), table.Rotation("j"), table.RotationSlot("s"), table.CredentialVersion("o1", "ai_key", "c0", 1), table.CredentialVersion("z", "voice_key", "c9", 1)} {
		orphan[table.PK], orphan[table.SK] = &types.AttributeValueMemberS{Value: k.PK}, &types.AttributeValueMemberS{Value: k.SK}
		e.put(orphan)
	}
	for _, org := range []string{"", "o1"} {
		for limit := 1; limit <= 40; limit++ {
			var got []string
			for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
				creds, next, err := store.Page(ctx, org, cursor, limit)
				if err != nil || pages > 100 {
					t.Fatalf("limit %d, page %d: %v", limit, pages, err)
				}
				for _, c := range creds {
					got = append(got, fmt.Sprintf("%s/%s/%s: %d", c.Head.Ref.Class, c.Head.Ref.Org, c.Head.Ref.ID, len(c.Versions)))
				}
				cursor = next
			}
			slices.Sort(got)
			expect := want
			if org != "" {
				expect = slices.DeleteFunc(slices.Clone(want), func(s string) bool { return !strings.Contains(s, "/o1/") })
			}
			if !slices.Equal(got, expect) {
				t.Fatalf("org %q, limit %d:\n%q\nwant\n%q", org, limit, got, expect)
			}
		}
	}
}
