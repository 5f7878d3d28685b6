package lkcli

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/latchkey/latchkey/shared/secret"
)

const (
	// maxInput bounds files and standard input: above the API's 1 MiB body.
	maxInput = 16 << 20
	// maxSecret is above every key file that a vendor hands out.
	maxSecret = 64 << 10
)

var errTooLong = errors.New("lkcli: input too long")

// readAll reads at most limit bytes.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLong
	}
	return b, err
}

// stdin reads standard input, which only one part of a call may claim.
func (r *run) stdin(limit int64, what string) ([]byte, error) {
	in, err := r.claimStdin(what)
	if err != nil {
		return nil, err
	}
	b, err := readAll(in, limit)
	return b, inputError("standard input", err)
}

func (r *run) claimStdin(what string) (io.Reader, error) {
	if r.stdinUsed {
		return nil, wrongCall("standard input can be read once; give one of the two as @FILE")
	}
	r.stdinUsed = true
	if r.Terminal {
		_, _ = io.WriteString(r.Stderr, "lk: reading "+what+" from standard input, end with Ctrl-D\n")
	}
	return r.Stdin, nil
}

func inputError(name string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errTooLong):
		return failed("file", name+" is too large")
	case errors.Is(err, os.ErrNotExist):
		return failed("file", name+" does not exist")
	case errors.Is(err, os.ErrPermission):
		return failed("file", name+" may not be read")
	}
	return failed("file", name+" cannot be read")
}

// file reads a file, or standard input for "-".
func (r *run) file(name, what string, limit int64) ([]byte, error) {
	if name == "-" {
		return r.stdin(limit, what)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, inputError("the file for "+what, err)
	}
	defer func() { _ = f.Close() }()
	b, err := readAll(f, limit)
	return b, inputError("the file for "+what, err)
}

// textOf is the text itself, or what - or @FILE name.
func (r *run) textOf(what, given string, limit int64) ([]byte, error) {
	if given == "-" {
		return r.stdin(limit, what)
	}
	if name, ok := strings.CutPrefix(given, "@"); ok {
		return r.file(name, what, limit)
	}
	return []byte(given), nil
}

// secretText reads a secret. The line break that editors and echo put at the end
// is no part of it.
func (r *run) secretText(flag, given string) (secret.Text, error) {
	b, err := r.textOf("--"+flag, given, maxSecret)
	if err != nil {
		return secret.Text{}, err
	}
	defer clear(b)
	if given == "-" || strings.HasPrefix(given, "@") {
		trimmed := bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
		if len(trimmed) == 0 {
			return secret.Text{}, wrongCall("--%s is empty", flag)
		}
		return secret.New(trimmed), nil
	}
	return secret.New(b), nil
}

const microPerCredit = 1_000_000

// parseAmount reads micro-credits, or credits with up to six decimals and the
// suffix cr. No float is involved.
func parseAmount(s string) (int64, bool) {
	number, credits := strings.CutSuffix(s, "cr")
	if !credits {
		n, err := strconv.ParseInt(s, 10, 64)
		return n, err == nil
	}
	digits, negative := strings.CutPrefix(number, "-")
	whole, fraction, dot := strings.Cut(digits, ".")
	if whole == "" || dot && fraction == "" || len(fraction) > 6 || strings.Trim(whole+fraction, "0123456789") != "" {
		return 0, false
	}
	w, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || w > math.MaxInt64/microPerCredit-1 {
		return 0, false
	}
	f, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	if err != nil {
		return 0, false
	}
	n := w*microPerCredit + f
	if negative {
		n = -n
	}
	return n, true
}

// showAmount writes micro-credits so that [parseAmount] reads them back.
func showAmount(n int64) string {
	sign := ""
	u := uint64(n)
	if n < 0 {
		sign, u = "-", -u
	}
	s := strconv.FormatUint(u/microPerCredit, 10)
	if f := u % microPerCredit; f != 0 {
		s += "." + strings.TrimRight(strconv.FormatUint(f+microPerCredit, 10)[1:], "0")
	}
	return sign + s + "cr"
}
