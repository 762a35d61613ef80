package worlds

import (
	"math"
	"time"

	"github.com/detnet/detnet/sim"
)

// traceStep is the original's: a value each 5 s.
const traceStep = 5 * time.Second

// Traces are the original project's six scenarios, each long enough for its
// event to happen: the original ran for 300 s, and its spike was due at the
// eightieth sample.
func Traces() []sim.Trace {
	wave := func(i int, period float64) float64 { return math.Sin(2 * math.Pi * float64(i) / period) }
	return []sim.Trace{
		series("normal-operation", "0.30 to 0.38 ms, nothing to do", 120, func(i int) float64 {
			return 0.34 + 0.04*wave(i, 12)
		}),
		series("jitter-spike", "0.5 ms, at the eightieth sample 3.0 ms, and back", 160, func(i int) float64 {
			if i >= 80 && i < 100 {
				return 3.0
			}
			return 0.5
		}),
		series("sustained-load", "a ramp to 4.8 ms, a plateau, a ramp down", 160, func(i int) float64 {
			switch {
			case i < 40:
				return 0.5 + 4.3*float64(i)/40
			case i < 100:
				return 4.8
			default:
				return max(0.5, 4.8-4.3*float64(i-100)/40)
			}
		}),
		series("oscillation", "1.0 ± 0.7 ms around the target", 160, func(i int) float64 {
			return 1 + 0.7*wave(i, 16)
		}),
		series("degradation", "worse in steps: 0.5, 0.8, 1.2, 1.8, 2.6 ms", 150, func(i int) float64 {
			return []float64{0.5, 0.8, 1.2, 1.8, 2.6}[min(i/30, 4)]
		}),
		series("recovery", "from 3.5 ms back to normal", 150, func(i int) float64 {
			return 0.35 + 3.15*math.Exp(-float64(i)/20)
		}),
	}
}

func series(name, about string, n int, at func(int) float64) sim.Trace {
	t := sim.Trace{Name: name, About: about, Every: traceStep}
	for i := range n {
		t.Value = append(t.Value, time.Duration(at(i)*float64(time.Millisecond)))
	}
	return t
}
