package lambdahost

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

const chunkBytes = 32 * 1024

// streamResponse hands a streamed response on while it is being read. The 202
// goes out only after the last byte, because a runtime stops sending when it has
// its answer.
func (e *environment) streamResponse(w http.ResponseWriter, r *http.Request, v *invocation) {
	prelude, rest, err := readPrelude(r.Body)
	var head *Stream
	switch {
	case errors.Is(err, errBrokenPrelude):
		e.brokenPost(v)
		return
	case err == nil:
		head, err = parsePrelude(prelude)
	}
	if err != nil {
		_, drainErr := io.Copy(io.Discard, r.Body)
		if drainErr != nil {
			e.brokenPost(v)
			return
		}
		e.markAnswered()
		if failed := trailerError(v, r.Trailer); failed != nil {
			v.fail(failed)
		} else {
			v.fail(newError(ErrBadResponse, v.function, v.id, "Runtime.InvalidResponse", err.Error()))
		}
		answer(w, http.StatusAccepted, `{"status":"OK"}`)
		return
	}
	head.RequestID, head.Streamed = v.id, true
	body, open := v.open(head)
	if open {
		err = copyBody(body, rest, r.Body, v)
	} else {
		_, err = io.Copy(io.Discard, r.Body)
	}
	if err != nil {
		e.brokenPost(v)
		return
	}
	e.markAnswered()
	if failed := trailerError(v, r.Trailer); failed != nil {
		v.fail(failed)
	} else if open {
		_ = body.Close()
	}
	answer(w, http.StatusAccepted, `{"status":"OK"}`)
}

// copyBody feeds the reader of the body until it leaves, then drains. The error
// is that of the source: a broken response.
func copyBody(dst *io.PipeWriter, first []byte, src io.Reader, v *invocation) error {
	total := len(first)
	reading := true
	if len(first) > 0 {
		_, err := dst.Write(first)
		reading = err == nil
	}
	buf := make([]byte, chunkBytes)
	for {
		n, err := src.Read(buf)
		total += n
		if total > MaxStreamBytes && reading {
			reading = false
			v.fail(newError(ErrResponseTooLarge, v.function, v.id, "Function.ResponseSizeTooLarge",
				"Streamed response exceeded "+strconv.Itoa(MaxStreamBytes)+" bytes"))
		}
		if n > 0 && reading {
			_, werr := dst.Write(buf[:n])
			reading = werr == nil
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// errBrokenPrelude: the connection ended before the prelude did.
var errBrokenPrelude = errors.New("response broke off")

// readPrelude reads up to the eight NULs and returns what stands before them and
// what of the body was read with them.
func readPrelude(r io.Reader) (prelude, rest []byte, err error) {
	separator := make([]byte, 8)
	buf := make([]byte, 0, 4096)
	from := 0
	for {
		if i := bytes.Index(buf[from:], separator); i >= 0 {
			i += from
			return buf[:i], buf[i+len(separator):], nil
		}
		from = max(0, len(buf)-len(separator)+1)
		if len(buf) > maxPreludeBytes {
			return nil, nil, fmt.Errorf("prelude: more than %d bytes without the eight NULs", maxPreludeBytes)
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, rerr := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case n > 0:
		case rerr == io.EOF:
			return nil, nil, errors.New("prelude: the response ended before the eight NULs")
		case rerr != nil:
			return nil, nil, fmt.Errorf("prelude: %w", errBrokenPrelude)
		}
	}
}

// parsePrelude reads {"statusCode","headers","cookies"}.
func parsePrelude(b []byte) (*Stream, error) {
	var doc struct {
		StatusCode json.RawMessage            `json:"statusCode"`
		Headers    map[string]json.RawMessage `json:"headers"`
		Cookies    []string                   `json:"cookies"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, errors.New("prelude is not a JSON object of statusCode, headers and cookies")
	}
	status := http.StatusOK
	if len(doc.StatusCode) > 0 {
		var err error
		if status, err = statusCode(doc.StatusCode); err != nil {
			return nil, err
		}
	}
	headers, err := headerValues(doc.Headers)
	if err != nil {
		return nil, err
	}
	return &Stream{StatusCode: status, Headers: headers, Cookies: doc.Cookies}, nil
}
