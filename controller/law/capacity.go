package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// delay is one sample above the base of its session.
type delay struct {
	at    time.Time
	above time.Duration
}

// rampTime is how far back a rise of the queue is looked for.
const rampTime = 1500 * time.Millisecond

// The queue tells the capacity. While the senders send B, and others X, into a
// link of capacity C, the delay grows by (B + X − C)/C seconds a second. The
// senders may have C − X.

// alone is what fits through if nobody else is there, from the slope while the
// senders sent inflow: C = B/(1 + slope). If others are there it is too little,
// never too much, as long as the queue falls.
func alone(inflow bitrate.Rate, slope float64) bitrate.Rate {
	return scale(inflow, 1/(1+slope))
}

// others is the share of the link that others use, from the slope on the way up
// while the senders sent high and on the way down while they sent low: two
// equations for C and X.
func others(up float64, high bitrate.Rate, down float64, low bitrate.Rate) (share float64, known bool) {
	if up == 0 || down == 0 || high <= low {
		return 0, false
	}
	c := float64(high-low) / (up - down)
	return (c*(1+down) - float64(low)) / c, true
}

// onset is when the present queue began; zero if there is none.
func onset(ramp []delay) time.Time {
	if len(ramp) == 0 {
		return time.Time{}
	}
	return ramp[foot(ramp, highest(ramp))].at
}

// foot is where the way up to the top began.
func foot(ramp []delay, top int) int {
	i := top
	for i > 0 && ramp[i-1].above > ramp[top].above/12 {
		i--
	}
	return i
}

// rising is the slope of the way up to the present queue; 0 if unclear.
func rising(ramp []delay) float64 {
	if len(ramp) == 0 {
		return 0
	}
	top := highest(ramp)
	// A burst makes a steep step of few samples; a lasting excess makes a ramp.
	part := below(ramp[foot(ramp, top):top+1], 7)
	if slope := straight(part); len(part) >= 4 && slope > 0.004 {
		return slope
	}
	return 0
}

// falling is the slope of the way down after a cut, of its lower part, where
// every patch of the cut has taken effect; 0 if unclear.
func falling(ramp []delay) float64 {
	if len(ramp) == 0 {
		return 0
	}
	top := highest(ramp)
	end := top
	for end < len(ramp) && ramp[end].above > ramp[top].above/12 {
		end++
	}
	for _, eighths := range []time.Duration{5, 7} {
		if slope := straight(below(ramp[top:end], eighths)); slope < -0.01 && slope > -0.85 {
			return slope
		}
	}
	return 0
}

func highest(ramp []delay) int {
	top := 0
	for i, d := range ramp {
		if d.above > ramp[top].above {
			top = i
		}
	}
	return top
}

// below keeps the samples up to so many eighths of the highest: a full queue
// has no slope.
func below(ramp []delay, eighths time.Duration) []delay {
	if len(ramp) == 0 {
		return nil
	}
	most := ramp[highest(ramp)].above * eighths / 8
	return slices.DeleteFunc(slices.Clone(ramp), func(d delay) bool { return d.above > most })
}

// straight is the slope of samples that lie on a line; 0 if they do not.
func straight(ramp []delay) float64 {
	slope, explained := fit(ramp)
	if len(ramp) < 3 || explained < 0.9 {
		return 0
	}
	return slope
}

// fit is the least-squares slope of the delay against the time of sending, in
// seconds a second, and the share of the variance that it explains.
func fit(ramp []delay) (slope, explained float64) {
	n := float64(len(ramp))
	if n < 2 {
		return 0, 0
	}
	var st, sd, stt, std, sdd float64
	for _, s := range ramp {
		t, d := s.at.Sub(ramp[0].at).Seconds(), s.above.Seconds()
		st, sd, stt, std, sdd = st+t, sd+d, stt+t*t, std+t*d, sdd+d*d
	}
	tt, dd, td := n*stt-st*st, n*sdd-sd*sd, n*std-st*sd
	if tt <= 0 || dd <= 0 {
		return 0, 0
	}
	return td / tt, td * td / (tt * dd)
}

// Hum is the small delay of a link that is nearly full: the packets of others
// that happen to be in the way. When it falls while the senders send as much
// as before, there is room again, although no queue says so.
type Hum struct {
	Since      time.Time
	At         time.Time
	Slow, Fast float64 // seconds
}

const (
	humSlow  = 12 * time.Second
	humFast  = 1200 * time.Millisecond
	humLearn = 4 * time.Second
	humLeast = 12e-6 // s; less is within the noise of any clock
)

// listen takes in the median delay of now and reports a lasting fall.
func (h *Hum) listen(now time.Time, d time.Duration) bool {
	if h.Since.IsZero() || now.Sub(h.At) > 2*time.Second {
		*h = Hum{Since: now, At: now, Slow: d.Seconds(), Fast: d.Seconds()}
		return false
	}
	dt := now.Sub(h.At)
	h.At = now
	learning := now.Sub(h.Since)
	slow := min(humSlow, learning)
	h.Slow += (d.Seconds() - h.Slow) * min(1, float64(dt)/float64(slow))
	h.Fast += (d.Seconds() - h.Fast) * min(1, float64(dt)/float64(min(humFast, learning)))
	if learning < humLearn || h.Fast > 0.5*h.Slow || h.Slow-h.Fast < humLeast {
		return false
	}
	*h = Hum{}
	return true
}
