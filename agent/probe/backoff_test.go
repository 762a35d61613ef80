package probe

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/detnet/detnet/workload"
)

// A refused port is an error on its session, which slows down; a name is
// looked up.
func TestRefusedBacksOff(t *testing.T) {
	l := newLab(t)
	port := l.echoUDP(t, nil)
	for _, protocol := range []workload.Protocol{workload.UDP, workload.TCP} {
		t.Run(string(protocol), func(t *testing.T) {
			s := l.start(t,
				Session{ID: "refused", Protocol: protocol, Host: "10.99.0.2", Port: 9, Interval: 5 * time.Millisecond, Timeout: 50 * time.Millisecond},
				Session{ID: "named", Protocol: workload.UDP, Host: "far.test", Port: port, Interval: 5 * time.Millisecond, Timeout: noLoss})
			got := gather(t, s, func(got map[string]*Result) bool {
				return samples("named", 100)(got) && got["refused"].Err != nil && len(got["refused"].Samples) > 0
			})
			r := got["refused"]
			if !errors.Is(r.Err, syscall.ECONNREFUSED) {
				t.Errorf("error %v, want that it is refused", r.Err)
			}
			if r.Totals.Sent > 20 || r.Totals.Received != 0 || !r.Samples[0].Lost {
				t.Errorf("refused: %+v; want few packets, all lost", r.Totals)
			}
			if n := got["named"]; n.Totals.Lost != n.Totals.Late || n.Err != nil {
				t.Errorf("named: %+v, %v", n.Totals, n.Err)
			}
		})
	}
}

// lateNames does not know the host until it is told.
type lateNames struct {
	known   atomic.Bool
	lookups atomic.Int64
}

func (l *lateNames) LookupHost(ctx context.Context, host string) ([]string, error) {
	l.lookups.Add(1)
	if !l.known.Load() {
		host = "unknown"
	}
	return fakeNames{}.LookupHost(ctx, host)
}

// A name that cannot be found is an error on its session, is looked up again
// with a back-off, and measured once it is known; the others go on.
func TestNameIsFoundLater(t *testing.T) {
	l := newLab(t)
	port := l.echoUDP(t, nil)
	names := &lateNames{}
	s := NewSender(Options{Resolver: names})
	if err := s.Assign([]Session{
		{ID: "named", Protocol: workload.UDP, Host: "far.test", Port: port, Interval: 5 * time.Millisecond, Timeout: noLoss},
		{ID: "other", Protocol: workload.UDP, Host: "10.99.0.2", Port: port, Interval: 5 * time.Millisecond, Timeout: noLoss},
	}); err != nil {
		t.Fatal(err)
	}
	l.run(t, s)
	got := gather(t, s, func(got map[string]*Result) bool {
		return samples("other", 100)(got) && got["named"].Failures > 1
	})
	var missing *net.DNSError
	if n := got["named"]; !errors.As(n.Err, &missing) || n.Totals.Sent != 0 {
		t.Errorf("an unknown name: %v, %+v", n.Err, n.Totals)
	}
	if n := names.lookups.Load(); n > int64(len(got["other"].Samples))/10 {
		t.Errorf("%d lookups beside %d packets", n, len(got["other"].Samples))
	}
	names.known.Store(true)
	got = gather(t, s, samples("named", 10))
	if n := got["named"]; n.Err != nil || n.Failures != 0 {
		t.Errorf("a known name: %v, %d failures", n.Err, n.Failures)
	}
	if o := got["other"]; o.Totals.Lost != o.Totals.Late || o.Err != nil {
		t.Errorf("the other session: %+v, %v", o.Totals, o.Err)
	}
}
