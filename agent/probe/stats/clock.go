package stats

import (
	"time"

	"github.com/detnet/detnet/agent/probe"
)

// clock tracks the offset between the two ends' clocks, so far as is needed to
// tell in which direction packets wait: a packet whose round trip is about the
// base has waited nowhere, and half the difference of its one-way delays is the
// offset, together with half the path's asymmetry, which does not vary. Clocks
// drift by up to some 100 ppm, so a line is fitted through one such packet a
// second.
type clock struct {
	points [clockPoints]point
	n      int // points ever
	best   point
	second int64
	line   line
}

type point struct {
	at     time.Duration
	offset time.Duration
	rtt    time.Duration
}

type line struct {
	at     time.Duration
	offset float64 // ns, at at
	drift  float64 // ns per ns
}

const (
	clockPoints = 32
	// steepest is how far apart clocks run that are not broken.
	steepest = 500e-6
)

// add considers a sample as a point of the line.
func (c *clock) add(s probe.Sample, base, sent time.Duration) {
	if second := int64(sent / time.Second); second != c.second {
		if c.best.rtt != 0 {
			c.points[c.n%clockPoints] = c.best
			c.n++
			c.fit()
		}
		c.best, c.second = point{}, second
	}
	if s.RTT > base+max(base/10, 50*time.Microsecond) {
		return
	}
	if c.best.rtt == 0 || s.RTT < c.best.rtt {
		c.best = point{sent, (s.Forward - s.Backward) / 2, s.RTT}
		if c.n == 0 {
			c.line = line{sent, float64(c.best.offset), 0}
		}
	}
}

// fit draws the line of least squares; with few points it is level.
func (c *clock) fit() {
	n := min(c.n, clockPoints)
	var meanAt, meanOffset float64
	origin := c.points[0].at
	for _, p := range c.points[:n] {
		meanAt += float64(p.at-origin) / float64(n)
		meanOffset += float64(p.offset) / float64(n)
	}
	var up, across float64
	for _, p := range c.points[:n] {
		d := float64(p.at-origin) - meanAt
		up += d * (float64(p.offset) - meanOffset)
		across += d * d
	}
	c.line = line{at: origin + time.Duration(meanAt), offset: meanOffset}
	if n >= 4 && across > 0 {
		c.line.drift = min(max(up/across, -steepest), steepest)
	}
}

// split returns what a packet's one-way delays are above half the base.
func (c *clock) split(s probe.Sample, base, sent time.Duration) (forward, backward time.Duration) {
	offset := time.Duration(c.line.offset + c.line.drift*float64(sent-c.line.at))
	return max(0, s.Forward-offset-base/2), max(0, s.Backward+offset-base/2)
}
