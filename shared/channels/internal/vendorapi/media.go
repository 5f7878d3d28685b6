package vendorapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey/latchkey/shared/channel"
	"github.com/latchkey/latchkey/shared/egress"
	"github.com/latchkey/latchkey/shared/fault"
)

// UploadTime bounds an upload that a message names afterwards, so that the message has
// its part of a send's time: an upload that is cut posted nothing, and text is sent
// instead.
const UploadTime = 6 * time.Second

// Form is a multipart form with one file, which comes last.
type Form struct {
	// Method is POST if empty.
	Method string
	Fields [][2]string
	// Field is the file's field; Name and MIME describe it.
	Field, Name, MIME string
	File              []byte
}

func (f Form) encode() (body []byte, contentType string, err error) {
	var b bytes.Buffer
	b.Grow(len(f.File) + 2048)
	w := multipart.NewWriter(&b)
	for _, kv := range f.Fields {
		err = errors.Join(err, w.WriteField(kv[0], kv[1]))
	}
	h := textproto.MIMEHeader{}
	h.Set("Content-Disposition", multipart.FileContentDisposition(f.Field, f.Name))
	h.Set("Content-Type", f.MIME)
	part, perr := w.CreatePart(h)
	if perr == nil {
		_, perr = part.Write(f.File)
	}
	err = errors.Join(err, perr, w.Close()) // which writes the end
	return b.Bytes(), w.FormDataContentType(), err
}

// sniffBytes is what a file's type is told from.
const sniffBytes = 64

// Download fetches one file from where a vendor's answer says that it lies, in one
// buffer of at most limit bytes. The address must be one of the vendor's; a
// redirect is not followed. What the bytes are decides, and must agree with what
// the answer declares: a page that asks for a login comes with status 200. put is nil
// for addresses that are permission enough: the token is not sent then.
func Download(ctx context.Context, c channel.Call, address string, limit int64, put Token) (channel.File, *channel.MediaFailure) {
	resp, f := get(ctx, c.Media, address, func(r *http.Request) bool { return put == nil || authorize(r, c.Token, put) })
	if f != nil {
		return channel.File{}, f
	}
	file, f := received(resp, limit)
	if f != nil && put == nil {
		f.TokenRejected = false
	}
	return file, f
}

// DownloadBehind is Download of a file that the vendor's API, at c.BaseURL + path,
// hands out itself or by one redirect to another host of the vendor's. The token goes
// to the API alone.
func DownloadBehind(ctx context.Context, c channel.Call, path string, limit int64, put Token) (channel.File, *channel.MediaFailure) {
	resp, f := get(ctx, c.HTTP, c.BaseURL+path, func(r *http.Request) bool { return authorize(r, c.Token, put) })
	if f != nil {
		return channel.File{}, f
	}
	to, err := resp.Location()
	if resp.StatusCode < 300 || resp.StatusCode >= 400 || err == nil && strings.EqualFold(to.Host, resp.Request.URL.Host) {
		return received(resp, limit)
	}
	_ = resp.Body.Close()
	if err != nil {
		return channel.File{}, failed(channel.MediaRefused)
	}
	if resp, f = get(ctx, c.Media, to.String(), func(*http.Request) bool { return true }); f != nil {
		return channel.File{}, f
	}
	file, f := received(resp, limit)
	if f != nil {
		f.TokenRejected = false // there was none
	}
	return file, f
}

func get(ctx context.Context, client *http.Client, address string, put func(*http.Request) bool) (*http.Response, *channel.MediaFailure) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil || req.URL.Host == "" {
		return nil, failed(channel.MediaRefused)
	}
	if !put(req) {
		return nil, &channel.MediaFailure{Code: channel.MediaGone, TokenRejected: true}
	}
	resp, err := egress.Do(client, req)
	if err != nil {
		return nil, unfetched(err)
	}
	return resp, nil
}

// received reads and closes an answer.
func received(resp *http.Response, limit int64) (channel.File, *channel.MediaFailure) {
	defer func() { _ = resp.Body.Close() }()
	if f := fetched(resp, resp.Request.URL, limit); f != nil {
		return channel.File{}, f
	}
	return content(resp, limit)
}

func failed(code channel.MediaCode) *channel.MediaFailure { return &channel.MediaFailure{Code: code} }

// unfetched is a fetch that ended on its way.
func unfetched(err error) *channel.MediaFailure {
	switch {
	case errors.Is(err, egress.ErrRefused):
		return failed(channel.MediaRefused)
	case fault.CodeOf(err) == fault.TooLarge:
		return failed(channel.MediaTooLarge)
	}
	return &channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true}
}

// fetched says what an answer's head means, nil for a file.
func fetched(resp *http.Response, from *url.URL, limit int64) *channel.MediaFailure {
	switch status := resp.StatusCode; {
	case status >= 300 && status < 400:
		to, err := resp.Location()
		if err == nil && strings.EqualFold(to.Host, from.Host) {
			return failed(channel.NotMedia)
		}
		return failed(channel.MediaRefused)
	case status == http.StatusUnauthorized:
		return &channel.MediaFailure{Code: channel.MediaGone, TokenRejected: true}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == statusCancelled, status >= 500:
		r := Reply{Status: status, Header: resp.Header}
		return &channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true, RetryAfter: r.RateLimited(0).RetryAfter}
	case status == http.StatusAccepted:
		return &channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true} // being prepared
	case status == http.StatusRequestEntityTooLarge:
		return failed(channel.MediaTooLarge)
	case status != http.StatusOK:
		return failed(channel.MediaGone)
	}
	if resp.ContentLength > limit {
		return failed(channel.MediaTooLarge)
	}
	return nil
}

// content reads the file, into one buffer where the answer states its size.
func content(resp *http.Response, limit int64) (channel.File, *channel.MediaFailure) {
	first := make([]byte, sniffBytes)
	n, err := io.ReadFull(resp.Body, first)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // a cut answer wraps it
		return channel.File{}, unfetched(err)
	}
	kind, ok := egress.MediaType(resp.Header.Get("Content-Type"), first[:n])
	if !ok {
		return channel.File{}, failed(channel.NotMedia)
	}
	var b bytes.Buffer
	// One byte more than the file, so that its end is seen without growing.
	b.Grow(int(min(max(resp.ContentLength, 32<<10), limit)) + bytes.MinRead)
	b.Write(first[:n])
	if _, err := b.ReadFrom(io.LimitReader(resp.Body, limit+1-int64(n))); err != nil {
		return channel.File{}, unfetched(err)
	}
	if int64(b.Len()) > limit {
		return channel.File{}, failed(channel.MediaTooLarge)
	}
	return channel.File{Bytes: b.Bytes(), MIME: kind}, nil
}

// Unanswered is what an API call's failure means for a file that was asked for.
func Unanswered(f *channel.Failure) *channel.MediaFailure {
	switch {
	case f.TokenRejected:
		return &channel.MediaFailure{Code: channel.MediaGone, TokenRejected: true, Detail: f.Code}
	case f.Certainty == channel.Refused:
		return &channel.MediaFailure{Code: channel.MediaGone, Detail: f.Code}
	}
	return &channel.MediaFailure{Code: channel.MediaUnavailable, Retry: true, RetryAfter: f.RetryAfter, Detail: f.Code}
}

// PutFile sends a file to where a vendor's answer says that it goes, without a
// token: the address, which must be one of the vendor's, is the permission.
func PutFile(ctx context.Context, c channel.Call, address, kind string, file []byte) *channel.Failure {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(file))
	if err != nil || req.URL.Host == "" {
		return &channel.Failure{Certainty: channel.Refused, Code: "upload_address"}
	}
	req.GetBody = nil
	req.Header.Set("Content-Type", kind)
	resp, err := egress.Do(c.Media, req)
	if errors.Is(err, egress.ErrRefused) {
		return &channel.Failure{Certainty: channel.Refused, Code: "upload_address"}
	}
	if err != nil {
		return transportFailure(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, MaxReply))
	r := Reply{Status: resp.StatusCode, Header: resp.Header, Body: channel.Object{}}
	return r.Failure()
}

// NotPosted is the failure of a step before the one that posts: whatever happened
// there, nothing was posted.
func NotPosted(f *channel.Failure) *channel.Failure {
	if f.Certainty != channel.Ambiguous {
		return f
	}
	out := *f
	out.Certainty = channel.Refused
	return &out
}
