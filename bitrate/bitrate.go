// Package bitrate is the unit of every limit and every measured rate in
// detnet: bits per second, written the way Kubernetes and Cilium read it.
//
// What people wrote on a pod is read by ParseLimit, as kubelet and the CNI read
// it; what detnet decides by itself by Parse, which has narrower bounds. Cilium
// (v1.20) takes whatever resource.Quantity takes, divides by eight and treats 0,
// 7 and 100m as "no limit"; a limit that silently means "none" must be refused,
// not written.
package bitrate

import (
	"errors"
	"math"
	"strconv"
)

// Rate is a bit rate in bit/s, decimal (1 Mbit = 10^6 bit/s).
type Rate int64

// Units of Rate.
const (
	Bit  Rate = 1
	Kbit      = 1_000 * Bit
	Mbit      = 1_000 * Kbit
	Gbit      = 1_000 * Mbit
)

// Bounds of a limit that detnet chooses. Below Min a single 64 KiB
// segment outlives Cilium's 2 s drop horizon (65,536 B × 8 / 2 s = 262 kbit/s);
// the floor leaves a margin of four.
const (
	Min = 1 * Mbit
	Max = 400 * Gbit
)

// ErrRange reports a well-formed rate outside the bounds.
var ErrRange = errors.New("rate out of range")

// Parse reads a rate of detnet's own configuration, such as "100M", "1G" or
// "2500k", and returns it in bit/s: any resource.Quantity from Min to Max.
func Parse(s string) (Rate, error) { return parse(s, Min, Max) }

// FromMbit returns v Mbit/s as a Rate.
func FromMbit(v float64) Rate { return Rate(math.Round(v * float64(Mbit))) }

// Mbit returns r in Mbit/s.
func (r Rate) Mbit() float64 { return float64(r) / float64(Mbit) }

// Bytes returns r in byte/s, rounded down.
func (r Rate) Bytes() uint64 { return uint64(max(r, 0)) / 8 }

// String returns the shortest exact annotation value for r, such as "85M".
func (r Rate) String() string {
	for _, u := range []struct {
		unit Rate
		text string
	}{{Gbit, "G"}, {Mbit, "M"}, {Kbit, "k"}} {
		if r != 0 && r%u.unit == 0 {
			return strconv.FormatInt(int64(r/u.unit), 10) + u.text
		}
	}
	return strconv.FormatInt(int64(r), 10)
}

// Quantise rounds r down to a value worth writing: whole Mbit/s from 10 Mbit/s
// upwards, tenths below. Limits that differ by less are not worth an API write.
func (r Rate) Quantise() Rate {
	if r >= 10*Mbit {
		return r - r%Mbit
	}
	return r - r%(100*Kbit)
}

// Scale is r times by, cut to whole bit/s; by is not negative.
func Scale(r Rate, by float64) Rate { return Rate(float64(r) * by) }
