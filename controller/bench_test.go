package controller

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// crowd is a stage of n nodes, each with a critical pod, ten throttleable ones and
// two agents; all paths see the same.
type crowd struct {
	*stage
	samples []plan.Sample
	rates   []plan.TxRate
	own     *own // nil: all have those
}

// own is what was measured by each of many, in memory of its own as it is in a pool, and
// nothing of it in the processor's caches.
type own struct {
	samples [][]plan.Sample
	rates   [][]plan.TxRate
	others  [64 << 20]byte // of the process and of others, since the last round
}

func (o *own) take(c *crowd, l *agents.Look) {
	for len(o.samples) < len(l.Sessions) {
		o.samples = append(o.samples, make([]plan.Sample, len(c.samples)))
	}
	for len(o.rates) < len(l.Senders) {
		o.rates = append(o.rates, make([]plan.TxRate, len(c.rates)))
	}
	for _, each := range o.samples {
		copy(each, c.samples)
	}
	for _, each := range o.rates {
		copy(each, c.rates)
	}
	for i := 0; i < len(o.others); i += 64 {
		o.others[i]++
	}
}

func (o *own) look(l *agents.Look) {
	l.Measured, l.Usage = l.Measured[:0], l.Usage[:0]
	for i := range l.Sessions {
		l.Measured = append(l.Measured, agents.Measurement{Samples: o.samples[i], Lossless: true})
	}
	for i := range l.Senders {
		l.Usage = append(l.Usage, agents.Usage{Rates: o.rates[i]})
	}
}

func (c *crowd) Session(string, time.Time) agents.Measurement {
	return agents.Measurement{Samples: c.samples, Lossless: true}
}
func (c *crowd) Look(l *agents.Look, now time.Time) {
	if c.own != nil && len(c.own.samples) > 0 {
		c.own.look(l)
		return
	}
	look(c, l, now)
}
func (c *crowd) Rates(plan.PodID, time.Time) []plan.TxRate { return c.rates }

// at is a crowd's measurements up to a time.
func (c *crowd) at(now time.Time) {
	c.samples, c.rates = make([]plan.Sample, 250), make([]plan.TxRate, 20)
	for i := range c.samples {
		at := now.Add(time.Duration(i-250) * 20 * time.Millisecond)
		c.samples[i] = plan.Sample{At: plan.At(at), RTT: 300*time.Microsecond + time.Duration(at.UnixMilli()*7919%99_991)}
	}
	for i := range c.rates {
		c.rates[i] = plan.TxRate{At: plan.At(now.Add(time.Duration(i-20) * Period)), Tx: 90 * mbit}
	}
}

func crowdOf(b *testing.B, nodes int) (*crowd, *term, *prometheus.Registry) {
	b.Helper()
	c := &crowd{stage: &stage{snapshot: &inventory.Snapshot{}}}
	for i := range nodes {
		node := fmt.Sprintf("node-%04d", i)
		a := app(fmt.Sprintf("app-%04d", i), workload.Enforce)
		a.Node = node
		c.snapshot.Apps = append(c.snapshot.Apps, a)
		for k := range 10 {
			s := sender(fmt.Sprintf("pod-%05d", 10*i+k), workload.Enforce)
			s.Node, s.UID = node, types.UID("uid-"+s.Pod.Name)
			c.snapshot.Senders = append(c.snapshot.Senders, s)
		}
		c.snapshot.Agents = append(c.snapshot.Agents,
			inventory.Agent{Pod: plan.PodID{Name: "node-" + node}, Node: node, Role: api.Role_ROLE_NODE, UID: types.UID("n" + node)},
			inventory.Agent{Pod: plan.PodID{Name: "probe-" + node}, Node: node, Role: api.Role_ROLE_PROBE, UID: types.UID("p" + node)})
	}
	l, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		b.Fatal(err)
	}
	loop := c.loop(Settings{Law: l, Config: law.DefaultConfig(), Mode: workload.Enforce, Vantages: 2})
	registry := prometheus.NewRegistry()
	loop.Measurements, loop.Metrics = c, NewMetrics(registry, loop.Status)
	t := &term{loop: loop}
	t.roads.term = 1
	return c, t, registry
}

// change has one pod of all change, in the inventory of the next tick: another limit, or a
// throttleable pod that was born again, or a critical one at another address.
func (c *crowd) change(what string) {
	s := *c.snapshot
	switch what {
	case "changed", "came":
		s.Senders = slices.Clone(s.Senders)
		one := *s.Senders[7]
		one.Limit++
		if what == "came" {
			one.UID += "'"
		}
		s.Senders[7] = &one
	case "moved":
		s.Apps = slices.Clone(s.Apps)
		one := *s.Apps[7]
		one.IP += "1"
		s.Apps[7] = &one
	default:
		return
	}
	c.snapshot = &s
}

// BenchmarkLoop is what the loop does beside sense and law, part by part, and what
// shows it: a whole tick; one a second after the last, with what each measured in memory of its own; one on which the limit of one pod of all has changed, or one
// came, or a critical one moved; a tick's news of a tenth of the nodes, ten limits each, in the
// log, as Events and for the status; the status, all of it as JSON and what the page asks
// for; a scrape of the metrics, as text.
func BenchmarkLoop(b *testing.B) {
	for _, nodes := range []int{100, 1000, 5000} {
		for _, part := range []string{"tick", "cold", "changed", "came", "moved", "journal", "status", "json", "page", "scrape"} {
			b.Run(fmt.Sprintf("%s/nodes=%d", part, nodes), func(b *testing.B) { benchLoop(b, part, nodes) })
		}
	}
}

func benchLoop(b *testing.B, part string, nodes int) {
	c, t, registry := crowdOf(b, nodes)
	t.loop.Log = slog.New(slog.NewJSONHandler(io.Discard, nil))
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	next := func() {
		now = now.Add(Period)
		c.at(now)
		t.tick(b.Context(), now)
	}
	next()
	next()
	if part == "cold" {
		c.own = &own{}
	}
	scrape := promhttp.HandlerFor(t.loop.Metrics.Gatherer(registry), promhttp.HandlerOpts{DisableCompression: true})
	var octets written
	b.ReportAllocs()
	var used time.Duration
	for b.Loop() {
		b.StopTimer()
		octets = 0
		c.change(part)
		var told []outcome
		switch part {
		case "journal":
			told = newsOf(c.snapshot, now)
		case "json", "page", "status", "scrape":
			next()
		}
		if part == "json" || part == "page" {
			t.loop.Status() // which is another part
		}
		now = now.Add(Period)
		if c.own != nil {
			now = now.Add(time.Second - Period)
		}
		if c.at(now); c.own != nil {
			c.own.take(c, &t.look)
		}
		b.StartTimer()
		before := cpu(b)
		switch part {
		case "journal":
			t.journal.record(b.Context(), t.loop, c.snapshot, told)
		case "status":
			t.loop.Status()
		case "json":
			_ = json.NewEncoder(&octets).Encode(t.loop.Status())
		case "page":
			_ = json.NewEncoder(&octets).Encode(t.loop.Status().Select(status.Query{Limit: 100}))
		case "scrape":
			scrape.ServeHTTP(&octets, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		default:
			t.tick(b.Context(), now)
		}
		used += cpu(b) - before
	}
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N), "cpu-ns/op")
	if octets > 0 {
		b.ReportMetric(float64(octets), "octets")
	}
}

// newsOf is a tick that cuts ten senders on a tenth of the nodes, each time to something
// else.
func newsOf(s *inventory.Snapshot, now time.Time) []outcome {
	p := plan.Plan{At: now}
	for i := 0; i < len(s.Apps); i += 10 {
		p.Reasons = append(p.Reasons, plan.Reason{Bottleneck: plan.Uplink(s.Apps[i].Node), Action: plan.Cut, Cause: plan.Violation, App: s.Apps[i].Pod})
		for k := range 10 {
			p.Limits = append(p.Limits, plan.Limit{Pod: s.Senders[10*i+k].Pod, From: 100 * mbit, To: bitrate.Rate(now.UnixMilli()) * mbit, Reason: len(p.Reasons) - 1})
		}
	}
	return []outcome{{Plan: p}}
}

// written counts what is written to it.
type written int

func (w *written) Write(p []byte) (int, error) {
	*w += written(len(p))
	return len(p), nil
}
func (w *written) Header() http.Header { return http.Header{} }
func (w *written) WriteHeader(int)     {}

// cpu is what this process has used so far: on a machine that does other things too
// the clock says little.
func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
