package queue

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

const (
	ms   = time.Millisecond
	mbit = bitrate.Mbit
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestCapacityFromSlopes(t *testing.T) {
	ramp := func(from, to time.Duration, slope float64) []Delay {
		var r []Delay
		at, above := t0, from
		for slope > 0 && above < to || slope < 0 && above > to {
			r = append(r, Delay{at, above})
			at, above = at.Add(10*ms), above+time.Duration(slope*float64(10*ms))
		}
		return r
	}
	// 150 into 200 falls by a quarter, 300 rises by a half.
	down, _, _ := Falling(ramp(42*ms, 0, -0.25))
	up := Rising(ramp(0, 42*ms, 0.5))
	if math.Abs(down+0.25) > 0.01 || math.Abs(up-0.5) > 0.01 {
		t.Fatalf("slopes %v, %v", down, up)
	}
	// Senders that faltered as their limits changed: it stood for 30 ms on its way.
	faltered := slices.Concat(ramp(35*ms, 15*ms, -0.9), ramp(15*ms, 0, -0.25))
	for i := range faltered {
		faltered[i].At = t0.Add(time.Duration(i) * 10 * ms)
	}
	if slope, _, _ := Falling(faltered); math.Abs(slope+0.25) > 0.02 {
		t.Errorf("the way down after faltering is %v, want -0.25", slope)
	}
	if c := (Way{Slope: down, Inflow: 150 * mbit}).Alone(); max(c-200*mbit, 200*mbit-c) > 3*mbit {
		t.Errorf("capacity %v, want 200M", c)
	}
	if room, others, known := Between(Way{Slope: up, Inflow: 300 * mbit}, Way{Slope: down, Inflow: 150 * mbit}); !known || others > 6*mbit || room < 194*mbit || room > 206*mbit {
		t.Errorf("%v fit, others use %v, want 200M and none", room, others)
	}
	// With 60 of others in it, 90 falls by a quarter and 240 rises by a half.
	if room, others, known := Between(Way{Slope: 0.5, Inflow: 240 * mbit}, Way{Slope: -0.25, Inflow: 90 * mbit}); !known || room != 140*mbit || others != 60*mbit {
		t.Errorf("%v fit, others use %v, want 140M and 60M", room, others)
	}
	if room, others, known := Beside(200*mbit, Way{Slope: -0.25, Inflow: 90 * mbit}); !known || room != 140*mbit || others != 60*mbit {
		t.Errorf("of a link of 200M, by the way down, room %v beside %v, known %v; want 140M beside 60M", room, others, known)
	}
	if _, _, known := Beside(200*mbit, Way{Slope: 0, Inflow: 90 * mbit}); known {
		t.Error("something is said of a queue of which the way down is unclear")
	}
	if _, _, known := Between(Way{Slope: 0, Inflow: 240 * mbit}, Way{Slope: -0.25, Inflow: 90 * mbit}); known {
		t.Error("one slope told both")
	}
	// 298 beside 50 of others that are seen, into 200, rise by 0.74.
	if c := (Way{Slope: 0.74, Inflow: 298 * mbit, Others: 50 * mbit}).Alone(); c != 150*mbit {
		t.Errorf("%v fit beside 50M of others, want 150M", c)
	}
	if c := (Way{Slope: 1, Inflow: 100 * mbit, Others: 300 * mbit}).Alone(); c != bitrate.Min {
		t.Errorf("%v fit where others fill the link, want the least that can be written", c)
	}
	for _, little := range [][]Delay{nil, ramp(42*ms, 0, -0.25)[:2]} {
		if slope, _, _ := Falling(little); slope != 0 || Rising(little) != 0 {
			t.Errorf("a slope was seen in %d samples", len(little))
		}
	}
}

// What came in while a queue stood, less what it grew by, is what fits through,
// whatever it was that came in; with an overflow it is too much.
// A link of 200M of which others use 20M: what passed it while it was overfull, and what
// it sends now, say what is free.
func TestCapacityFromWhatPassed(t *testing.T) {
	w := func(tx, out bitrate.Rate) senders.Sum { return senders.Sum{Tx: tx * mbit, Out: out * mbit} }
	for name, tt := range map[string]struct {
		standing, after []senders.Sum
		want            bitrate.Rate
	}{
		"overfull":                   {[]senders.Sum{w(150, 160), w(280, 200), w(280, 200)}, []senders.Sum{w(140, 170), w(140, 160)}, 180},
		"its host stood still":       {[]senders.Sum{w(280, 200), w(250, 130)}, []senders.Sum{w(140, 160)}, 180},
		"the queue is further on":    {[]senders.Sum{w(280, 300), w(280, 300)}, []senders.Sum{w(140, 160)}, 0},
		"it is just full":            {[]senders.Sum{w(182, 200)}, []senders.Sum{w(140, 160)}, 0},
		"nobody tells what passed":   {[]senders.Sum{w(280, 0)}, []senders.Sum{w(140, 0)}, 0},
		"nothing is told after it":   {[]senders.Sum{w(280, 200)}, nil, 0},
		"others take all that there": {[]senders.Sum{w(280, 200)}, []senders.Sum{w(10, 260)}, 0},
	} {
		if got := Passed(tt.standing, tt.after); got != tt.want*mbit {
			t.Errorf("%s: %v, want %dM", name, got, tt.want)
		}
	}
}

// While it is overfull what leaves it says so, less what others sent just before.
func TestCapacityFromWhatPasses(t *testing.T) {
	w := func(tx, out bitrate.Rate) senders.Sum { return senders.Sum{Tx: tx * mbit, Out: out * mbit} }
	for name, tt := range map[string]struct {
		seen []senders.Sum
		want bitrate.Rate
	}{
		"overfull":                     {[]senders.Sum{w(50, 50), w(600, 200)}, 200},
		"beside others":                {[]senders.Sum{w(50, 80), w(600, 200)}, 170},
		"for longer":                   {[]senders.Sum{w(50, 50), w(325, 125), w(600, 200), w(600, 200)}, 200},
		"some of it stays on the node": {[]senders.Sum{w(53, 50), w(603, 200)}, 203},
		"most of it does, all along":   {[]senders.Sum{w(950, 50), w(1100, 200)}, 0},
		"it began in the last one":     {[]senders.Sum{w(50, 50), w(325, 125)}, 125},
		"it is just full":              {[]senders.Sum{w(50, 50), w(205, 200)}, 0},
		"the queue is further on":      {[]senders.Sum{w(50, 50), w(600, 610)}, 0},
		"nobody tells what passes":     {[]senders.Sum{w(50, 0), w(600, 0)}, 0},
		"nobody knows what was before": {[]senders.Sum{w(600, 200)}, 0},
		"others fill it":               {[]senders.Sum{w(50, 300), w(600, 200)}, 0},
	} {
		if got := Passes(tt.seen); got != tt.want*mbit {
			t.Errorf("%s: %v, want %dM", name, got, tt.want)
		}
	}
}

// A sub-window of no length, as one that was told twice, says nothing.
func TestASubWindowOfNoLengthSaysNothing(t *testing.T) {
	ramp := []Delay{{t0, 10 * ms}, {t0.Add(100 * ms), 10 * ms}, {t0.Add(200 * ms), 10 * ms}}
	sums := []senders.Sum{{From: t0, At: t0.Add(100 * ms), Tx: 200 * bitrate.Mbit}, {From: t0.Add(100 * ms), At: t0.Add(100 * ms), Tx: 200 * bitrate.Mbit}}
	if got := Throughput(ramp, sums, ms); len(got) != 1 || got[0] != 200*bitrate.Mbit {
		t.Errorf("%v, want 200M once", got)
	}
}

func TestCapacityFromWhatStood(t *testing.T) {
	const capacity = 200.0
	tests := map[string]struct {
		sent  []float64 // Mbit/s in windows of 100 ms
		limit time.Duration
		want  float64
	}{
		"growing":            {[]float64{240, 240, 240}, time.Second, 200},
		"elastic":            {[]float64{260, 203, 196, 201}, time.Second, 200},
		"on the way down":    {[]float64{500, 150, 150}, time.Second, 200},
		"full from early on": {[]float64{300, 300, 300}, 42 * ms, 300},
		"full, then falling": {[]float64{300, 300, 150}, 42 * ms, 200},
	}
	for name, tt := range tests {
		var ramp []Delay
		var sums []senders.Sum
		at, queue := t0, 0.5 // Mbit: some
		for _, sent := range tt.sent {
			for range 10 {
				at = at.Add(10 * ms)
				queue = min(max(queue+(sent-capacity)/100, 0), tt.limit.Seconds()*capacity)
				ramp = append(ramp, Delay{at, time.Duration(queue / capacity * float64(time.Second))})
			}
			sums = append(sums, senders.Sum{From: at.Add(-senders.Window), At: at, Tx: bitrate.FromMbit(sent)})
		}
		got := Throughput(ramp, sums[1:], ms/4)[0].Mbit()
		if math.Abs(got-tt.want) > 0.02*tt.want {
			t.Errorf("%s: %.0f, want %.0f", name, got, tt.want)
		}
	}
}

// What several sessions saw is in the order of sending, the first session's first at the same time.
func TestARampIsInTheOrderOfSending(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var paths []Path
		var want []Delay
		for range rapid.IntRange(0, 9).Draw(t, "sessions") {
			s := &plan.Session{}
			at := t0
			for range rapid.IntRange(0, 20).Draw(t, "samples") {
				at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "later")) * ms)
				x := plan.Sample{At: plan.At(at), RTT: time.Duration(rapid.IntRange(1, 50).Draw(t, "rtt")) * ms, Lost: rapid.Bool().Draw(t, "lost")}
				s.Samples = append(s.Samples, x)
				if !x.Lost && at.After(t0.Add(2*ms)) {
					want = append(want, Delay{at, x.RTT})
				}
			}
			paths = append(paths, Path{Session: s})
		}
		slices.SortStableFunc(want, func(a, b Delay) int { return a.At.Compare(b.At) })
		got := Ramp(paths, t0.Add(2*ms))
		if !slices.EqualFunc(got, want, func(a, b Delay) bool { return a.At.Equal(b.At) && a.Above == b.Above }) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// BenchmarkRamp is of an uplink's sessions, and of all in a cluster of 1,000 nodes.
func BenchmarkRamp(b *testing.B) {
	for _, n := range []int{4, 2000} {
		paths := make([]Path, n)
		for k := range paths {
			paths[k].Session = &plan.Session{}
			for i := range 75 {
				at := t0.Add(time.Duration(i)*20*time.Millisecond + time.Duration(k*7919%20000)*time.Microsecond)
				paths[k].Samples = append(paths[k].Samples, plan.Sample{At: plan.At(at)})
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Ramp(paths, t0.Add(-time.Second))
			}
		})
	}
}
