package law

import (
	"slices"
	"time"
)

// delay is one sample above the base of its session.
type delay struct {
	at    time.Time
	above time.Duration
}

// rampTime is how far back a rise of the queue is looked for.
const rampTime = 1500 * time.Millisecond

// onset is when the queue began that stood within the last window; zero if there
// is none.
func onset(ramp []delay, window time.Duration) time.Time {
	if len(ramp) == 0 {
		return time.Time{}
	}
	now := len(ramp) - len(after(ramp, ramp[len(ramp)-1].at.Add(-window)))
	return ramp[foot(ramp, now+highest(ramp[now:]))].at
}

// foot is where the way up to the top began.
func foot(ramp []delay, top int) int {
	i := top
	for i > 0 && ramp[i-1].above > ramp[top].above/12 {
		i--
	}
	return i
}

// end is the last sample of the way down from the top.
func end(ramp []delay, top int) int {
	i := top
	for i+1 < len(ramp) && ramp[i+1].above > ramp[top].above/12 {
		i++
	}
	return i
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

// calmed takes the median of every three neighbours: what one packet waited for
// a host is no queue.
func calmed(ramp []delay) []delay {
	calm := slices.Clone(ramp)
	for i := 1; i+1 < len(ramp); i++ {
		a, b, c := ramp[i-1].above, ramp[i].above, ramp[i+1].above
		calm[i].above = max(min(a, b), min(max(a, b), c))
	}
	return calm
}

// turning is where a queue began to leave: the last sample near the highest.
func turning(ramp []delay) int {
	top := highest(ramp)
	for i := len(ramp) - 1; i > top; i-- {
		if ramp[i].above > ramp[top].above*7/8 {
			return i
		}
	}
	return top
}

// level is the delay at a time, between the samples before and after it.
func level(ramp []delay, at time.Time) (d time.Duration, known bool) {
	next, exact := slices.BinarySearchFunc(ramp, at, func(d delay, at time.Time) int { return d.at.Compare(at) })
	switch {
	case exact:
		return ramp[next].above, true
	case next == 0 || next == len(ramp) || ramp[next].at.Sub(ramp[next-1].at) > subWindow/2:
		return 0, false
	}
	a, b := ramp[next-1], ramp[next]
	share := float64(at.Sub(a.at)) / float64(b.at.Sub(a.at))
	return a.above + time.Duration(share*float64(b.above-a.above)), true
}

// after is the part of a ramp from a time on.
func after(ramp []delay, at time.Time) []delay {
	i, _ := slices.BinarySearchFunc(ramp, at, func(d delay, at time.Time) int { return d.at.Compare(at) })
	return ramp[i:]
}

// pinned reports whether a queue stood at its limit: it may have overflowed.
func pinned(ramp []delay) bool {
	levels := make([]time.Duration, len(ramp))
	for i, d := range ramp {
		levels[i] = d.above
	}
	slices.Sort(levels)
	return levels[len(levels)/2] > levels[len(levels)-1-len(levels)/10]*15/16
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
