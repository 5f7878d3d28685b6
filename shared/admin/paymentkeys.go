package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
	"github.com/latchkey/latchkey/shared/payment"
)

// PaymentKeys stores the platform's access to the payment vendor, and opens
// nothing; [payment.Keeper] implements it.
type PaymentKeys interface {
	Stored(ctx context.Context, now time.Time) (payment.Stored, error)
	Set(ctx context.Context, v payment.Values, op audit.Op, now time.Time) (payment.Stored, error)
	Finish(ctx context.Context, op audit.Op, now time.Time) (payment.Stored, error)
}

func paymentKeyRoutes() []route {
	const path = "/api/operator/payments"
	return []route{
		get(path, operatorRead, "Whether credits can be sold: what is stored of the payment vendor's keys", paymentKeysJSON{}, getPaymentKeys),
		change("PUT", path, operatorAdmin, "Store the payment vendor's keys; what is not named stays; a replaced webhook_secret verifies for overlap_seconds, default 86400, 0 ends it at once",
			paymentKeysBody{}, paymentKeysJSON{}, with(putPaymentKeys)),
		act(path+"/finish", operatorAdmin, "Stop accepting replaced webhook secrets now", nil, paymentKeysJSON{}, bare(finishPaymentKeys)),
	}
}

type paymentKeysBody struct {
	APIKey         secretText `json:"api_key"`
	WebhookSecret  secretText `json:"webhook_secret"`
	OverlapSeconds *int64     `json:"overlap_seconds"`
}

// paymentKeysJSON: Ready says that both values are there.
type paymentKeysJSON struct {
	Ready         bool        `json:"ready"`
	APIKey        bool        `json:"api_key"`
	Hint          string      `json:"hint"`
	WebhookSecret bool        `json:"webhook_secret"`
	NeedsReentry  bool        `json:"needs_reentry"`
	Retiring      []time.Time `json:"retiring"`
	UpdatedAt     *time.Time  `json:"updated_at"`
	UpdatedBy     string      `json:"updated_by,omitempty"`
}

func paymentKeysOut(s payment.Stored, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := paymentKeysJSON{Ready: s.APIKey && s.Signing && !s.Broken, APIKey: s.APIKey, Hint: s.Hint, WebhookSecret: s.Signing, NeedsReentry: s.Broken,
		Retiring: append([]time.Time{}, s.Retiring...), UpdatedAt: orNever(s.UpdatedAt), UpdatedBy: s.UpdatedBy}
	return out, nil
}

func getPaymentKeys(c *call) (any, error) { return paymentKeysOut(c.PaymentKeys.Stored(c, c.req.Now)) }

func putPaymentKeys(c *call, b paymentKeysBody) (any, error) {
	v := payment.Values{APIKey: b.APIKey.Text, Signing: b.WebhookSecret.Text}
	if b.OverlapSeconds != nil {
		seconds := min(max(*b.OverlapSeconds, -1), int64(payment.MaxOverlap/time.Second)+1)
		overlap := time.Duration(seconds) * time.Second
		v.Overlap = &overlap
	}
	return paymentKeysOut(c.PaymentKeys.Set(c, v, c.op, c.req.Now))
}

func finishPaymentKeys(c *call) (any, error) {
	return paymentKeysOut(c.PaymentKeys.Finish(c, c.op, c.req.Now))
}
