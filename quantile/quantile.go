// Package quantile is the one definition of a quantile in detnet: the nearest
// rank. Of the values 1 to 100 the p99 is 99; every quantile is a value that was
// measured, and none is between two of them. Only the laws "aimd" and "step" have
// formulas of their own: those that they reproduce.
package quantile

import "math"

// rounding is what q·n may exceed a whole number by because q, as a binary
// fraction, is not quite what was written: 0.07·100 is a little more than 7.
const rounding = 1e-9

// Of returns the q-quantile, 0…1, of values in ascending order: the least one
// that at least a part q of them does not exceed, which has the rank ⌈q·n⌉. Of no
// values it is the zero value: look at their number first.
func Of[T any](ascending []T, q float64) T {
	n := len(ascending)
	if n == 0 {
		var none T
		return none
	}
	rank := int(math.Ceil(q*float64(n) - rounding))
	return ascending[min(max(rank, 1), n)-1]
}

// Upper is the largest value that is a q-quantile, 0…1: where two are, as the middle
// of an even number, it is the later one, with the rank ⌊q·n⌋ + 1. Decisions that
// must not miss a rise take it: of two samples it is the higher. Of no values it is
// the zero value.
func Upper[T any](ascending []T, q float64) T {
	n := len(ascending)
	if n == 0 {
		var none T
		return none
	}
	return ascending[min(int(q*float64(n)+rounding), n-1)]
}
