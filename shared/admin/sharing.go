package admin

import (
	"net/http"

	"github.com/latchkey/latchkey/shared/agency"
	"github.com/latchkey/latchkey/shared/credit"
	"github.com/latchkey/latchkey/shared/org"
)

func sharingRoutes() []route {
	return []route{
		get(base+"/sharing", orgBilling, "What an agency shares with its clients, and what an organisation may draw from its agency", sharingJSON{}, getSharing),
		change(http.MethodPut, base+"/sharing", orgAdmin, "Set what an agency shares; applies at once, and a hundred clients are told; call sharing/renew while there is a next",
			sharingBody{}, sharedJSON{}, with(putSharing)),
		act(base+"/sharing/renew", orgAdmin, "Tell the next hundred clients what the agency shares; may be repeated", renewBody{}, renewedJSON{}, with(renewSharing)),
		lists(base+"/sharing/clients", orgBilling, "The clients of an agency with what each may draw and drew today", sharingClientJSON{}, listSharing),
		change(http.MethodPut, base+"/sharing/clients/{id}", orgAdmin, "Set what differs for one client; what is left out is as for all", overrideBody{}, sharingClientJSON{}, with(putOverride)),
	}
}

// sharingJSON: amounts are micro-credits per day of the UTC clock.
type sharingJSON struct {
	Mode         agency.Mode  `json:"mode"`
	ClientPerDay credit.Micro `json:"client_per_day"`
	TotalPerDay  credit.Micro `json:"total_per_day"`
	Version      int64        `json:"version"`
	// DrawnToday is what all clients drew, running calls included.
	DrawnToday credit.Micro `json:"drawn_today"`
	// From is null for an organisation without an agency.
	From *drawsFromJSON `json:"from"`
}

// drawsFromJSON is what an organisation may draw.
type drawsFromJSON struct {
	AgencyID   string       `json:"agency_id"`
	Mode       agency.Mode  `json:"mode"`
	PerDay     credit.Micro `json:"per_day"`
	DrawnToday credit.Micro `json:"drawn_today"`
}

func getSharing(c *call) (any, error) {
	out, err := c.sharing(c.org)
	if err != nil || c.org.ParentID == "" {
		return out, err
	}
	st, err := c.Orgs.Standings(c, c.org.ParentID, []org.Org{c.org}, c.req.Now)
	if err != nil {
		return nil, err
	}
	out.From = &drawsFromJSON{AgencyID: c.org.ParentID, Mode: st[0].Terms.Mode, PerDay: credit.Micro(st[0].Terms.ClientCap), DrawnToday: credit.Micro(st[0].Drawn)}
	return out, nil
}

func (c *call) sharing(o org.Org) (sharingJSON, error) {
	p := o.Sharing.Policy
	out := sharingJSON{Mode: p.Mode, ClientPerDay: credit.Micro(p.ClientPerDay), TotalPerDay: credit.Micro(p.TotalPerDay), Version: o.Sharing.Version}
	if out.Mode == "" {
		out.Mode = agency.Off
		return out, nil
	}
	total, _, err := c.Orgs.Sharing.Drawn(c, o.ID, agency.Day(c.req.Now), nil)
	out.DrawnToday = credit.Micro(total)
	return out, err
}

type sharingBody struct {
	Mode         agency.Mode  `json:"mode" api:"required"`
	ClientPerDay credit.Micro `json:"client_per_day"`
	TotalPerDay  credit.Micro `json:"total_per_day"`
}

// renewedJSON: so many copies were changed; Next is the cursor of the next call,
// empty at the end.
type renewedJSON struct {
	Renewed int    `json:"renewed"`
	Next    string `json:"next"`
}

type sharedJSON struct {
	sharingJSON
	renewedJSON
}

func putSharing(c *call, b sharingBody) (any, error) {
	o, err := c.Orgs.Share(c, c.op, c.org, agency.Policy{Mode: b.Mode, ClientPerDay: int64(b.ClientPerDay), TotalPerDay: int64(b.TotalPerDay)})
	if err != nil {
		return nil, err
	}
	renewed, err := c.renew("")
	if err != nil {
		return nil, err
	}
	out, err := c.sharing(o)
	return sharedJSON{out, renewed}, err
}

type renewBody struct {
	Cursor string `json:"cursor"`
}

func renewSharing(c *call, b renewBody) (any, error) {
	if b.Cursor != "" && org.CheckID(b.Cursor) != nil {
		return nil, malformed("cursor", "this is not the next of an earlier answer")
	}
	return c.renew(b.Cursor)
}

func (c *call) renew(after string) (renewedJSON, error) {
	r, err := c.Orgs.RenewClients(c, c.op, c.org.ID, after)
	return renewedJSON{Renewed: r.Count, Next: r.Next}, err
}

// sharingClientJSON: Mode and PerDay are what applies, Override what differs from
// the agency's policy. Current says that the client carries the present policy; one
// that does not is decided anew when it draws.
type sharingClientJSON struct {
	ClientID   string       `json:"client_id"`
	Name       string       `json:"name"`
	Mode       agency.Mode  `json:"mode"`
	PerDay     credit.Micro `json:"per_day"`
	DrawnToday credit.Micro `json:"drawn_today"`
	Override   overrideBody `json:"override"`
	Current    bool         `json:"current"`
}

type overrideBody struct {
	Mode   agency.Mode  `json:"mode,omitempty"`
	PerDay credit.Micro `json:"per_day,omitempty"`
}

func sharingClientOut(o org.Org, st org.Standing) sharingClientJSON {
	return sharingClientJSON{ClientID: o.ID, Name: o.Name, Mode: st.Terms.Mode, PerDay: credit.Micro(st.Terms.ClientCap), DrawnToday: credit.Micro(st.Drawn),
		Override: overrideBody{st.Override.Mode, credit.Micro(st.Override.PerDay)}, Current: st.Current}
}

func listSharing(c *call) (any, error) {
	p, err := c.page()
	if err != nil {
		return nil, err
	}
	clients, next, err := c.Orgs.Orgs.Orgs(c, c.org.ID, p.after, p.limit)
	if err != nil {
		return nil, err
	}
	st, err := c.Orgs.Standings(c, c.org.ID, clients, c.req.Now)
	if err != nil {
		return nil, err
	}
	items := make([]sharingClientJSON, len(clients))
	for i, o := range clients {
		items[i] = sharingClientOut(o, st[i])
	}
	return answer(items, next, func(x sharingClientJSON) sharingClientJSON { return x }), nil
}

func putOverride(c *call, b overrideBody) (any, error) {
	client := c.params["id"]
	if org.CheckID(client) != nil {
		return nil, noSuch("client organisation")
	}
	if _, err := c.Orgs.ShareWith(c, c.op, c.org, client, agency.Override{Mode: b.Mode, PerDay: int64(b.PerDay)}); err != nil {
		return nil, err
	}
	o, err := c.Orgs.Orgs.Org(c, client)
	if err != nil {
		return nil, err
	}
	st, err := c.Orgs.Standings(c, c.org.ID, []org.Org{o}, c.req.Now)
	if err != nil {
		return nil, err
	}
	return sharingClientOut(o, st[0]), nil
}
