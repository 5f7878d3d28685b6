package admin

import (
	"context"
	"time"

	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/topup"
)

// Payments sells credits; [topup.Service] implements it.
type Payments interface {
	Start(ctx context.Context, o topup.Order) (topup.Started, error)
	Portal(ctx context.Context, org string) (string, error)
}

// billingRoutes are served by the function that sells credits: no other one has
// the payment vendor's key.
func billingRoutes() []route {
	out := []route{
		create(base+"/billing/checkout", orgPay, "Buy credits: open this URL in a browser and pay there; credits arrive when the payment has succeeded",
			checkoutBody{}, checkoutJSON{}, with(startCheckout)),
		act(base+"/billing/portal", orgPay, "A page with invoices and means of payment, for the browser; after the first payment", nil, portalJSON{}, bare(openPortal)),
	}
	for i := range out {
		out[i].sells = true
	}
	return out
}

type checkoutBody struct {
	// Amount is in micro-credits; one credit costs one US dollar.
	Amount     credit.Micro `json:"amount" api:"required"`
	SaveMethod bool         `json:"save_payment_method"`
}

type checkoutJSON struct {
	ID        string       `json:"id"`
	URL       string       `json:"url"`
	Amount    credit.Micro `json:"amount"`
	Currency  string       `json:"currency"`
	State     topup.State  `json:"state"`
	CreatedAt time.Time    `json:"created_at"`
}

func startCheckout(c *call, b checkoutBody) (any, error) {
	t, err := c.Payments.Start(c, topup.Order{Org: c.org.ID, Amount: b.Amount, SaveMethod: b.SaveMethod, Op: c.op, Now: c.req.Now})
	if err != nil {
		return nil, err
	}
	return checkoutJSON{ID: t.ID, URL: t.URL, Amount: b.Amount, Currency: topup.Currency, State: t.State, CreatedAt: t.Created}, nil
}

type portalJSON struct {
	URL string `json:"url"`
}

func openPortal(c *call) (any, error) {
	url, err := c.Payments.Portal(c, c.org.ID)
	return portalJSON{URL: url}, err
}
