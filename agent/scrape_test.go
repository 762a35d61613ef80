package agent

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/internal/alive"
)

// Reports, scrapes, new assignments and streams that come and go disturb nobody:
// each calls into the other, and none may hold its lock meanwhile.
func TestScrapeReportAssign(t *testing.T) {
	const rounds = 300
	registry := prometheus.NewRegistry()
	s := &Server{Metrics: NewMetrics(registry), Alive: alive.New()}
	session := func(id string, every time.Duration) probe.Session {
		return probe.Session{ID: id, Protocol: "udp", Host: "127.0.0.1", Port: 9, Interval: every, Timeout: time.Second}
	}
	senders := []*probe.Sender{probe.NewSender(probe.Options{}), probe.NewSender(probe.Options{})}
	var all sync.WaitGroup
	for _, sender := range senders {
		s.Metrics.add(sender)
		all.Go(func() {
			for n := range rounds {
				if err := sender.Assign([]probe.Session{session("kept", time.Second), session("changed", time.Duration(1+n%3)*time.Second), {ID: "bad"}}); err == nil {
					t.Error("a session without a protocol is taken")
				}
			}
		})
		all.Go(func() {
			r := &reporter{Server: s, sender: sender}
			for range rounds {
				r.next()
			}
		})
	}
	for range 2 {
		all.Go(func() {
			for range rounds {
				if _, err := registry.Gather(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range rounds {
			passing := probe.NewSender(probe.Options{})
			s.Metrics.add(passing)
			s.Metrics.remove(passing)
		}
	})
	all.Wait() // a deadlock ends at the test's deadline
}

// A visitor may call the Sender that it visits.
func TestVisitorCallsBack(t *testing.T) {
	sender := probe.NewSender(probe.Options{})
	spec := probe.Session{ID: "a", Protocol: "udp", Host: "127.0.0.1", Port: 9, Interval: time.Second, Timeout: time.Second}
	if err := sender.Assign([]probe.Session{spec}); err != nil {
		t.Fatal(err)
	}
	visits := 0
	sender.Collect(func(probe.Result) {
		visits++
		sender.Drops()
		if err := sender.Assign(nil); err != nil {
			t.Error(err)
		}
	})
	if visits != 1 {
		t.Errorf("%d visits, want that of the session", visits)
	}
}

// hangingMeter is a part of the agent that does not answer.
type hangingMeter struct{ release chan struct{} }

func (hangingMeter) Next() <-chan struct{} { return nil }

func (m hangingMeter) Since(uint64) ([]usage.Rate, uint64) {
	<-m.release
	return nil, 0
}

// silentStream is a stream whose controller has gone.
type silentStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s silentStream) Context() context.Context     { return s.ctx }
func (silentStream) Recv() (*api.Assignment, error) { return nil, io.EOF }
func (silentStream) Send(*api.Report) error         { return io.EOF }

// Whatever hangs inside a report is seen by the liveness probe.
func TestReportHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := hangingMeter{make(chan struct{})}
		s := &Server{Metrics: NewMetrics(prometheus.NewRegistry()), Alive: alive.New(), Meter: m}
		go func() {
			r := &reporter{Server: s, sender: probe.NewSender(probe.Options{}), handed: new(handover)}
			_ = r.report(silentStream{ctx: t.Context()}, nil)
		}()
		time.Sleep(alive.Patience)
		if err := s.Alive.Check(nil); err != nil {
			t.Errorf("too early: %v", err)
		}
		time.Sleep(time.Second)
		if err := s.Alive.Check(nil); err == nil {
			t.Error("an agent whose reports hang is called alive")
		}
		close(m.release)
	})
}
