package rig

import (
	"math"
	"slices"
	"time"
)

// Spread is the median and the quartiles of figures of several rounds.
type Spread struct {
	Median float64 `json:"median"`
	Q1     float64 `json:"q1"`
	Q3     float64 `json:"q3"`
}

// SpreadOf summarises; figures that are no numbers are left out. It is zero
// without figures.
func SpreadOf(v []float64) Spread {
	kept := make([]float64, 0, len(v))
	for _, x := range v {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			kept = append(kept, x)
		}
	}
	slices.Sort(kept)
	return Spread{quantile(kept, 0.5), quantile(kept, 0.25), quantile(kept, 0.75)}
}

// quantile interpolates between the two figures around it.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	at := q * float64(len(sorted)-1)
	low := int(at)
	if low+1 >= len(sorted) {
		return sorted[low]
	}
	return sorted[low] + (at-float64(low))*(sorted[low+1]-sorted[low])
}

// Quantile of durations in milliseconds, NaN without any.
func Quantile(d []time.Duration, q float64) float64 {
	if len(d) == 0 {
		return math.NaN()
	}
	v := make([]float64, len(d))
	for i, x := range d {
		v[i] = float64(x) / float64(time.Millisecond)
	}
	slices.Sort(v)
	return quantile(v, q)
}
