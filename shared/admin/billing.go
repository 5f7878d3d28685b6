package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/latchkey/latchkey/shared/audit"
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
		get(base+"/billing/replenish", orgBilling, "The standing order to buy credits when few are left, and where it stands", replenishJSON{}, getReplenish),
		change(http.MethodPut, base+"/billing/replenish", orgPay, "Buy credits without being asked when threshold or less is left, at most monthly_cap a calendar month (UTC); "+
			"needs a means of payment saved by a checkout with save_payment_method; begins anew after failures", replenishBody{}, replenishJSON{}, with(putReplenish)),
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

// StandingOrders buys credits without being asked; [topup.Replenisher] implements
// it.
type StandingOrders interface {
	Get(ctx context.Context, org string) (topup.Replenish, error)
	Set(ctx context.Context, org string, s topup.Settings, op audit.Op, now time.Time) (topup.Replenish, error)
}

type replenishBody struct {
	Enabled    bool         `json:"enabled" api:"required"`
	Threshold  credit.Micro `json:"threshold" api:"required"`
	Amount     credit.Micro `json:"amount" api:"required"`
	MonthlyCap credit.Micro `json:"monthly_cap" api:"required"`
}

// replenishJSON: Spent is paid or under way in this calendar month. Reason is why
// the last payment failed, or why the order was switched off.
type replenishJSON struct {
	Enabled    bool         `json:"enabled"`
	Threshold  credit.Micro `json:"threshold"`
	Amount     credit.Micro `json:"amount"`
	MonthlyCap credit.Micro `json:"monthly_cap"`
	Spent      credit.Micro `json:"spent"`
	UnderWay   bool         `json:"under_way"`
	Failures   int          `json:"failures"`
	Reason     topup.Reason `json:"reason,omitempty"`
	NotBefore  *time.Time   `json:"not_before"`
}

func (c *call) replenish(r topup.Replenish, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	out := replenishJSON{Enabled: r.Enabled, Threshold: r.Threshold, Amount: r.Amount, MonthlyCap: r.MonthlyCap, UnderWay: r.Current != "",
		Failures: r.Failures, Reason: r.Reason}
	if r.Month == topup.MonthOf(c.req.Now) {
		out.Spent = credit.Micro(r.Spent) * topup.PerCent
	}
	if r.NotBefore.After(c.req.Now) {
		out.NotBefore = orNever(r.NotBefore)
	}
	return out, nil
}

func getReplenish(c *call) (any, error) { return c.replenish(c.Replenish.Get(c, c.org.ID)) }

func putReplenish(c *call, b replenishBody) (any, error) {
	return c.replenish(c.Replenish.Set(c, c.org.ID, topup.Settings{Enabled: b.Enabled, Threshold: b.Threshold, Amount: b.Amount, MonthlyCap: b.MonthlyCap}, c.op, c.req.Now))
}
