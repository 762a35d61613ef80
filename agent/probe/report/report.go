// Package report shows what a session measured: as text with a histogram, as one
// line or row, and as JSON.
package report

import (
	"fmt"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
)

// threshold is the wait at the median from which a direction is named.
const threshold = 200 * time.Microsecond

// Report is one session's result.
type Report struct {
	probe.Result                  // Samples are not used
	Summary      stats.Summary    // of the newest packets
	Histogram    Histogram        // of all
	Extensions   probe.Extensions // that the packets carried
	Drops        probe.Drops      // of all sessions that were measured together
	// Of a report of an interval: when it began and ended. Zero for the whole run.
	From, To time.Time
}

// Millis is d in milliseconds.
func Millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// Target is what was probed, with the address that its name stands for and where
// from, where that was chosen.
func (r Report) Target() string {
	target := r.host()
	if addr := r.Addr.Addr(); addr.IsValid() && addr.String() != r.Session.Host {
		target += fmt.Sprintf(" (%v)", addr)
	}
	if local := r.Session.Local; local != (netip.AddrPort{}) {
		target += " from " + probe.LocalName(local)
	}
	return target
}

func (r Report) host() string {
	if r.Session.Port == 0 {
		return r.Session.Host
	}
	host := r.Session.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, r.Session.Port)
}

// Asked is the rate that was asked for, packets a second.
func (r Report) Asked() float64 { return float64(time.Second) / float64(r.Session.Interval) }

// Kept reports whether the rate asked for was achieved, so far as the randomness
// of the gaps lets one say. Where nothing could be measured it was not tried.
func (r Report) Kept() bool {
	const part, deviation = 0.02, 0.29 // of a gap that is drawn from half to one and a half
	n := float64(r.Totals.Sent)
	return n < 2 || r.Blind > 0 || r.Rate() >= r.Asked()*(1-part-3*deviation/math.Sqrt(n))
}

// sampled reports whether there is a round trip to show.
func (r Report) sampled() bool { return r.Summary.Samples > r.Summary.Lost }

// noRTT says why there is no round trip; "" if there is.
func (r Report) noRTT() string {
	switch {
	case r.sampled():
		return ""
	case r.Totals.Sent == 0:
		return "no packet was sent"
	case r.Totals.Received == 0:
		return "no packet was answered"
	}
	return "no answer has a usable timestamp"
}

// noOneWay says why there are no one-way delays; "" if there are.
func (r Report) noOneWay() string {
	switch {
	case r.Summary.HasOneWay:
		return ""
	case !r.sampled():
		return r.noRTT()
	case r.Impossible > 0:
		return "the reflector's times are impossible: sent before received, or held for longer than the round trip"
	}
	return "answers of this kind have no timestamps of the other end"
}

// perOctave is how many buckets a doubling of the round trip has.
const perOctave = 4

// Histogram counts round trips in buckets that grow by a fourth root of two.
type Histogram map[int]int

// Add counts the answered samples.
func (h Histogram) Add(samples []probe.Sample) {
	for _, s := range samples {
		if !s.Lost && s.RTT > 0 {
			h[int(math.Floor(math.Log2(float64(s.RTT))*perOctave))]++
		}
	}
}

// write draws the histogram with a bar a bucket, merged until it fits.
func (h Histogram) write(b *strings.Builder) {
	const rows, width = 20, 50
	low, high, total := math.MaxInt, math.MinInt, 0
	for bucket, n := range h {
		low, high, total = min(low, bucket), max(high, bucket), total+n
	}
	if total == 0 {
		return
	}
	step := (high-low)/rows + 1
	bars := make([]int, (high-low)/step+1)
	most := 0
	for bucket, n := range h {
		i := (bucket - low) / step
		bars[i] += n
		most = max(most, bars[i])
	}
	for i, n := range bars {
		from := math.Exp2(float64(low+i*step)/perOctave) / float64(time.Millisecond)
		bar := strings.Repeat("█", (n*width+most-1)/most)
		fmt.Fprintf(b, "%9.3f ms %-*s %d\n", from, width, bar, n)
	}
}
