package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Request renders a POST of JSON as it goes over the wire. key may be empty.
func Request(host, path, key string, body []byte, headers ...string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, host, len(body))
	if key != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}

// Reply is what one call gave.
type Reply struct {
	Status int
	// Code is the error code of a reply that is not 200.
	Code string
	// First is the time to the first byte of the body, Total to its end.
	First, Total time.Duration
	// Ended says that the body ended as the protocol wants it, Done that it ended
	// with the stream's end mark.
	Ended, Done bool
	// Reads counts reads of the socket that brought something.
	Reads int
}

const (
	endMark  = "data: [DONE]\n\n"
	headKept = 512 // bytes of a body that an error code is looked for in
)

// client is one keep-alive connection. It is used by one goroutine.
type client struct {
	addr    string
	timeout time.Duration
	conn    *countingConn
	reader  *bufio.Reader
	buf     []byte
	read    func([]byte) // nil = nobody
}

type countingConn struct {
	net.Conn
	reads int
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.reads++
	}
	return n, err
}

func newClient(addr string, timeout time.Duration) *client {
	return &client{addr: addr, timeout: timeout, buf: make([]byte, 32<<10)}
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func (c *client) connect() error {
	if c.conn != nil {
		return nil
	}
	conn, err := net.DialTimeout("tcp", c.addr, c.timeout)
	if err != nil {
		return err
	}
	c.conn = &countingConn{Conn: conn}
	c.reader = bufio.NewReaderSize(c.conn, 32<<10)
	return nil
}

// Caller makes one call after another over one connection.
type Caller struct{ c *client }

// NewCaller returns a Caller; timeout is that of one call.
func NewCaller(addr string, timeout time.Duration) *Caller {
	return &Caller{newClient(addr, timeout)}
}

// Do sends a request of [Request]. read, if set, is told of every piece of the
// body as it is read.
func (c *Caller) Do(request []byte, read func(piece []byte)) (Reply, error) {
	c.c.read = read
	return c.c.do(request)
}

// Close closes the connection.
func (c *Caller) Close() { c.c.close() }

// do makes one call. An error means that the connection failed; what had arrived
// by then is in the reply.
func (c *client) do(request []byte) (r Reply, err error) {
	if err := c.connect(); err != nil {
		return r, err
	}
	began, before, stay := time.Now(), c.conn.reads, false
	defer func() {
		r.Total, r.Reads = time.Since(began), c.conn.reads-before
		if !stay {
			c.close()
		}
	}()
	if err := c.conn.SetDeadline(began.Add(c.timeout)); err != nil {
		return r, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return r, err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return r, err
	}
	r.Status = resp.StatusCode
	head, tail := make([]byte, 0, headKept), make([]byte, 0, 2*len(endMark))
	for {
		n, err := resp.Body.Read(c.buf)
		if n > 0 {
			if r.First == 0 {
				r.First = time.Since(began)
			}
			got := c.buf[:n]
			if c.read != nil {
				c.read(got)
			}
			head = append(head, got[:min(n, headKept-len(head))]...)
			tail = keepEnd(tail, got)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return r, err
		}
	}
	r.Ended, r.Done = true, string(tail) == endMark
	if r.Status != http.StatusOK {
		r.Code = errorCode(r.Status, head)
	}
	stay = !resp.Close
	return r, nil
}

// keepEnd keeps as many of the last bytes as the end mark has.
func keepEnd(tail, got []byte) []byte {
	if len(got) >= len(endMark) {
		return append(tail[:0], got[len(got)-len(endMark):]...)
	}
	tail = append(tail, got...)
	if extra := len(tail) - len(endMark); extra > 0 {
		tail = append(tail[:0], tail[extra:]...)
	}
	return tail
}

// errorCode names a refusal by its code, or by its status if it has none.
func errorCode(status int, body []byte) string {
	var e struct{ Error struct{ Code string } }
	if json.Unmarshal(body, &e) == nil && e.Error.Code != "" {
		return strconv.Itoa(status) + " " + e.Error.Code
	}
	return strconv.Itoa(status)
}
