package speech

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Milliseconds reads a JSON number of seconds as whole milliseconds, rounded to
// the nearest, without floating point: durations are billed. ok is false for
// negative numbers and for more than a year.
func Milliseconds(seconds json.Number) (ms int64, ok bool) {
	s := strings.ToLower(string(seconds))
	if len(s) == 0 || len(s) > 40 || s[0] == '-' || s[0] == '+' {
		return 0, false
	}
	s, expText, hasExp := strings.Cut(s, "e")
	exp := 3
	if hasExp {
		e, err := strconv.Atoi(expText)
		if err != nil || e < -40 || e > 9 {
			return 0, false
		}
		exp += e
	}
	whole, frac, _ := strings.Cut(s, ".")
	digits := whole + frac
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	// digits × 10^(exp - len(frac)) milliseconds.
	shift := exp - len(frac)
	round := false
	if shift < 0 {
		cut := len(digits) + shift
		if cut < 0 {
			return 0, true
		}
		round = digits[cut] >= '5'
		digits = "0" + digits[:cut]
	} else {
		digits += strings.Repeat("0", shift)
	}
	ms, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || ms > 366*24*3600*1000 {
		return 0, false
	}
	if round {
		ms++
	}
	return ms, true
}

// Seconds renders milliseconds as a JSON number of seconds, such as 1.5.
func Seconds(ms int64) json.Number {
	s := strconv.FormatInt(ms/1000, 10)
	if r := ms % 1000; r != 0 {
		s += "." + strings.TrimRight(string(pad(nil, r, 3)), "0")
	}
	return json.Number(s)
}
