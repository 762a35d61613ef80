package agent

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/internal/freeport"
)

// An endpoint outside the cluster may be down for a while: its session says so
// and comes back by itself, and the others do not notice.
func TestEndpointComesBack(t *testing.T) {
	listen := func(addr string) net.Listener {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		var accepting sync.WaitGroup
		accepting.Go(func() { // or its queue is full after a while
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		})
		t.Cleanup(func() { l.Close(); accepting.Wait() })
		return l
	}
	port := func(l net.Listener) uint32 { return uint32(l.Addr().(*net.TCPAddr).Port) }
	healthy, other := listen("127.0.0.1:0"), listen(freeport.Addr(t))
	address := other.Addr().String()
	other.Close()

	stream := dial(t, &Server{Node: "n1", Role: api.Role_ROLE_PROBE, Probes: true})
	session := func(id string, port uint32) *api.Session {
		return &api.Session{Id: id, Protocol: api.Protocol_PROTOCOL_TCP, Host: "127.0.0.1", Port: port,
			MeanIntervalUs: uint32((5 * time.Millisecond).Microseconds()), TimeoutUs: 5_000_000}
	}
	if err := stream.Send(&api.Assignment{Sessions: []*api.Session{
		session("healthy", port(healthy)), session("other", port(other))}}); err != nil {
		t.Fatal(err)
	}
	// report waits until the other session is as it should be.
	report := func(what string, is func(*api.SessionReport) bool) (healthy, other *api.SessionReport) {
		for {
			r, err := stream.Recv()
			if err != nil {
				t.Fatalf("waiting until the endpoint %s: %v", what, err)
			}
			if len(r.GetSessions()) != 2 {
				continue
			}
			healthy, other = r.GetSessions()[0], r.GetSessions()[1]
			if healthy.GetReceived() > 0 && is(other) {
				return healthy, other
			}
		}
	}
	refused, r := report("refuses", func(r *api.SessionReport) bool { return strings.Contains(r.GetError(), "refused") && r.GetSent() > 1 })
	if r.GetReceived() != 0 || len(r.GetRttNs()) > 0 && r.GetRttNs()[0] >= 0 {
		t.Errorf("a refused port was measured: %v", r)
	}
	if 10*r.GetSent() > refused.GetSent()+100 {
		t.Errorf("%d tries of a refused port beside %d packets to the other", r.GetSent(), refused.GetSent())
	}
	listen(address)
	back, r := report("answers", func(r *api.SessionReport) bool { return r.GetError() == "" && r.GetReceived() > 10 })
	if back.GetLost() != back.GetLate() || back.GetError() != "" {
		t.Errorf("the healthy session: %v", back)
	}
	t.Logf("%d tries were lost", r.GetLost())
}
