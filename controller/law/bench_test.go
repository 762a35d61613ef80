package law

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// large is a cluster of 50 critical apps on ten nodes, each seen from two
// others, and 500 senders.
func large() plan.Observation {
	o := plan.Observation{At: t0}
	for i := range 50 {
		app := plan.App{
			Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprintf("app-%03d", i)}, Node: fmt.Sprint("n", i%10),
			Protocol: workload.UDP, SLO: workload.SLO{Jitter: ms},
		}
		for k := 1; k <= 2; k++ {
			app.Sessions = append(app.Sessions, plan.Session{
				ID: fmt.Sprint(k), Vantage: fmt.Sprint("n", (i+k)%10), Samples: spread(t0, 20*ms, 100, 100*time.Microsecond),
			})
		}
		o.Apps = append(o.Apps, app)
	}
	for i := range 500 {
		s := sender(fmt.Sprintf("pod-%03d", i), 100*bitrate.Mbit)
		s.Node = fmt.Sprint("n", i%10)
		for k := 9; k >= 0; k-- {
			s.Rates = append(s.Rates, plan.TxRate{At: plan.At(t0.Add(-time.Duration(k) * 100 * time.Millisecond)), Tx: 20 * bitrate.Mbit})
		}
		o.Senders = append(o.Senders, s)
	}
	return o
}

func BenchmarkStep(b *testing.B) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			l, err := New(name, DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			o := large()
			run := Run{Law: l}
			run.Step(o)
			b.ReportAllocs()
			for b.Loop() {
				o.At = o.At.Add(time.Millisecond)
				run.Step(o)
			}
		})
	}
}

// scaled is a cluster of n nodes with a critical app and ten senders each, every
// app seen from two other nodes with a node session beside it. Where a queue stands, it
// is on a tenth of the nodes.
func scaled(n int, queue time.Duration) plan.Observation {
	o := plan.Observation{At: t0}
	node := func(i int) string { return fmt.Sprintf("node-%04d", i%n) }
	calm, late := spread(t0, 20*ms, 250, 100*time.Microsecond), spread(t0, 20*ms, 250, 0)
	for i := len(late) - 20; i < len(late); i++ {
		late[i].RTT += queue
	}
	for i := range n {
		app := plan.App{Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprintf("app-%04d", i)}, Node: node(i), Protocol: workload.UDP, SLO: workload.SLO{Jitter: ms}}
		samples := calm
		if queue > 0 && i%10 == 0 {
			samples = late
		}
		for k := 1; k <= 2; k++ {
			app.Sessions = append(app.Sessions, plan.Session{ID: fmt.Sprint(k), Vantage: node(i + k), Samples: samples})
			app.NodeSessions = append(app.NodeSessions, plan.Session{ID: fmt.Sprint("agent ", k), Vantage: node(i + k), Samples: samples})
		}
		o.Apps = append(o.Apps, app)
	}
	for i := range 10 * n {
		s := sender(fmt.Sprintf("pod-%05d", i), 100*bitrate.Mbit)
		s.Node = node(i / 10)
		for k := 19; k >= 0; k-- {
			s.Rates = append(s.Rates, plan.TxRate{At: plan.At(t0.Add(-time.Duration(k) * 100 * ms)), Tx: 90 * bitrate.Mbit})
		}
		o.Senders = append(o.Senders, s)
	}
	return o
}

// cpu is what this process has used so far: on a machine that does other things too
// the clock says little.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// What a tick allocates grows with the cluster, and not faster: what goes through all
// senders or apps for each node shows here without a clock. It is also the smoke run
// of BenchmarkScale.
func TestATickIsLinear(t *testing.T) {
	for _, name := range Names() {
		for _, queue := range []time.Duration{0, 40 * ms} {
			allocated := func(nodes int) float64 {
				l, err := New(name, DefaultConfig())
				if err != nil {
					t.Fatal(err)
				}
				o, run := scaled(nodes, queue), Run{Law: l}
				run.Step(o)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range 3 {
					o.At = o.At.Add(100 * ms)
					run.Step(o)
				}
				runtime.ReadMemStats(&after)
				return float64(after.TotalAlloc - before.TotalAlloc)
			}
			if small, large := allocated(50), allocated(400); large > 12*small {
				t.Errorf("%s, queue %v: %.0f bytes for 50 nodes and %.0f for 400", name, queue, small, large)
			}
		}
	}
}

// BenchmarkScale is sense and law together, one tick; its cost for each node is to
// be the same for any number of them.
func BenchmarkScale(b *testing.B) {
	for _, queue := range []time.Duration{0, 40 * ms} {
		for _, n := range []int{10, 100, 1000, 3000} {
			b.Run(fmt.Sprintf("queue=%v/nodes=%d", queue, n), func(b *testing.B) {
				l, err := New(Adaptive, DefaultConfig())
				if err != nil {
					b.Fatal(err)
				}
				o := scaled(n, queue)
				run := Run{Law: l}
				run.Step(o)
				b.ReportAllocs()
				used := cpu(b)
				for b.Loop() {
					o.At = o.At.Add(time.Microsecond)
					run.Step(o)
				}
				used = cpu(b) - used
				b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
				b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*n), "cpu-ns/node")
			})
		}
	}
}

// allLate is the same cluster with every node congested: each app is late both ways.
func allLate(n int) plan.Observation {
	o := scaled(n, 0)
	late := spread(t0, 20*ms, 250, 100*time.Microsecond)
	for i := range late {
		late[i].HasOneWay, late[i].Forward = true, late[i].RTT/2
	}
	for i := len(late) - 20; i < len(late); i++ {
		late[i].RTT += 80 * ms
		late[i].Forward += 40 * ms
	}
	for i := range o.Apps {
		for k := range o.Apps[i].Sessions {
			o.Apps[i].Sessions[k].Samples = late
			o.Apps[i].NodeSessions[k].Samples = late
		}
	}
	return o
}

// BenchmarkAllLate is a tick while all nodes are congested at once.
func BenchmarkAllLate(b *testing.B) {
	for _, n := range []int{100, 300, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l, err := New(Adaptive, DefaultConfig())
			if err != nil {
				b.Fatal(err)
			}
			o := allLate(n)
			run := Run{Law: l}
			run.Step(scaled(n, 0))
			run.Step(o)
			b.ReportAllocs()
			used := cpu(b)
			for b.Loop() {
				o.At = o.At.Add(20 * ms)
				run.Step(o)
			}
			b.ReportMetric(float64((cpu(b)-used).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}
