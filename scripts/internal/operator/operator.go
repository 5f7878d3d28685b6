// Package operator makes operator keys where no API can: the first one of a
// stage, on AWS and on the local stack alike. Only the digest is stored.
package operator

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/boot"
	"github.com/latchkey/latchkey/shared/dynamo"
	"github.com/latchkey/latchkey/shared/org"
)

// CreateKey stores a new operator key with all scopes, and its audit row, and
// returns the key, which cannot be read again.
func CreateKey(ctx context.Context, db *dynamo.DB, name, actor string) (string, error) {
	now := time.Now().UTC()
	id := boot.NewID(now)
	key, digest, err := org.Mint(org.Operator, id, rand.Reader)
	if err != nil {
		return "", err
	}
	op := audit.Op{Actor: actor, At: now, ID: boot.NewID(now)}
	record := org.Key{ID: id, Org: org.Operator, Name: name, Scopes: org.Scopes(), CreatedAt: now, Hash: digest}
	if err := db.Keys().CreateKey(ctx, record, op.Row(org.Operator, "key.create", id)); err != nil {
		return "", err
	}
	text := ""
	err = key.Use(func(b []byte) error { text = string(b); return nil })
	return text, err
}
