package contender

import (
	"time"

	"github.com/detnet/detnet/bitrate"
)

// cake is cake-autorate 3.2 (github.com/lynxthecat/cake-autorate, defaults.sh and
// README.md): each answer that is more than a threshold above a slow baseline counts
// as delayed; three of the last six are bufferbloat, and the rate falls by 1 to 25 %;
// else it grows by up to 4 % under high load, and returns to a base rate under low.
// Delays are one-way: half the round trip, as its pinger fping takes them.
type cake struct {
	grow, delay, shrink time.Duration // avg_owd_delta_max_adjust_up, owd_delta_delay, avg_owd_delta_max_adjust_down
	baseline            map[int]float64
	last                time.Time // answer looked at
	window              [cakeWindow]float64
	next                int
	bloated, decayed    time.Time
	rate                bitrate.Rate
}

const (
	cakeEvery     = 50 * time.Millisecond // reflector_ping_interval by no_pingers
	cakeWindow    = 6                     // bufferbloat_detection_window
	cakeDetected  = 3                     // bufferbloat_detection_thr
	cakeUp        = 0.001
	cakeDown      = 0.9
	cakeLeastCut  = 0.99
	cakeMostCut   = 0.75
	cakeMostRaise = 1.04
	cakeReturn    = 0.01 // per decay
	cakeHighLoad  = 0.75
	cakeBloat     = 300 * time.Millisecond // bufferbloat_refractory_period
	cakeDecay     = time.Second            // decay_refractory_period
	// Its rates are for its user to set.
	cakeLeast, cakeBase, cakeMost = 10 * bitrate.Mbit, 100 * bitrate.Mbit, bitrate.Gbit
)

// newCake has the default thresholds, or for a LAN a sixtieth of them, which is half
// a millisecond one way.
func newCake(lan bool) *cake {
	c := &cake{grow: 10 * time.Millisecond, delay: 30 * time.Millisecond, shrink: 60 * time.Millisecond, baseline: map[int]float64{}, rate: cakeBase}
	if lan {
		c.grow, c.delay, c.shrink = c.grow/60, c.delay/60, c.shrink/60
	}
	return c
}

func (c *cake) total(s sight) bitrate.Rate {
	for _, p := range s.probes {
		if p.at.Sub(c.last) < cakeEvery {
			continue
		}
		c.last = p.at
		c.answer(p, s)
	}
	return c.rate
}

func (c *cake) answer(p probe, s sight) {
	owd := p.rtt.Seconds() / 2
	base, known := c.baseline[p.session]
	if !known {
		base = owd
	}
	alpha := cakeUp
	if owd < base {
		alpha = cakeDown
	}
	base += alpha * (owd - base)
	c.baseline[p.session] = base
	c.window[c.next%cakeWindow] = owd - base
	c.next++
	delayed, mean := 0, 0.0
	for _, d := range c.window {
		mean += d / cakeWindow
		if d > c.delay.Seconds() {
			delayed++
		}
	}
	high := float64(s.used) > cakeHighLoad*float64(c.rate)
	rested := p.at.Sub(c.bloated) > cakeBloat
	switch {
	case delayed >= cakeDetected && rested:
		c.scale(cakeLeastCut - (cakeLeastCut-cakeMostCut)*between(mean, c.delay, c.shrink))
		c.bloated = p.at
	case delayed < cakeDetected && high && rested:
		c.scale(cakeMostRaise - (cakeMostRaise-1)*between(mean, c.grow, c.delay))
	case delayed < cakeDetected && !high && p.at.Sub(c.decayed) > cakeDecay:
		c.decayed = p.at
		if c.rate > cakeBase {
			c.rate = max(bitrate.Rate(float64(c.rate)*(1-cakeReturn)), cakeBase)
		} else {
			c.rate = min(bitrate.Rate(float64(c.rate)*(1+cakeReturn)), cakeBase)
		}
	}
}

func (c *cake) scale(by float64) {
	c.rate = min(max(bitrate.Rate(float64(c.rate)*by), cakeLeast), cakeMost)
}

// between is how far a delay is from one bound to another, 0…1.
func between(d float64, from, to time.Duration) float64 {
	return min(max((d-from.Seconds())/(to-from).Seconds(), 0), 1)
}
