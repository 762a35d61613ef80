package agent

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// lastRates are a Meter with one window at a time.
type lastRates struct{ rates []usage.Rate }

func (l *lastRates) Since(cursor uint64) ([]usage.Rate, uint64) { return l.rates, cursor + 1 }

func (*lastRates) Next() <-chan struct{} { return nil }

// windows is a Meter that has a window whenever it is told to.
type windows struct {
	lastRates
	mu   sync.Mutex
	next chan struct{}
}

func (w *windows) Next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

func (w *windows) turn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	close(w.next)
	w.next = make(chan struct{})
}

// sends is a stream that notes when reports are sent.
type sends struct {
	grpc.BidiStreamingServer[api.Assignment, api.Report]
	ctx   context.Context
	began time.Time
	at    []time.Duration
}

func (s *sends) Context() context.Context { return s.ctx }

func (s *sends) Send(*api.Report) error {
	s.at = append(s.at, time.Since(s.began))
	return nil
}

// What pods send is told as soon as it has been measured, and regularly without that.
func TestUsageIsToldAtOnce(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		meter, stream := &windows{next: make(chan struct{})}, &sends{ctx: ctx, began: time.Now()}
		r := &reporter{Server: &Server{Metrics: NewMetrics(prometheus.NewRegistry()), Meter: meter}, sender: probe.NewSender(probe.Options{}), handed: &handover{}}
		r.windows = meter.Next()
		done := make(chan error)
		go func() { done <- r.report(stream, nil) }()
		for _, after := range []time.Duration{30 * ms, 100 * ms, 50 * ms, 10 * ms, 90 * ms} {
			time.Sleep(after)
			meter.turn()
			synctest.Wait()
		}
		time.Sleep(400 * ms)
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the stream ended with %v, want %v", err, context.Canceled)
		}
		// The fourth window comes within the pause after the third.
		want := []time.Duration{30 * ms, 130 * ms, 180 * ms, 200 * ms, 280 * ms, 430 * ms, 580 * ms}
		if !slices.Equal(stream.at, want) {
			t.Errorf("reports after %v, want %v", stream.at, want)
		}
	})
}

// What is calm is reported when its time has come, and what is worth telling at once:
// a change of what the pods send together, of a limit, or of who they are.
func TestCalmReports(t *testing.T) {
	const calm = 300 * time.Millisecond
	pod := usage.Rate{Namespace: "factory", Name: "bulk", UID: "u1", At: time.Now(), Tx: 50 * bitrate.Mbit}
	changed := func(change func(*usage.Rate)) []usage.Rate { p := pod; change(&p); return []usage.Rate{p} }
	for _, tt := range []struct {
		name   string
		now    []usage.Rate
		packed bool
		after  time.Duration
		waits  bool
	}{
		{"as it was", []usage.Rate{pod}, true, 2 * ReportEvery, true},
		{"its time has come", []usage.Rate{pod}, true, calm, false},
		{"a little more", changed(func(r *usage.Rate) { r.Tx += bitrate.Mbit }), true, ReportEvery, true},
		{"much more", changed(func(r *usage.Rate) { r.Tx += 10 * bitrate.Mbit }), true, ReportEvery, false},
		{"nothing any more", changed(func(r *usage.Rate) { r.Tx = 0 }), true, ReportEvery, false},
		{"another limit", changed(func(r *usage.Rate) { r.Enforced.Egress = bitrate.Mbit }), true, ReportEvery, false},
		{"the same limit by another decision", changed(func(r *usage.Rate) { r.Enforced.Newest = workload.Order{Term: 7, Sequence: 1} }), true, ReportEvery, false},
		{"another pod", changed(func(r *usage.Rate) { r.UID = "u2" }), true, ReportEvery, false},
		{"a controller that asked for it in full", []usage.Rate{pod}, false, ReportEvery, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			meter := &lastRates{[]usage.Rate{pod}}
			r := &reporter{Server: &Server{Metrics: NewMetrics(prometheus.NewRegistry()), Meter: meter}, sender: probe.NewSender(probe.Options{}), handed: &handover{}}
			r.take(&api.Assignment{Packed: tt.packed, CalmReportMs: uint32(calm.Milliseconds())})
			r.next()
			meter.rates = tt.now
			if got := r.waits(r.last.Add(tt.after)); got != tt.waits {
				t.Errorf("waits = %v, want %v", got, tt.waits)
			}
			if tt.waits || tt.after == calm {
				return
			}
			r.next() // it was told
			if r.waits(r.last.Add(tt.after)) {
				t.Error("what follows waits")
			}
			r.next()
			r.last = r.stirred.Add(settled)
			if got := r.waits(r.last.Add(ReportEvery)); got != tt.packed {
				t.Errorf("later it waits: %v, want %v", got, tt.packed)
			}
		})
	}
}

// A controller that has too much to read hears less often of what is going on, and at once
// of what has begun.
func TestNobodyReportsMoreOftenThanIsRead(t *testing.T) {
	const least = 400 * time.Millisecond
	for _, calm := range []time.Duration{0, maxCalm} {
		r := &reporter{Server: &Server{Metrics: NewMetrics(prometheus.NewRegistry())}, sender: probe.NewSender(probe.Options{})}
		r.take(&api.Assignment{Packed: true, CalmReportMs: uint32(calm.Milliseconds()), LeastReportMs: uint32(least.Milliseconds())})
		if r.waits(time.Now()) {
			t.Error("the first report waits")
		}
		r.next()
		r.stirred = r.last
		for after, waits := range map[time.Duration]bool{ReportEvery: true, least - ReportEvery: true, least: false} {
			if got := r.waits(r.last.Add(after)); got != waits {
				t.Errorf("calm each %v: %v after one report the next waits: %v, want %v", calm, after, got, waits)
			}
		}
		if !r.first(r.last) {
			t.Error("what becomes late is not told at once")
		}
		r.hurried = r.last
		if r.first(r.last.Add(least-1)) || !r.first(r.last.Add(least)) {
			t.Error("what has become late is told again too soon, or not at all")
		}
		r.take(&api.Assignment{Packed: true, LeastReportMs: 1 << 31})
		if !r.waits(r.last.Add(maxCalm/2)) || r.waits(r.last.Add(maxCalm)) {
			t.Error("a controller can have reports come too rarely")
		}
	}
}

// What pods begin to send after a calm second is told at once to a controller that has too much to
// read, and what follows when its time has come.
func TestWhatBeginsIsToldAtOnce(t *testing.T) {
	const least = 800 * time.Millisecond
	pod := usage.Rate{Namespace: "factory", Name: "bulk", UID: "u1", At: time.Now(), Tx: 50 * bitrate.Mbit}
	meter := &lastRates{[]usage.Rate{pod}}
	r := &reporter{Server: &Server{Metrics: NewMetrics(prometheus.NewRegistry()), Meter: meter}, sender: probe.NewSender(probe.Options{}), handed: &handover{}}
	r.take(&api.Assignment{Packed: true, CalmReportMs: uint32(maxCalm.Milliseconds()), LeastReportMs: uint32(least.Milliseconds())})
	r.next()
	if !r.waits(r.last.Add(ReportEvery)) {
		t.Error("a report waits for nothing although all is as it was")
	}
	for k, waits := range []bool{false, true} {
		pod.Tx *= 3
		meter.rates = []usage.Rate{pod}
		if got := r.waits(r.last.Add(ReportEvery)); got != waits {
			t.Errorf("at change %d the next report waits: %v, want %v", k+1, got, waits)
		}
		r.next()
	}
	meter.rates = nil
	if r.waits(r.last.Add(least)) {
		t.Error("nothing is told when its time has come")
	}
}

// Before the first report, and where nobody asked, nothing waits.
func TestNothingWaitsUnasked(t *testing.T) {
	r := &reporter{Server: &Server{Metrics: NewMetrics(prometheus.NewRegistry())}, sender: probe.NewSender(probe.Options{})}
	if r.waits(time.Now()) {
		t.Error("the first report waits")
	}
	r.next()
	if r.waits(r.last.Add(ReportEvery)) {
		t.Error("a report waits although nobody asked for that")
	}
	r.take(&api.Assignment{Packed: true, CalmReportMs: 1 << 31})
	r.next()
	if !r.waits(r.last.Add(maxCalm/2)) || r.waits(r.last.Add(maxCalm)) {
		t.Error("a controller can have reports come too rarely")
	}
}

// Packed, a report says who reports and by what its packets leave once.
func TestPackedReports(t *testing.T) {
	r := &reporter{Server: &Server{Node: "worker-1", Metrics: NewMetrics(prometheus.NewRegistry()), Meter: fixedRates{}}, sender: probe.NewSender(probe.Options{})}
	if full := r.next(); full.GetNode() != "worker-1" || len(full.GetPods()) != 1 || len(full.GetUsage()) != 0 {
		t.Errorf("in full: %v", full)
	}
	r.take(&api.Assignment{Packed: true})
	first, second := r.next(), r.next()
	if len(first.GetPods()) != 0 || len(first.GetNamed()) != 1 || len(first.GetUsage()) != 1 {
		t.Errorf("packed: %v", first)
	}
	if len(second.GetNamed()) != 0 || len(second.GetUsage()[0].GetPods()) != 0 || !second.GetUplinksSame() || second.GetNode() != "" {
		t.Errorf("packed again: %v", second)
	}
}
