package law

import (
	"fmt"
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
			s.Rates = append(s.Rates, plan.TxRate{At: t0.Add(-time.Duration(k) * 100 * time.Millisecond), Tx: 20 * bitrate.Mbit})
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
