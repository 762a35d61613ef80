package agents

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// BenchmarkReceive is what a second of reports of one node costs, of four sessions
// and ten pods, decoding included.
func BenchmarkReceive(b *testing.B) {
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	a := inventory.Agent{UID: "a1", Node: "worker-1"}
	report := &api.Report{Node: "worker-1"}
	for i := range 4 {
		id := fmt.Sprintf("agent on worker-%d stamp:862 10.1.0.%d", i, i)
		kept := &session{agent: a.UID, samples: window[plan.Sample]{at: sampledAt}}
		p.sessions[id] = kept
		r := &api.SessionReport{Id: id, Sent: 1e6, Received: 1e6}
		for k := range 5 {
			r.AgeNs = append(r.AgeNs, int64(100-20*k)*1e6)
			r.RttNs = append(r.RttNs, int64(200e3+k*777))
			r.ForwardNs, r.BackwardNs = append(r.ForwardNs, 1_234_567_890_123+int64(k)), append(r.BackwardNs, -1_234_567_790_123)
		}
		report.Sessions = append(report.Sessions, r)
	}
	usage := &api.Report{Node: "worker-1"}
	var senders []*inventory.Sender
	for i := range 10 {
		name := fmt.Sprintf("bulk-%d", i)
		senders = append(senders, &inventory.Sender{Sender: plan.Sender{Pod: plan.PodID{Namespace: "factory", Name: name}, Node: "worker-1"}, UID: "0123456789abcdef0123456789abcdef0123"})
		usage.Pods = append(usage.Pods, &api.PodRate{Namespace: "factory", Name: name, Uid: "0123456789abcdef0123456789abcdef0123", WindowNs: 1e8, TxBps: 5e6, EgressLimitBps: 1e9, LimitTerm: 1 << 50, LimitSequence: 9})
	}
	p.Assign(b.Context(), nil, senders)
	var wires [2][]byte
	for i, r := range []*api.Report{report, usage} {
		wires[i], _ = proto.Marshal(r)
	}
	now, said := time.Now(), &speech{from: a}
	b.ReportAllocs()
	for b.Loop() {
		for range 10 {
			now = now.Add(100 * time.Millisecond)
			for _, wire := range wires {
				var r api.Report
				if err := proto.Unmarshal(wire, &r); err != nil {
					b.Fatal(err)
				}
				if err := p.receive(said, &r, now); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.ReportMetric(float64(10*(len(wires[0])+len(wires[1]))), "wire-B/op")
}

// BenchmarkLook is what a calm tick takes of 1,000 nodes' measurements, after a second's reports
// of all of them.
func BenchmarkLook(b *testing.B) {
	const nodes, sessions, pods = 1000, 4, 10
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	var l Look
	var senders []*inventory.Sender
	for i := range nodes {
		for k := range sessions {
			id := fmt.Sprintf("%d to %d", k, i)
			p.sessions[id] = &session{samples: window[plan.Sample]{at: sampledAt}}
			l.Sessions = append(l.Sessions, id)
		}
		for k := range pods {
			senders = append(senders, &inventory.Sender{Sender: plan.Sender{Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprintf("bulk-%04d-%d", i, k)}}})
		}
	}
	p.Assign(b.Context(), nil, senders)
	l.Senders = senders
	now := time.Now()
	samples, rates := make([]plan.Sample, 50), make([]plan.TxRate, 10)
	report := func() {
		for i := range samples {
			samples[i].At = plan.At(now.Add(time.Duration(i) * 20 * time.Millisecond))
		}
		for i := range rates {
			rates[i].At = plan.At(now.Add(time.Duration(i) * 100 * time.Millisecond))
		}
		now = now.Add(time.Second)
		for _, s := range p.sessions {
			s.samples.add(samples, now, calmSamples)
		}
		for _, r := range p.rates {
			r.tx.add(rates, now, calmRates)
		}
	}
	for range 10 {
		report()
		p.Look(&l, now)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		report()
		b.StartTimer()
		p.Look(&l, now)
	}
}
