package sense

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/quantile"
)

// Reading is what one session says now, as delay above its own base.
type Reading struct {
	Session   *plan.Session
	Base      plan.Base
	Samples   int
	Low       time.Duration // lower quartile: a queue delays every packet, a busy host some
	Median    time.Duration
	Tail      time.Duration // 90th percentile
	Recent    time.Duration // median of the newest four: how long the queue is now
	Surge     time.Duration // least of the newest four
	pair      time.Duration // least of the newest two
	Least     time.Duration // of the window: a queue that stands is seen by all
	Slope     float64       // of the delay, in seconds a second
	Forward   time.Duration // one-way variation of the newest four, median; both 0 if unknown
	Back      time.Duration
	Lost      float64 // share over the loss window
	LostCount int

	leg Leg // that the delays are of
}

// Jitter is the 90th percentile of delay variation (PDV, RFC 5481), over the least
// delay seen even where that is not known to be the path's.
func (r *Reading) Jitter() time.Duration { return r.Latency() - r.Base.Delay }

// Latency is the 90th percentile of the round trip.
func (r *Reading) Latency() time.Duration { return r.Tail + Above(r.Base) }

// Blind reports whether nothing is seen, not even that what was seen before is lost.
func (r *Reading) Blind() bool { return r.Samples == 0 && (r.LostCount < 2 || r.Base.Delay == 0) }

// Read is what one session says at now.
func (c Config) Read(session *plan.Session, now time.Time) Reading {
	return c.read(session, RoundTrip, time.Time{}, now)
}

const newest = 4 // samples that say whether it is still so

// read looks at the newest samples that say what was from since on. It reports
// no samples where there are too few of them or where they are stale.
func (c Config) read(session *plan.Session, leg Leg, since, now time.Time) Reading {
	r := Reading{Session: session, Base: session.Base, leg: leg}
	since = since.Add(session.Lag)
	c.countLoss(&r, since, now)
	var room [64]plan.Sample
	window := c.window(room[:0], session, since, now)
	r.Samples = len(window)
	if r.Samples == 0 {
		return r
	}
	var some [64]time.Duration
	delays := some[:0]
	for i := range window {
		s := &window[i]
		delays = append(delays, leg.above(s, &session.Base))
		s.At = leg.begins(s, &session.Base)
	}
	r.Slope = slope(window, delays)
	last := delays[:min(newest, len(delays))]
	r.Surge, r.pair = slices.Min(last), slices.Min(last[:len(last)/2])
	var few [newest]time.Duration
	r.Recent = median(append(few[:0], last...))
	slices.Sort(delays)
	r.Least = delays[0]
	r.Low, r.Median = quantile.Upper(delays, 0.25), quantile.Upper(delays, 0.5)
	r.Tail = quantile.Of(delays, 0.9)
	if window[0].HasOneWay {
		r.Forward, r.Back = oneWay(window[:len(last)], session.Base)
	}
	return r
}

// window appends the newest samples, the newest first; none if they are too few
// or too old. A sample of a slow signal sums up many packets: two of them will do,
// and those of before are of another time.
func (c Config) window(window []plan.Sample, session *plan.Session, since, now time.Time) []plan.Sample {
	least, span, stale := c.MinSamples, c.Window, c.Stale
	if session.Lag > 0 {
		least, span, stale = slowSamples, 0, c.Stale+session.Lag
	}
	for i := len(session.Samples) - 1; i >= 0; i-- {
		s := &session.Samples[i]
		if s.Lost {
			continue
		}
		if s.At.Before(since) || len(window) == 0 && now.Sub(s.At.Time().Add(s.RTT)) > stale+session.Pause {
			break
		}
		if len(window) > 0 {
			age := window[0].At.Sub(s.At)
			if age > stale || age > span && len(window) >= least {
				break
			}
		}
		window = append(window, *s)
	}
	if len(window) < least {
		return nil
	}
	return window
}

const slowSamples = 2

func (c Config) countLoss(r *Reading, since, now time.Time) {
	from := now.Add(-c.LossWindow)
	if since.After(from) {
		from = since
	}
	first, _ := slices.BinarySearchFunc(r.Session.Samples, plan.At(from), func(s plan.Sample, from plan.Instant) int { return s.At.Compare(from) })
	counted := r.Session.Samples[first:]
	for i := range counted {
		if counted[i].Lost {
			r.LostCount++
		}
	}
	if len(counted) > 0 {
		r.Lost = float64(r.LostCount) / float64(len(counted))
	}
}

func oneWay(window []plan.Sample, base plan.Base) (forward, back time.Duration) {
	var f, b [newest]time.Duration
	for i, s := range window {
		f[i], b[i] = s.Forward-base.Forward, s.Backward()-base.Back
	}
	return median(f[:len(window)]), median(b[:len(window)])
}

// median sorts d and returns its middle, the upper of two.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return quantile.Upper(d, 0.5)
}

// slope is that of the delays of a window against the time of sending, by least squares.
func slope(window []plan.Sample, delays []time.Duration) float64 {
	n := float64(len(window))
	if n < 2 {
		return 0
	}
	var st, sd, stt, std float64
	for i := range window {
		t, d := window[i].At.Sub(window[0].At).Seconds(), delays[i].Seconds()
		st, sd, stt, std = st+t, sd+d, stt+t*t, std+t*d
	}
	tt, td := n*stt-st*st, n*std-st*sd
	if tt <= 0 {
		return 0
	}
	return td / tt
}
