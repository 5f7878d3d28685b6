package boot

import (
	"cmp"
	"net/http"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/channel/exchange"
	"github.com/latchkey/latchkey/shared/channels/catalog"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook/keyset"
)

// Channels lists the channels that have an adapter.
func Channels() []taxonomy.Channel {
	var out []taxonomy.Channel
	for _, e := range catalog.Entries() {
		out = append(out, e.ID)
	}
	return out
}

// ChannelAPI returns the client that reaches the channels' vendors and the API
// base of each, by what [channel.Entry.Reached] names.
func (e *Env) ChannelAPI(out *egress.Egress) (client *http.Client, base func(taxonomy.Channel) string) {
	bases, hosts := map[taxonomy.Channel]string{}, []string(nil)
	add := func(c channel.Entry) {
		bases[c.Reached()] = cmp.Or(e.Config.APIBases[c.Reached()], c.APIBase)
		hosts = append(hosts, c.Hosts...)
		if c.Exchange != nil {
			hosts = append(hosts, c.Exchange.Hosts...)
		}
	}
	for _, c := range catalog.Entries() {
		for _, v := range c.Vendors {
			add(v)
		}
		if c.Vendors == nil {
			add(c)
		}
	}
	return out.Vendor(hosts...), func(c taxonomy.Channel) string { return bases[c] }
}

// ChannelData returns where each channel's vendor is asked for files, empty where
// that is its API.
func (e *Env) ChannelData() func(taxonomy.Channel) string {
	bases := map[taxonomy.Channel]string{}
	for _, c := range catalog.Entries() {
		if bases[c.ID] = c.DataBase; e.Config.DataBases[c.ID] != "" {
			bases[c.ID] = e.Config.DataBases[c.ID]
		}
	}
	return func(c taxonomy.Channel) string { return bases[c] }
}

// ChannelKeys returns the key sets that channels' requests are verified with.
// None is fetched before it is needed.
func (e *Env) ChannelKeys(out *egress.Egress) *keyset.Sets {
	var sources []keyset.Source
	var hosts []string
	for _, c := range catalog.Entries() {
		if c.Keys == nil {
			continue
		}
		base := c.Keys.Base
		if moved := e.Config.KeysBases[c.ID]; moved != "" {
			base = moved
		}
		hosts = append(hosts, c.Keys.Hosts...)
		for _, s := range c.Keys.Sets {
			s.Base = base
			sources = append(sources, s)
		}
	}
	return keyset.New(out.Vendor(hosts...), sources...)
}

// ChannelTokens returns what trades sending secrets for tokens.
func (e *Env) ChannelTokens(client *http.Client) *exchange.Tokens {
	return exchange.New(exchange.Options{HTTP: client, Now: e.Clock.Now, Mask: e.Secrets.Add, Base: func(c channel.Entry) string {
		if moved := e.Config.TokenBases[c.ID]; moved != "" {
			return moved
		}
		return c.Exchange.Base
	}})
}

// ChannelMedia returns, for each channel, the client that reaches where the files of
// its vendor lie and nothing else: an address that a vendor's answer names must not
// get another vendor's token.
func (e *Env) ChannelMedia(out *egress.Egress) func(taxonomy.Channel) *http.Client {
	clients := map[taxonomy.Channel]*http.Client{}
	for _, c := range catalog.Entries() {
		clients[c.ID] = out.Vendor(c.MediaHosts...)
	}
	return func(c taxonomy.Channel) *http.Client { return clients[c] }
}
