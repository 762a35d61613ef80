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
	Least     time.Duration // of the window: a queue that stands is seen by all
	Slope     float64       // of the delay, in seconds a second
	Ways                    // median of the newest four
	Lost      float64       // share over the loss window
	LostCount int

	surge, pair time.Duration // least of the newest four, and of the newest two
	leg         Leg           // that the delays are of
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

const (
	newest = 4  // samples that say whether it is still so
	most   = 64 // samples of a usual window: more need memory of their own
	// closer packets than usual are sent after one that was late: of these two tell of a queue unless it leaves.
	closer = 15 * time.Millisecond
)

// read looks at the newest samples that say what was from since on. It reports
// no samples where there are too few of them or where they are stale.
func (c Config) read(session *plan.Session, leg Leg, since, now time.Time) Reading {
	r := Reading{Session: session, Base: session.Base, leg: leg}
	since = since.Add(session.Lag)
	c.countLoss(&r, since, now)
	var room [most]plan.Sample
	window := c.window(room[:0], session, since, now)
	r.Samples = len(window)
	if r.Samples == 0 {
		return r
	}
	var some [most]time.Duration
	delays := some[:0]
	var line Line
	for i := range window {
		s := &window[i]
		above := leg.Above(s, &session.Base)
		s.At = leg.Begins(s, &session.Base)
		line.Add(s.At.Sub(window[0].At), above)
		delays = append(delays, above)
	}
	r.Slope, _ = line.Fit()
	last := delays[:min(newest, len(delays))]
	r.surge, r.pair = slices.Min(last), slices.Min(last[:len(last)/2])
	if len(last) > 1 && last[0] < last[1]*9/10 && window[0].At.Sub(window[1].At) < closer {
		r.surge, r.pair = 0, 0 // a burst that leaves
	}
	var few [newest]time.Duration
	r.Recent = median(append(few[:0], last...))
	r.Median = median(delays) // now they are sorted
	r.Least, r.Low, r.Tail = delays[0], quantile.Upper(delays, 0.25), quantile.Of(delays, 0.9)
	if window[0].HasOneWay {
		var there, back [newest]time.Duration
		for i := range last {
			ways := waysOf(&window[i], &session.Base)
			there[i], back[i] = ways.Forward, ways.Back
		}
		r.Ways = Ways{median(there[:len(last)]), median(back[:len(last)])}
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
	from := plan.At(since)
	for i := len(session.Samples) - 1; i >= 0; i-- {
		s := &session.Samples[i]
		if s.Lost {
			continue
		}
		if s.At.Compare(from) < 0 || len(window) == 0 && now.Sub(s.At.Time().Add(s.RTT)) > stale+session.Pause {
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
	if r.Session.Lossless {
		return
	}
	from := now.Add(-c.LossWindow)
	if since.After(from) {
		from = since
	}
	counted := r.Session.Samples
	counted = counted[plan.FirstAt(counted, plan.At(from)):]
	for i := range counted {
		if counted[i].Lost {
			r.LostCount++
		}
	}
	if len(counted) > 0 {
		r.Lost = float64(r.LostCount) / float64(len(counted))
	}
}

// median sorts d and returns its middle, the upper of two.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return quantile.Upper(d, 0.5)
}
