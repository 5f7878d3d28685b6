// Package email connects addresses of a domain: mail in, one mail back per answer.
//
// Several vendors take the mail of a domain in and post it here; an install's
// setting vendor says which, and is told by the secret that verifies. What they share
// is here, each one's fields and calls are in a file of its own.
//
// No vendor signs a mail: Mailgun signs a time and a token, Postmark sends a password.
// So every message counts as verified by its channel only, the token or the vendor's
// id is what repetitions are told by, and the writer is who the mail says only where
// the vendor checked it (SPF or DKIM, for the domain of From). Any other mail starts
// no turn unless the install's allow_unauthenticated is true.
//
// A conversation is one person's (the address in From, in lower case, plus-parts kept:
// two of them may be two people) and one thread's: the first message that the mail's
// references name, or the one that stands in the name of an answer of ours. An answer goes to that address alone, never to Reply-To, copies
// or lists, comes from the address that was written to, and says that it is automatic.
// Mail of machines, lists, the empty sender and the own domain is never answered,
// whatever the install's policy says: its text does not leave this package.
//
// The text is the vendor's plain text without what it quotes; HTML is never read.
// Not done: attachments, voice notes, formatted answers, addresses beyond ASCII.
package email

import (
	"regexp"
	"slices"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/credential"
	"github.com/latchkey/latchkey/shared/secret"
	"github.com/latchkey/latchkey/shared/taxonomy"
	"github.com/latchkey/latchkey/shared/webhook"
	"github.com/latchkey/latchkey/shared/webhook/profiles"
)

// Names of settings and secrets.
const (
	vendor     = "vendor"
	domain     = "domain"
	region     = "region"
	spamFilter = "spam_filter"
	allow      = "allow_unauthenticated"
	signingKey = "webhook_signing_key"
	basicAuth  = "basic_auth"
	apiKey     = "api_key"
)

// overlap: a signing key that was replaced signs the retries of eight hours.
const overlap = 12 * time.Hour

var (
	domainForm = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)
	localForm  = regexp.MustCompile("^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")
)

func oneOf(words ...string) func(string) bool {
	return func(s string) bool {
		for _, w := range words {
			if s == w {
				return true
			}
		}
		return false
	}
}

// Entry describes e-mail to the catalog: what its vendors share around the entry of
// each.
func Entry() channel.Entry {
	e := mailgunEntry()
	e.Vendor, e.Vendors = "", map[taxonomy.Channel]channel.Entry{}
	for _, v := range []channel.Entry{mailgunEntry(), postmarkEntry()} {
		e.Vendors[v.Vendor] = v
		e.Hosts = append(e.Hosts, v.Hosts...)
		for _, f := range v.Secrets {
			if !slices.ContainsFunc(e.Secrets, func(o channel.SecretField) bool { return o.Name == f.Name }) {
				e.Secrets = append(e.Secrets, f)
			}
		}
	}
	for k, f := range e.Secrets {
		// Which of those that verify an install needs is its vendor's to say.
		if e.Secrets[k].Required = f.Class == taxonomy.ChannelSend; f.Class == taxonomy.ChannelSend {
			e.Secrets[k].Title = "The vendor's key that sends"
		}
	}
	slices.Sort(e.Hosts)
	e.Hosts = slices.Compact(e.Hosts)
	return e
}

// shared is an entry without what is one vendor's.
func shared(id taxonomy.Channel, name taxonomy.Profile) channel.Entry {
	profile, _ := profiles.Find(name)
	return channel.Entry{
		ID: taxonomy.Email, Vendor: id, VendorSetting: vendor, Title: "E-mail", Methods: profile.Methods, Scheme: profile.Scheme,
		Config: []channel.ConfigField{
			{Name: domain, Title: "Domain of the addresses that are answered", Required: true, Valid: domainForm.MatchString,
				Help: "In lower case, such as help.example.com. Best one of its own: mail from the domain itself is never answered."},
			{Name: vendor, Title: "Vendor that takes the mail in and sends it", Required: true, Valid: oneOf(string(taxonomy.Mailgun), string(taxonomy.Postmark)),
				Help: "mailgun or postmark. It follows from the secret that verifies and cannot change."},
			{Name: allow, Title: "Answer mail whose sender was not proven", Valid: oneOf("true", "false"),
				Help: "true or false. With true anybody can write in anybody's name; what is answered goes to the address that was written in the mail."},
		},
		SendSecret: apiKey,
		Identity:   [][]string{{domain}}, Anonymous: true, Told: told,
		Tenant: func(c webhook.Config) (app, tenant string) { return "email", "D:" + c.Get(domain) },
	}
}

// sending is the vendor's key.
func sending(title string) channel.SecretField {
	return channel.SecretField{Name: apiKey, Title: title, Class: taxonomy.ChannelSend, Required: true, Hint: credential.Last4, Form: credential.Token, MaxBytes: 512}
}

// told reads the vendor out of what verifies: each has a secret of its own name.
func told(secrets map[string]secret.Text) webhook.Config {
	if _, given := secrets[signingKey]; given {
		return webhook.Config{vendor: {string(taxonomy.Mailgun)}}
	}
	if _, given := secrets[basicAuth]; given {
		return webhook.Config{vendor: {string(taxonomy.Postmark)}}
	}
	return nil
}
