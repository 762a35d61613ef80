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
// second. A packet whose offset is further from the line than its wait explains
// shows that a clock was stepped: the line begins anew with it.
type clock struct {
	points [clockPoints]point
	n      int // points ever
	best   point
	second int64
	line   line
	drawn  bool // there is a line
	// slowest is the longest round trip of the line's packets: what it is above
	// the base, once that is known, may be in the line.
	slowest time.Duration
	steps   int // since the session began
}

type point struct {
	at     time.Duration
	offset time.Duration
	rtt    time.Duration
}

type line struct {
	at     time.Duration
	offset time.Duration // at at
	drift  float64       // ns per ns
}

const (
	clockPoints = 32
	// steepest is how far apart clocks run that are not broken.
	steepest = 500e-6
	// noise is how far a packet may be off the line for no reason.
	noise = 50 * time.Microsecond
	// wander is how much faster than fitted clocks may drift apart.
	wander = 20e-6
	// settled is how many points make a line that is no longer level.
	settled = 4
)

// add considers a sample as a point of the line.
func (c *clock) add(s probe.Sample, base, sent time.Duration) {
	here := point{sent, (s.Forward - s.Backward) / 2, s.RTT}
	if second := int64(sent / time.Second); second != c.second {
		if c.best.rtt != 0 {
			c.points[c.n%clockPoints] = c.best
			c.n++
			c.fit()
		}
		c.best, c.second = point{}, second
	}
	switch off := c.off(here, base); {
	case !c.drawn:
		c.begin(here)
	case off > 0:
		if off > max(0, c.slowest-base)/2 {
			c.steps++
		}
		c.begin(here)
	}
	if s.RTT > base+max(base/10, noise) {
		return
	}
	if c.best.rtt == 0 || s.RTT < c.best.rtt {
		if c.n == 0 {
			c.begin(here)
		}
		c.best = here
	}
}

// begin draws the line anew, level through p.
func (c *clock) begin(p point) {
	*c = clock{second: c.second, steps: c.steps, drawn: true, line: line{p.at, p.offset, 0}, slowest: p.rtt}
}

// off is by how much p is further from the line than a packet that waited for so
// long, in whichever direction, can be; 0 or less: it may be on it.
func (c *clock) off(p point, base time.Duration) time.Duration {
	slope, since := steepest, p.at-c.line.at
	if c.n >= settled {
		slope, since = wander, p.at-c.points[(c.n-1)%clockPoints].at
	}
	most := (p.rtt-base)/2 + noise + time.Duration(slope*float64(since.Abs()))
	return (p.offset - c.offset(p.at)).Abs() - most
}

// offset is where the line is at an instant.
func (c *clock) offset(at time.Duration) time.Duration {
	return c.line.offset + time.Duration(c.line.drift*float64(at-c.line.at))
}

// fit draws the line of least squares; with few points it is level.
func (c *clock) fit() {
	n := min(c.n, clockPoints)
	var meanAt, meanOffset float64
	origin := c.points[0].at
	first := c.points[0].offset // differences, for an offset of years has no nanoseconds in a float
	c.slowest = 0
	for _, p := range c.points[:n] {
		c.slowest = max(c.slowest, p.rtt)
		meanAt += float64(p.at-origin) / float64(n)
		meanOffset += float64(p.offset-first) / float64(n)
	}
	var up, across float64
	for _, p := range c.points[:n] {
		d := float64(p.at-origin) - meanAt
		up += d * (float64(p.offset-first) - meanOffset)
		across += d * d
	}
	c.line = line{at: origin + time.Duration(meanAt), offset: first + time.Duration(meanOffset)}
	if n >= settled && across > 0 {
		c.line.drift = min(max(up/across, -steepest), steepest)
	}
}

// split divides a packet's wait, its round trip above the base, between the two
// directions.
func (c *clock) split(s probe.Sample, base, sent time.Duration) (forward, backward time.Duration) {
	wait := max(0, s.RTT-base)
	forward = min(max(0, s.Forward-c.offset(sent)-base/2), wait)
	return forward, wait - forward
}
