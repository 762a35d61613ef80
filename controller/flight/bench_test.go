package flight

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	every  = 250 * time.Millisecond
	window = 5 * time.Second
)

// movie is a cluster of 50 critical apps on ten nodes, each seen from two
// others at 50 Hz, and 500 senders, as it goes on.
type movie struct {
	samples []plan.Sample
	rates   []plan.TxRate
}

func newMovie(length time.Duration) movie {
	var m movie
	for at := -window; at < length; at += 20 * time.Millisecond {
		n := int64(at / 20_000_000)
		rtt := 200*time.Microsecond + time.Duration(n*7919%99_991)
		m.samples = append(m.samples, plan.Sample{At: plan.At(t0.Add(at + rtt)), RTT: rtt, HasOneWay: true, Forward: rtt/2 + 1_700_000 - time.Duration(n%977)})
	}
	for at := -window; at < length; at += 100 * time.Millisecond {
		m.rates = append(m.rates, plan.TxRate{At: plan.At(t0.Add(at)), Tx: 20*bitrate.Mbit + bitrate.Rate(int64(at)*7919%999_983)})
	}
	return m
}

// at is what the law sees after that time.
func (m movie) at(now time.Duration) plan.Observation {
	o := plan.Observation{At: t0.Add(now)}
	samples := m.samples[now/(20*time.Millisecond):][:window/(20*time.Millisecond)]
	rates := m.rates[now/(100*time.Millisecond):][:window/(100*time.Millisecond)]
	for i := range 50 {
		app := plan.App{
			Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprintf("app-%03d", i)}, Node: fmt.Sprint("n", i%10),
			Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond},
		}
		for k := 1; k <= 2; k++ {
			app.Sessions = append(app.Sessions, plan.Session{ID: fmt.Sprint(k), Vantage: fmt.Sprint("n", (i+k)%10), Samples: samples})
		}
		o.Apps = append(o.Apps, app)
	}
	for i := range 500 {
		o.Senders = append(o.Senders, plan.Sender{
			Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprintf("pod-%03d", i)}, Node: fmt.Sprint("n", i%10),
			Weight: 1, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit, Limit: 100 * bitrate.Mbit, Rates: rates,
		})
	}
	return o
}

// BenchmarkRecord is one step: what it costs beside the law's own.
func BenchmarkRecord(b *testing.B) {
	l, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	const length = 4 * time.Minute
	m := newMovie(length)
	r := &Recorder{}
	r.Begin("bench", law.Adaptive, law.DefaultConfig())
	var state law.State
	now := time.Duration(0)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		if now += every; now >= length {
			now, r = every, &Recorder{} // time goes on only
			state = law.State{}
		}
		o := m.at(now)
		next, p := l.Step(state, sense.Judge(sense.DefaultConfig(), o))
		b.StartTimer()
		r.Record(workload.Enforce, state, next, o, p)
		state = next
	}
	b.ReportMetric(float64(r.octets)/(1<<20), "MiB-kept")
	b.ReportMetric((now - r.kept[0].began).Seconds(), "s-kept")
}

// BenchmarkWrite is one download of a full recording.
func BenchmarkWrite(b *testing.B) {
	l, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	m := newMovie(DefaultSpan)
	r := &Recorder{}
	recorded := Law{l, r}
	var state law.State
	for now := every; now < DefaultSpan; now += every {
		state, _ = recorded.Step(state, sense.Judge(sense.DefaultConfig(), m.at(now)))
	}
	b.ReportAllocs()
	for b.Loop() {
		n, err := r.WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(n)
	}
}
