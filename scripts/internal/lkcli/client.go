package lkcli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/org"
	"github.com/latchkey/latchkey/shared/secret"
)

const (
	// maxAnswer is far above a page of 200 items.
	maxAnswer = 32 << 20
	// patience is above the 30 seconds that the API itself may take.
	patience = 60 * time.Second
	maxPage  = 200
)

// client calls one origin with one key.
type client struct {
	base string // without a slash at the end
	key  secret.Text
	http *http.Client
}

// connect reads where to call and with which key.
func (in *invocation) connect() (*client, error) {
	where := in.url
	if where == "" {
		where = in.Getenv("LATCHKEY_URL")
	}
	if where == "" {
		return nil, wrongCall("say where: --url or LATCHKEY_URL, for example http://127.0.0.1:8787 of ./scripts/dev")
	}
	u, err := url.Parse(where)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, wrongCall("the URL must be like https://host, without user, query and fragment")
	}
	c := &client{base: strings.TrimRight(u.String(), "/"), http: &http.Client{Transport: in.Transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if in.cmd.keyless {
		return c, nil
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, wrongCall("http would send the key in clear text; use https (http is for this machine only)")
	}
	c.key, err = in.apiKey()
	return c, err
}

func (in *invocation) apiKey() (secret.Text, error) {
	given, err := in.secretText("key", in.key)
	if err != nil {
		return given, err
	}
	if given.IsZero() {
		given = secret.FromString(in.Getenv("LATCHKEY_KEY"))
	}
	if given.IsZero() {
		return given, wrongCall("no key: set LATCHKEY_KEY, or give --key - (standard input) or --key @FILE")
	}
	return given, given.Use(func(b []byte) error {
		for _, c := range b {
			if c <= ' ' || c > '~' {
				return wrongCall("the key holds characters that no key has; copy it again")
			}
		}
		return nil
	})
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// orgOf is the organisation to act on: the one named, else the key's own.
func (in *invocation) orgOf(key secret.Text) (string, error) {
	if in.org != "" {
		return in.org, nil
	}
	own := ""
	_ = key.Use(func(b []byte) error {
		k, err := org.ParseKey(string(b))
		own = k.Org
		return err
	})
	switch own {
	case "":
		return "", wrongCall("the key does not look like lk_<org>_<id>_<secret>; name the organisation with --org")
	case org.Operator:
		return "", wrongCall("this is an operator key; name the organisation with --org")
	}
	return own, nil
}

// operation is one HTTP request of the API.
type operation struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         []byte
}

// do sends an operation once and returns the JSON of a success, nil if it has
// none.
func (c *client) do(ctx context.Context, op operation) (json.RawMessage, error) {
	target := c.base + op.path
	if len(op.query) > 0 {
		target += "?" + op.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, op.method, target, bytes.NewReader(op.body))
	if err != nil {
		return nil, wrongCall("the URL is not usable")
	}
	req.Header.Set("User-Agent", "latchkey-lk")
	req.Header.Set("Accept", "application/json")
	if op.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, v := range op.header {
		req.Header.Set(name, v)
	}
	if !c.key.IsZero() {
		_ = c.key.Use(func(b []byte) error {
			req.Header.Set("Authorization", "Bearer "+string(b))
			return nil
		})
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(op.method, req.URL, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(body) > maxAnswer {
		return nil, unfinished(op.method, "the answer was cut short or is too large")
	}
	return c.judge(resp, body)
}

func (c *client) judge(resp *http.Response, body []byte) (json.RawMessage, error) {
	id := resp.Header.Get("X-Request-Id")
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		f := failed("bad_answer", "the server redirects to another address, and the key is not sent on; use the final URL")
		f.Status = resp.StatusCode
		return nil, f
	case resp.StatusCode < 200 || resp.StatusCode >= 300:
		return nil, refusal(resp.StatusCode, id, body)
	case resp.StatusCode == http.StatusNoContent:
		return nil, nil
	case !json.Valid(body):
		f := failed("bad_answer", "the server did not answer with JSON; check the URL")
		f.Status, f.RequestID = resp.StatusCode, id
		return nil, f
	}
	return compact(body), nil
}

// unreachable words a failed call. The client's own error begins with the URL,
// which may be long and says nothing new.
func unreachable(method string, u *url.URL, err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	var opErr *net.OpError
	if errors.As(err, &opErr) && opErr.Op == "dial" {
		f := failed("unreachable", "cannot reach "+u.Scheme+"://"+u.Host+": is it running? ("+err.Error()+")")
		f.Retryable = true
		return f
	}
	return unfinished(method, "no answer from "+u.Scheme+"://"+u.Host)
}

// unfinished is for calls that may have reached the server.
func unfinished(method, message string) error {
	if method != http.MethodGet {
		message += "; the change may or may not have been made, look before you repeat it"
	}
	f := failed("unreachable", message)
	f.Retryable = method == http.MethodGet
	return f
}

// pageOf is the part of a list answer that paging needs.
type pageOf struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"next_cursor"`
}

// collect follows a list to its end, or to limit items; limit 0 means all. more
// says that items were left.
func (c *client) collect(ctx context.Context, op operation, paged bool, limit int) (items []json.RawMessage, more bool, err error) {
	seen := map[string]bool{}
	for {
		if paged {
			size := maxPage
			if limit > 0 {
				size = min(size, limit-len(items))
			}
			op.query.Set("limit", strconv.Itoa(size))
		}
		raw, err := c.do(ctx, op)
		if err != nil {
			return nil, false, err
		}
		var page pageOf
		if json.Unmarshal(raw, &page) != nil || page.Items == nil {
			return nil, false, failed("bad_answer", "the server did not answer with a list")
		}
		items = append(items, page.Items...)
		last := page.NextCursor == nil || *page.NextCursor == ""
		if limit > 0 && len(items) >= limit {
			return items[:limit], !last || len(items) > limit, nil
		}
		if last {
			return items, false, nil
		}
		// A server that repeats a cursor would be read for ever.
		if !paged || seen[*page.NextCursor] {
			return nil, false, failed("bad_answer", "the server's list does not end")
		}
		seen[*page.NextCursor] = true
		op.query.Set("cursor", *page.NextCursor)
	}
}
