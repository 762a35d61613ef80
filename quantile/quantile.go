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
	return ascending[rankOf(q, n)-1]
}

// rankOf is the nearest rank of a quantile of n values, 1 to n.
func rankOf(q float64, n int) int { return min(max(int(math.Ceil(q*float64(n)-rounding)), 1), n) }

// Select is Of values in any order, which it puts in another one: for a single quantile of
// many values it takes less time than to sort them (Hoare's quickselect).
func Select[T ~int64](values []T, q float64) T {
	n := len(values)
	if n == 0 {
		var none T
		return none
	}
	k := rankOf(q, n) - 1
	for low, high := 0, n-1; low < high; {
		// Of three, the middle one is rarely near an end.
		pivot := max(min(values[low], values[high]), min(max(values[low], values[high]), values[low+(high-low)/2]))
		i, j := low, high
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for pivot < values[j] {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return values[k]
		}
	}
	return values[k]
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
