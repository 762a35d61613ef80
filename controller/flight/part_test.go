package flight

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
)

// kept is what a replay of a recording shows.
type kept struct {
	news     News
	steps    map[string]int           // by node: that decide alike
	cuts     map[string]int           // of limits, by node
	partly   map[string]bool          // by node
	from, to map[string]time.Duration // by node, after the town had settled
}

func replay(t testing.TB, r *Recorder) kept {
	t.Helper()
	k := kept{steps: map[string]int{}, cuts: map[string]int{}, partly: map[string]bool{}, from: map[string]time.Duration{}, to: map[string]time.Duration{}}
	var file bytes.Buffer
	if _, err := r.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	err := Replay(&file, asRecorded, func(x Replayed) error {
		for _, d := range k.news.Of(x, false) {
			if d.Differs {
				t.Errorf("%v: %+v, recorded %+v", d.At.Sub(t0), d.Decision, d.Recorded)
			}
		}
		for _, reason := range x.Plan.Reasons {
			node, at := reason.Bottleneck.Node, x.Plan.At.Sub(t0)-60*townPace
			if _, known := k.from[node]; !known {
				k.from[node] = at
			}
			k.to[node] = at
			k.steps[node]++
		}
		for _, l := range x.Plan.Limits {
			k.cuts[x.Plan.Reasons[l.Reason].Bottleneck.Node]++
		}
		for _, node := range x.Partly {
			k.partly[node] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func recorder(octets int) *Recorder {
	r := &Recorder{Octets: octets}
	r.Begin("test", law.Adaptive, law.DefaultConfig())
	return r
}

// Of many nodes those in trouble are recorded: the first decision about each, all after
// it and half a minute of calm, and replayed they are the same, whatever becomes of the
// others meanwhile. Nothing is recorded of the others.
func TestAPartIsDecidedAlike(t *testing.T) {
	for limiter, second := range map[plan.Limiter]int{"": 4, plan.EDT: 10} {
		t.Run(fmt.Sprintf("limiter %q", limiter), func(t *testing.T) {
			t.Parallel()
			w, r := settled(30, limiter, 7), recorder(5<<20)
			onset := map[int]time.Duration{3: 8 * time.Second, second: 8500 * time.Millisecond, 17: 15 * time.Second, 25: 70 * time.Second}
			first := map[string]time.Duration{}
			for now := townPace; now < 80*time.Second; now += townPace {
				for node, at := range onset {
					w.busy[node] = now >= at && now < at+12*time.Second
				}
				w.step(r)
				for _, l := range w.decided.Limits {
					if node := w.decided.Reasons[l.Reason].Bottleneck.Node; first[node] == 0 {
						first[node] = now
					}
				}
			}
			k := replay(t, r)
			if k.news.Different > 0 || len(k.partly) > 0 {
				t.Errorf("%d of %d plans differ, and in part known are %v", k.news.Different, k.news.Steps, k.partly)
			}
			for node, at := range onset {
				name := fmt.Sprintf("node-%04d", node)
				if k.from[name] > first[name] || k.from[name] < at || k.cuts[name] == 0 {
					t.Errorf("%s: recorded from %v on, the trouble began at %v and was first acted upon at %v, %d limits", name, k.from[name], at, first[name], k.cuts[name])
				}
				if end := min(at+after, 79*time.Second); k.to[name] < end {
					t.Errorf("%s: recorded up to %v, want %v", name, k.to[name], end)
				}
			}
			if k.steps["node-0020"] > 0 {
				t.Errorf("%d steps of a node that was never in trouble", k.steps["node-0020"])
			}
		})
	}
}

// With more in trouble than there is room for, and for long, some are recorded, the others
// have their turn, and it takes no more than it may.
func TestMoreTroubleThanRoom(t *testing.T) {
	const octets = 1 << 20
	w, r := settled(30, "", 3), recorder(octets)
	r.Span = 40 * time.Second
	for node := 0; node < 30; node += 2 {
		w.others[node] = 1.1 * float64(townLink)
	}
	most, ever := 0, map[string]bool{}
	for now := townPace; now < 2*time.Minute; now += townPace {
		w.step(r)
		if r.octets > octets {
			t.Fatalf("%d octets after %v", r.octets, now)
		}
		for _, track := range r.tracks {
			most = max(most, len(track.focus.held))
			for node := range track.focus.held {
				ever[node] = true
			}
		}
	}
	if most == 0 || most > 10 || len(ever) <= most {
		t.Errorf("%d were recorded at a time and %d ever", most, len(ever))
	}
	if k := replay(t, r); k.news.Different > 0 || r.missed > 0 {
		t.Errorf("%d of %d plans differ, %d are missed", k.news.Different, k.news.Steps, r.missed)
	}
}

// Trouble outlives calm: with few nodes, too, what was calm is let go first.
func TestTroubleOutlivesCalm(t *testing.T) {
	w, r := settled(3, "", 1), recorder(DefaultOctets)
	r.Span = 10 * time.Second
	for now := townPace; now < 100*time.Second; now += townPace {
		w.busy[1] = now > 5*time.Second && now < 9*time.Second
		w.step(r)
	}
	k := replay(t, r)
	if k.news.Different > 0 || k.cuts["node-0001"] == 0 {
		t.Errorf("%d of %d plans differ, and %d limits are left of the trouble 90 s ago", k.news.Different, k.news.Steps, k.cuts["node-0001"])
	}
	if now := k.to["node-0000"]; now < 99*time.Second || k.steps["node-0000"] > 700 {
		t.Errorf("%d steps up to %v: what is calm is kept for longer than %v", k.steps["node-0000"], now, r.Span)
	}
}

// BenchmarkKept says for how long what is kept with a tenth of the nodes congested from the
// fifth second on for a quarter of a minute, and what a step's recording costs. What is kept of
// an uplink in trouble for long is the room for it (octets), over what a second takes.
func BenchmarkKept(b *testing.B) {
	for _, nodes := range []int{10, 100, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			for b.Loop() {
				w, r := settled(nodes, "", 1), recorder(0)
				const length = 45 * time.Second
				for now := townPace; now < length; now += townPace {
					for i := range w.busy {
						w.busy[i] = i%10 == 3 && now > 5*time.Second && now < 20*time.Second
					}
					w.step(r)
				}
				k := replay(b, r)
				sum := 0.0
				for _, steps := range k.steps {
					sum += (time.Duration(steps) * townPace).Seconds()
				}
				b.ReportMetric(float64(len(k.steps)), "uplinks")
				b.ReportMetric(sum/float64(len(k.steps)), "s/uplink")
				b.ReportMetric(float64(r.octets)/sum, "octets/uplink-s")
				b.ReportMetric(float64(r.limit())/(float64(r.octets)/sum)/60, "uplink-min-fit")
				b.ReportMetric(float64(r.octets)/(1<<20), "MiB")
				b.ReportMetric(float64(len(k.partly)), "partly")
				b.ReportMetric(float64(w.took.Microseconds())/float64(length/townPace), "cpu-µs/step")
			}
		})
	}
}
