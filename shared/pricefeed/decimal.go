package pricefeed

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
)

// Bounds of a decimal: what any published price needs, many times over.
const (
	maxDecimal  = 64
	maxExponent = 60
	// maxRate is 1,000 USD per unit, as in the price book.
	maxRate = 1_000_000_000_000_000
)

var (
	errNotDecimal = errors.New("the price is not a decimal number")
	errNegative   = errors.New("the price is negative")
	errTooFine    = errors.New("the price does not come out to a whole millionth of a millionth of a USD")
	errTooHigh    = errors.New("the price is above 1,000 USD per unit")
)

// decimalText is the number's digits as they stand in the feed: numbers and
// strings are both in use.
func decimalText(raw json.RawMessage) (string, bool) {
	if len(raw) > maxDecimal+2 {
		return "", false
	}
	var n json.Number
	if json.Unmarshal(raw, &n) != nil {
		return "", false
	}
	return n.String(), n != ""
}

// parseRate computes text x 10^shift / div exactly and rounds it half to even to
// a whole number, if that moves it by less than a thousandth. What is left to
// round in published prices is dust of binary floats (0.49299999999999994), and
// rates per hour.
func parseRate(text string, shift int, div int64) (int64, error) {
	digits, exponent, err := splitDecimal(text)
	if err != nil {
		return 0, err
	}
	mantissa, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return 0, errNotDecimal
	}
	exponent += shift
	denominator := big.NewInt(div)
	if exponent >= 0 {
		mantissa.Mul(mantissa, pow10(exponent))
	} else {
		denominator.Mul(denominator, pow10(-exponent))
	}
	q, rest := new(big.Int).QuoRem(mantissa, denominator, new(big.Int))
	twice := new(big.Int).Lsh(rest, 1)
	if c := twice.Cmp(denominator); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
		rest.Sub(denominator, rest)
	}
	if rest.Sign() != 0 && new(big.Int).Mul(rest, big.NewInt(1000)).Cmp(mantissa) >= 0 {
		return 0, errTooFine
	}
	if !q.IsInt64() || q.Int64() > maxRate {
		return 0, errTooHigh
	}
	return q.Int64(), nil
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// splitDecimal takes a JSON number apart: digits x 10^exponent.
func splitDecimal(text string) (digits string, exponent int, err error) {
	if len(text) > maxDecimal {
		return "", 0, errNotDecimal
	}
	number, negative := strings.CutPrefix(text, "-")
	number, e, hasExponent := strings.Cut(strings.ToLower(number), "e")
	if hasExponent {
		sign := strings.TrimLeft(e, "+-")
		if len(e)-len(sign) > 1 || sign == "" || strings.Trim(sign, "0123456789") != "" || len(sign) > 4 {
			return "", 0, errNotDecimal
		}
		if exponent, err = strconv.Atoi(strings.TrimPrefix(e, "+")); err != nil || exponent > maxExponent || exponent < -maxExponent {
			return "", 0, errNotDecimal
		}
	}
	whole, fraction, dot := strings.Cut(number, ".")
	digits = whole + fraction
	if whole == "" || dot && fraction == "" || strings.Trim(digits, "0123456789") != "" {
		return "", 0, errNotDecimal
	}
	if negative && strings.Trim(digits, "0") != "" {
		return "", 0, errNegative
	}
	return digits, exponent - len(fraction), nil
}
