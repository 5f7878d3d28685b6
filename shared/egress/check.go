package egress

import (
	"net"
	"net/url"
	"strings"

	"github.com/latchkey/latchkey/shared/fault"
)

// CheckTenantURL checks a base URL when a customer saves it and returns its
// origin, "https://host". It fails with fault.InvalidRequest (param base_url)
// and a message that says what to change. Passing does not mean the address is
// allowed: that is decided at each connection.
func (e *Egress) CheckTenantURL(raw string) (origin string, err error) {
	bad := func(msg string) (string, error) {
		return "", fault.New(fault.InvalidRequest, "egress.CheckTenantURL", msg).WithParam("base_url")
	}
	if len(raw) > 2048 {
		return bad("the base URL is longer than 2048 characters")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Opaque != "" {
		return bad("the base URL must look like https://host/v1")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(raw, "#") {
		return bad("the base URL must not have a query or a fragment")
	}
	if _, reason := e.check(u, nil, false); reason != "" {
		return bad(reason)
	}
	return strings.ToLower(u.Scheme) + "://" + strings.ToLower(u.Host), nil
}

// check returns what kind of destination a URL is, and why it may not be used,
// or "".
func (e *Egress) check(u *url.URL, hosts map[string]bool, listed bool) (Host, string) {
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	scheme := strings.ToLower(u.Scheme)
	class := PublicHost
	if listed {
		class = ListedHost
	}
	if scheme != "https" && scheme != "http" {
		return class, "the endpoint must use https"
	}
	if u.User != nil {
		return class, "the endpoint must not contain a user name or password"
	}
	if u.Opaque != "" {
		return class, "the endpoint has no usable host name"
	}
	if port == "" {
		port = "443"
		if scheme == "http" {
			port = "80"
		}
	}
	if e.allow[net.JoinHostPort(host, port)] {
		return OpenedHost, ""
	}
	switch {
	case scheme != "https":
		return class, "the endpoint must use https"
	case port != e.port:
		return class, "the endpoint must use port 443"
	case listed && !hosts[host]:
		return class, "the host is not one of the vendor's hosts"
	case !listed:
		return class, tenantHost(host)
	}
	return class, ""
}

// tenantHost returns why a host name may not be used by a customer, or "". It
// gives clear answers early; the dial check is what protects.
func tenantHost(host string) string {
	if host == "" || len(host) > 253 {
		return "the endpoint has no usable host name"
	}
	for i := 0; i < len(host); i++ {
		c := host[i]
		switch {
		case c == ':' || c == '%':
			return "the endpoint must be a host name, not an IP address"
		case c >= 0x80:
			return "write the host name in its ASCII form (xn--…)"
		case c != '-' && c != '.' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z'):
			return "the endpoint has no usable host name"
		}
	}
	labels := strings.Split(host, ".")
	last := labels[len(labels)-1]
	switch {
	case last == "":
		return "the host name must not end with a dot"
	case numeric(last):
		return "the endpoint must be a host name, not an IP address"
	case len(labels) == 1, last == "localhost", last == "local", last == "localdomain", last == "internal", last == "arpa":
		return "the endpoint must be a public host name"
	}
	return ""
}

// numeric reports whether resolvers would read a name with this last label as
// an IPv4 address: 2130706433, 0177.0.0.1, 0x7f.1 and the like.
func numeric(label string) bool {
	if strings.HasPrefix(label, "0x") {
		return true
	}
	return strings.Trim(label, "0123456789") == ""
}
