package admin

import (
	"strconv"
	"time"

	"github.com/latchkey/latchkey/shared/alert"
	"github.com/latchkey/latchkey/shared/credit"
)

// alertJSON is one message about a balance. Left is what was left, Limit what it
// was measured against.
type alertJSON struct {
	ID        string       `json:"id"`
	Threshold string       `json:"threshold"`
	Limit     credit.Micro `json:"limit"`
	Left      credit.Micro `json:"left"`
	Level     credit.Micro `json:"level"`
	Since     *time.Time   `json:"since"`
	At        time.Time    `json:"at"`
}

func listAlerts(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	list, next, err := c.Alerts.Alerts(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	return answer(list, next, func(a alert.Alert) alertJSON {
		return alertJSON{ID: a.ID, Threshold: a.Threshold, Limit: a.Limit, Left: a.Left, Level: a.Level, Since: stamp(a.Since), At: a.At.UTC()}
	}), nil
}

type alertSettingsBody struct {
	LowBalance credit.Micro `json:"low_balance" api:"required"`
}

// alertSettingsJSON: Level is the balance after the last top-up, at Since.
type alertSettingsJSON struct {
	LowBalance credit.Micro `json:"low_balance"`
	Level      credit.Micro `json:"level"`
	Since      *time.Time   `json:"since"`
}

func getAlertSettings(c *call) (any, error) {
	l, err := c.Alerts.Level(c, c.org.ID)
	return alertSettingsJSON{LowBalance: l.Absolute, Level: l.Amount, Since: stamp(l.At)}, err
}

func putAlertSettings(c *call, b alertSettingsBody) (any, error) {
	if err := alert.CheckAbsolute(b.LowBalance); err != nil {
		return nil, err
	}
	row := c.op.Row(c.org.ID, "alerts.update", c.org.ID, "low_balance", strconv.FormatInt(int64(b.LowBalance), 10))
	if err := c.Alerts.SetAbsolute(c, c.org.ID, b.LowBalance, row); err != nil {
		return nil, err
	}
	return getAlertSettings(c)
}
