package stats

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
)

const ms = time.Millisecond

// rtts makes samples of these round trips, 20 ms apart, the last one now.
func rtts(values ...time.Duration) []probe.Sample {
	out := make([]probe.Sample, len(values))
	for i, v := range values {
		out[i] = probe.Sample{RTT: v, Lost: v == 0, Age: time.Duration(len(values)-1-i) * 20 * ms}
	}
	return out
}

func TestSummary(t *testing.T) {
	s := New(100)
	s.Add(rtts(2*ms, 1*ms, 0, 5*ms, 2*ms, 2*ms, 3*ms, 2*ms, 2*ms, 2*ms, 9*ms), time.Hour)
	got := s.Summary()
	// Ten answered, sorted: 1 2 2 2 2 2 2 3 5 9.
	if got.Samples != 11 || got.Lost != 1 || got.Base != 1*ms {
		t.Errorf("%d samples, %d lost, base %v", got.Samples, got.Lost, got.Base)
	}
	if want := (Quantiles{1 * ms, 2 * ms, 5 * ms, 9 * ms, 9 * ms, 9 * ms, 9 * ms}); got.RTT != want {
		t.Errorf("RTT %v, want %v", got.RTT, want)
	}
	if want := (Quantiles{0, 1 * ms, 4 * ms, 8 * ms, 8 * ms, 8 * ms, 8 * ms}); got.PDV != want {
		t.Errorf("PDV %v, want %v", got.PDV, want)
	}
	// 1 4 3 0 1 1 0 0 7
	if got.IPDV.P50 != 1*ms || got.IPDV.Max != 7*ms || got.IQR != 1*ms {
		t.Errorf("IPDV %v, IQR %v", got.IPDV, got.IQR)
	}
	if loss := got.Loss(); loss < 0.09 || loss > 0.0910 {
		t.Errorf("loss %v", loss)
	}
	if (Summary{}).Loss() != 0 || New(1).Summary().RTT != (Quantiles{}) {
		t.Error("an empty series has figures")
	}
}

// Of 1, 2 … 100 ms the p99 is 99 ms: a quantile is a nearest rank.
func TestQuantilesAreNearestRanks(t *testing.T) {
	s := New(100)
	values := make([]time.Duration, 100)
	for i := range values {
		values[i] = time.Duration(i+1) * ms
	}
	s.Add(rtts(values...), time.Hour)
	if got, want := s.Summary().RTT, (Quantiles{ms, 50 * ms, 90 * ms, 95 * ms, 99 * ms, 100 * ms, 100 * ms}); got != want {
		t.Errorf("RTT %v, want %v", got, want)
	}
}

// A standing queue does not show in the interquartile range, and does in PDV:
// this is why the range alone never decides.
func TestStandingQueue(t *testing.T) {
	s := New(50)
	quiet := make([]time.Duration, 50)
	queued := make([]time.Duration, 50)
	for i := range quiet {
		quiet[i], queued[i] = ms+time.Duration(i%3), 40*ms+time.Duration(i%3)
	}
	s.Add(rtts(quiet...), time.Minute)
	s.Add(rtts(queued...), time.Minute+time.Second)
	if got := s.Summary(); got.IQR > time.Microsecond || got.PDV.P50 != 39*ms+1 {
		t.Errorf("IQR %v, PDV %v", got.IQR, got.PDV.P50)
	}
}

// RFC 3550: a constant difference of D between packets approaches D.
func TestJitter(t *testing.T) {
	s := New(10)
	for i := range 200 {
		s.Add(rtts(ms+time.Duration(i%2)*ms), time.Duration(i)*20*ms)
	}
	if j := s.Summary().Jitter; j < 990*time.Microsecond || j > ms {
		t.Errorf("jitter %v, want almost 1ms", j)
	}
}

// feed adds samples of 50 Hz from one instant to another.
func feed(s *Series, from, to time.Duration, sample func(at time.Duration) probe.Sample) {
	for at := from; at < to; at += 20 * ms {
		s.Add([]probe.Sample{sample(at)}, at)
	}
}

// noiseBelow draws the same times in each run.
func noiseBelow(limit time.Duration) func() time.Duration {
	random := rand.New(rand.NewPCG(5481, 3393))
	return func() time.Duration { return time.Duration(random.Int64N(int64(limit))) }
}

// A longer path is told from a queue by the directions: a queue is in one of them.
func TestRouteChange(t *testing.T) {
	path := func(forward, back, spread time.Duration) func(time.Duration) probe.Sample {
		const offset = time.Hour
		noise := noiseBelow(spread + 1)
		return func(time.Duration) probe.Sample {
			there := forward + noise()
			return probe.Sample{RTT: there + back, HasOneWay: true, Forward: there + offset, Backward: back - offset}
		}
	}
	const noise = 100 * time.Microsecond
	s := New(500)
	feed(s, 0, 60*time.Second, path(ms/2, ms/2, noise))
	feed(s, 60*time.Second, 110*time.Second, path(3*ms, 2*ms, noise))
	if got := s.Summary(); got.RouteChanges != 1 || got.Base < 5*ms || got.PDV.P50 > 200*time.Microsecond {
		t.Errorf("longer path: %d changes, base %v, PDV %v", got.RouteChanges, got.Base, got.PDV.P50)
	}
	feed(s, 110*time.Second, 130*time.Second, path(ms, ms, noise))
	if got := s.Summary(); got.Base > 2100*time.Microsecond {
		t.Errorf("shorter path: base %v", got.Base)
	}
	for name, later := range map[string]func(time.Duration) probe.Sample{
		"a queue that varies":                       path(4*ms, ms/2, 4*ms),
		"a full queue, which does not":              path(4*ms, ms/2, noise),
		"what has no directions, and may be either": func(time.Duration) probe.Sample { return probe.Sample{RTT: 5 * ms} },
	} {
		q := New(500)
		feed(q, 0, 60*time.Second, path(ms/2, ms/2, noise))
		feed(q, 60*time.Second, 5*time.Minute, later)
		if got := q.Summary(); got.RouteChanges != 0 || got.Base > 1100*time.Microsecond {
			t.Errorf("%s: %d changes, base %v", name, got.RouteChanges, got.Base)
		}
	}
}

// The direction is found although the clocks are hours apart and drift.
func TestDirection(t *testing.T) {
	for name, tt := range map[string]struct {
		forward, backward, queue time.Duration
		want                     Segment
	}{
		"none":     {0, 0, 0, Nowhere},
		"forward":  {10 * ms, 0, 0, OwnEgress},
		"backward": {0, 10 * ms, 0, FarEgress},
		"both":     {10 * ms, 10 * ms, 0, Elsewhere},
		"own host": {10 * ms, 0, 9 * ms, OwnHost},
	} {
		t.Run(name, func(t *testing.T) {
			const start, drift = 3 * time.Hour, 80e-6
			sample := func(forward, backward, queue time.Duration) func(time.Duration) probe.Sample {
				noise := noiseBelow(30 * time.Microsecond)
				return func(at time.Duration) probe.Sample {
					offset := start + time.Duration(drift*float64(at))
					f := ms/2 + forward + noise()
					b := ms/2 + backward + noise()
					return probe.Sample{RTT: f + b, HasOneWay: true, Forward: f + offset, Backward: b - offset, HasQueue: true, Queue: queue}
				}
			}
			s := New(250)
			feed(s, 0, 60*time.Second, sample(0, 0, 0))
			feed(s, 60*time.Second, 75*time.Second, sample(tt.forward, tt.backward, tt.queue))
			got := s.Summary()
			if d := Direction(got, ms/2); d != tt.want {
				t.Errorf("%s; forward %v, backward %v; want %s", d, got.Forward.P50, got.Backward.P50, tt.want)
			}
			if (got.Forward.P50-tt.forward).Abs() > ms/2 || (got.Backward.P50-tt.backward).Abs() > ms/2 {
				t.Errorf("forward %v, backward %v", got.Forward.P50, got.Backward.P50)
			}
		})
	}
	if d := Direction(Summary{Samples: 1, PDV: Quantiles{P50: ms}}, ms/2); d != Unknown {
		t.Errorf("without one-way delays: %s", d)
	}
}

func TestCongested(t *testing.T) {
	waits := Summary{Samples: 10, HasOneWay: true, PDV: Quantiles{P50: 5 * ms}, Forward: Quantiles{P50: 5 * ms}}
	calm := Summary{Samples: 10, HasOneWay: true}
	for _, tt := range []struct {
		name  string
		views []View
		want  []Segment
	}{
		{"to every node", []View{{"b", waits}, {"c", waits}}, []Segment{OwnEgress, OwnEgress}},
		{"to one of two", []View{{"b", waits}, {"c", calm}}, []Segment{Elsewhere, Nowhere}},
		{"alone", []View{{"b", waits}}, []Segment{OwnEgress}},
		{"one pod of a node", []View{{"b", waits}, {"b", calm}}, []Segment{OwnEgress, Nowhere}},
		{"lost says nothing", []View{{"b", waits}, {"c", Summary{Samples: 5, Lost: 5}}}, []Segment{OwnEgress, Nowhere}},
	} {
		got := Congested(tt.views, ms)
		for i := range got {
			if got[i] != tt.want[i] {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	s := New(100)
	samples := rtts(ms, 2*ms, 0, 3*ms)
	at := time.Duration(0)
	if n := testing.AllocsPerRun(1000, func() { at += 80 * ms; s.Add(samples, at) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
