package egress

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// body is the body of an answer: bounded on the wire and, if it came compressed,
// once more decoded. The transport's own decompression is off, because it bounds
// neither: a few kilobytes become gigabytes, and empty members can follow each
// other for ever.
type body struct {
	from   io.Reader // nil until a compressed body is first read
	wire   capped
	max    int64
	err    error
	failed func(error) error
}

// wrap puts the limits around the body of resp. It fails for an encoding that
// nobody asked for.
func (g *guarded) wrap(ctx context.Context, host Host, resp *http.Response) error {
	failed := func(err error) error { return rebuild(ctx, g.kind, host, err) }
	b := &body{wire: capped{r: resp.Body, left: g.maxBody}, max: g.maxBody, failed: failed}
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(resp.Header["Content-Encoding"], ","))); {
	case encoding == "" || encoding == "identity" || resp.Body == http.NoBody:
		b.from = &b.wire
	case encoding == "gzip" || encoding == "x-gzip":
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
		resp.ContentLength, resp.Uncompressed = -1, true
	default:
		_ = resp.Body.Close()
		return &Error{Kind: g.kind, Host: host, Reason: Encoding}
	}
	if resp.ContentLength > g.maxBody {
		_ = resp.Body.Close()
		return failed(errTooLarge)
	}
	resp.Body = joined{b, resp.Body}
	return nil
}

// joined reads from one and closes another.
type joined struct {
	io.Reader
	io.Closer
}

// Read implements [io.Reader]. Its errors are io.EOF, a *fault.Error with code
// too_large, or an *[Error].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := 0, error(nil)
	if b.from == nil {
		var zip *gzip.Reader
		if zip, err = gzip.NewReader(&b.wire); err == nil {
			b.from = &capped{r: zip, left: b.max}
		}
	}
	if err == nil {
		n, err = b.from.Read(p)
	}
	if err != nil && err != io.EOF {
		err = b.failed(err)
	}
	b.err = err
	return n, err
}

// capped fails once more than left bytes were read.
type capped struct {
	r    io.Reader
	left int64
}

var errTooLarge = errors.New("egress: too large")

// Read implements [io.Reader].
func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n - 1, errTooLarge
	}
	return n, err
}
