package gateway

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/latchkey/latchkey/shared/fault"
)

// ReplayStore keeps sealed answers of finished idempotent requests.
type ReplayStore interface {
	// PutReplay stores the answer of a request until expires; an answer that is
	// there already stays.
	PutReplay(ctx context.Context, org, request string, sealed []byte, expires time.Time) error
	// Replay returns the answer, nil if there is none or it has expired by now.
	Replay(ctx context.Context, org, request string, now time.Time) ([]byte, error)
}

// Replayable is an answer as the client got it.
type Replayable struct {
	Headers map[string]string
	Body    []byte
}

// pack is the length of the headers, the headers as JSON, the body.
func (r Replayable) pack() ([]byte, error) {
	head, err := json.Marshal(r.Headers)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "gateway.pack", "internal error, try again later", err)
	}
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(head))), head...), r.Body...), nil
}

func (r *Replayable) unpack(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-4) || json.Unmarshal(b[4:4+n], &r.Headers) != nil {
		return false
	}
	r.Body = b[4+n:]
	return true
}

const (
	// MaxReplay bounds the body of an answer that is kept, in bytes.
	MaxReplay = 300 << 10
	replayTTL = 24 * time.Hour
)

// Remember keeps the answer of a request with an idempotency key, so that a
// repeat within 24 hours gets it again. Without a key, or for a body above
// [MaxReplay], it does nothing. The answer is sealed with a key made from the
// idempotency key, which is stored nowhere: who reads the table reads no answer.
// Errors: ledger_unavailable; the answer is the client's all the same.
func (g *Gateway) Remember(ctx context.Context, c *Caller, q Query, request string, r Replayable) error {
	if q.IdempotencyKey == "" || len(r.Body) > MaxReplay {
		return nil
	}
	plain, err := r.pack()
	if err != nil {
		return err
	}
	aead, err := q.replayCipher(c.Org)
	if err != nil {
		return err
	}
	rctx, cancel := detached(ctx)
	defer cancel()
	return g.o.Replays.PutReplay(rctx, c.Org, request, aead.Seal(nil, nil, plain, replayBinding(c.Org, request)), c.now().Add(replayTTL))
}

// Recall returns the answer of a finished request whose repeat was refused with
// cause. It returns cause if no answer was kept.
func (g *Gateway) Recall(ctx context.Context, c *Caller, q Query, cause error) (Replayable, error) {
	f := fault.As(cause)
	if f.Code != fault.IdempotencyCompleted || q.IdempotencyKey == "" || f.RequestID == "" {
		return Replayable{}, cause
	}
	sealed, err := g.o.Replays.Replay(ctx, c.Org, f.RequestID, c.now())
	if err != nil || sealed == nil {
		return Replayable{}, errors.Join(cause, err)
	}
	aead, err := q.replayCipher(c.Org)
	if err != nil {
		return Replayable{}, err
	}
	plain, err := aead.Open(nil, nil, sealed, replayBinding(c.Org, f.RequestID))
	var r Replayable
	if err != nil || !r.unpack(plain) {
		// What does not open is as good as not kept.
		return Replayable{}, cause
	}
	return r, nil
}

// replayCipher derives the cipher of one idempotency key in its scope.
func (q Query) replayCipher(org string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(q.IdempotencyKey), []byte(org), "latchkey/replay/1 "+q.Route, 32)
	if err == nil {
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			return cipher.NewGCMWithRandomNonce(block)
		}
	}
	return nil, fault.Wrap(fault.Internal, "gateway.replayCipher", "internal error, try again later", err)
}

func replayBinding(org, request string) []byte {
	return []byte("latchkey/replay/1\x00" + org + "\x00" + request)
}
