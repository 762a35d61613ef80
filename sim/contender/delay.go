package contender

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/queue"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/quantile"
)

// swift is Swift's rule (Kumar et al., SIGCOMM 2020, algorithm 1) on a rate instead of a
// window: below the target delay it adds, above it takes
// min(β × (delay − target) ÷ delay, max_mdf), once a round trip.
type swift struct {
	changed time.Time
	delays  []time.Duration
}

const (
	swiftBeta   = 0.8
	swiftMaxMDF = 0.5
	swiftAdd    = 3 * bitrate.Mbit // a round trip of the control loop: 10M a second
	swiftTarget = 0.5              // of what the app allows above its base
)

func (x *swift) total(s sight) bitrate.Rate {
	for _, p := range s.probes {
		x.delays = append(x.delays, p.above)
	}
	if s.now.Sub(x.changed) < feedback || len(x.delays) < 4 {
		return s.was
	}
	newest := slices.Clone(x.delays[max(0, len(x.delays)-12):])
	slices.Sort(newest)
	delay, target := quantile.Upper(newest, 0.5).Seconds(), swiftTarget*s.target.Seconds()
	x.changed, x.delays = s.now, x.delays[:0]
	if delay <= target {
		if !senders.InUse(s.used, s.was) { // the limit is not what holds them
			return s.was
		}
		return s.was + swiftAdd
	}
	less := 1 - min(swiftBeta*(delay-target)/delay, swiftMaxMDF)
	return bitrate.Rate(float64(min(s.was, s.used)) * less)
}

// bbr is BBR's estimator (Cardwell et al., ACM Queue 2016; draft-cardwell-iccrg-bbr): the
// capacity is the highest delivery rate of the last ten round trips, and what is let
// through swings around it by its gains. What was delivered is what was sent less what
// the queue grew by.
type bbr struct {
	round     time.Time
	rates     []bitrate.Rate // delivered, a round trip each, the newest last
	phase     int
	delays    []queue.Delay
	congested bool // a queue was seen: before, the senders decide and nothing says what fits
}

var bbrGains = [...]float64{1.25, 0.75, 1, 1, 1, 1, 1, 1}

const bbrRounds = 10

func (x *bbr) total(s sight) bitrate.Rate {
	for _, p := range s.probes {
		x.delays = append(x.delays, queue.Delay{At: p.at, Above: p.above})
		x.congested = x.congested || p.above > s.target
	}
	if s.now.Sub(x.round) < feedback {
		return s.was
	}
	slope, _ := queue.Fit(x.delays)
	x.round, x.delays = s.now, x.delays[:0]
	x.rates = append(x.rates, bitrate.Rate(float64(s.used)/(1+max(slope, 0))))
	x.rates = x.rates[max(0, len(x.rates)-bbrRounds):]
	if !x.congested {
		return s.was
	}
	x.phase = (x.phase + 1) % len(bbrGains)
	return bitrate.Rate(float64(slices.Max(x.rates)) * bbrGains[x.phase])
}
