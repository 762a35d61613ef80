package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// reading is what one session says now, as delay above its own base.
type reading struct {
	session   *plan.Session
	path      *Path
	samples   int
	low       time.Duration // lower quartile: a queue delays every packet, a busy host some
	median    time.Duration
	tail      time.Duration // 90th percentile
	recent    time.Duration // median of the newest four: how long the queue is now
	surge     time.Duration // least of the newest four
	pair      time.Duration // least of the newest two
	slope     float64       // of the delay, in seconds a second
	forward   time.Duration // one-way variation of the newest four, median; both 0 if unknown
	back      time.Duration
	lost      float64 // share over the loss window
	lostCount int
}

const newest = 4 // samples that say whether it is still so

// read looks at the newest samples that say what was from since on. It reports
// no samples where there are too few of them or where they are stale.
func (l adaptive) read(session *plan.Session, p *Path, since, now time.Time) reading {
	r := reading{session: session, path: p}
	since = since.Add(session.Lag)
	l.countLoss(&r, since, now)
	window := l.window(session, since, now)
	r.samples = len(window)
	if r.samples == 0 {
		return r
	}
	base := p.base()
	delays := make([]time.Duration, len(window))
	ramp := make([]delay, len(window))
	for i, s := range window {
		delays[i] = s.RTT - base
		ramp[i] = delay{s.At, s.RTT - base}
	}
	r.slope, _ = fit(ramp)
	last := delays[:min(newest, len(delays))]
	r.recent, r.surge = median(slices.Clone(last)), slices.Min(last)
	r.pair = slices.Min(last[:len(last)/2])
	slices.Sort(delays)
	r.low, r.median = delays[len(delays)/4], delays[len(delays)/2]
	r.tail = delays[(len(delays)*9-1)/10]
	if window[0].HasOneWay {
		r.forward, r.back = oneWay(window[:len(last)], p)
	}
	return r
}

// window is the newest samples, the newest first; none if they are too few or
// too old. A sample of a slow signal sums up many packets: two of them will do,
// and those of before are of another time.
func (l adaptive) window(session *plan.Session, since, now time.Time) []plan.Sample {
	least, span, stale := l.MinSamples, l.Window, l.Stale
	if session.Lag > 0 {
		least, span, stale = slowSamples, 0, l.Stale+session.Lag
	}
	var window []plan.Sample
	for _, s := range slices.Backward(session.Samples) {
		if s.Lost {
			continue
		}
		if s.At.Before(since) || len(window) == 0 && now.Sub(s.At.Add(s.RTT)) > stale {
			break
		}
		if len(window) > 0 {
			age := window[0].At.Sub(s.At)
			if age > stale || age > span && len(window) >= least {
				break
			}
		}
		window = append(window, s)
	}
	if len(window) < least {
		return nil
	}
	return window
}

const slowSamples = 2

func (l adaptive) countLoss(r *reading, since, now time.Time) {
	total := 0
	for _, s := range slices.Backward(r.session.Samples) {
		if s.At.Before(since) || now.Sub(s.At) > l.LossWindow {
			break
		}
		total++
		if s.Lost {
			r.lostCount++
		}
	}
	if total > 0 {
		r.lost = float64(r.lostCount) / float64(total)
	}
}

func oneWay(window []plan.Sample, p *Path) (forward, back time.Duration) {
	f := make([]time.Duration, len(window))
	b := make([]time.Duration, len(window))
	for i, s := range window {
		f[i], b[i] = s.Forward-p.Forward.value(), s.Backward-p.Back.value()
	}
	return median(f), median(b)
}

// median sorts d and returns its middle.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
