package listen

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// stranger is a connection from an address; the test sees it closed.
type stranger struct {
	net.Conn
	from   net.Addr
	closed bool
}

func (s *stranger) RemoteAddr() net.Addr { return s.from }
func (s *stranger) Close() error         { s.closed = true; return nil }

// queue is a listener to which connections come one by one.
type queue struct {
	net.Listener
	next *stranger
}

func (q *queue) Accept() (net.Conn, error) {
	next := q.next
	if q.next = nil; next == nil {
		return nil, io.EOF
	}
	return next, nil
}

func newQueue(limits Limits) (*Listener, func(addr string) (*stranger, net.Conn)) {
	q := &queue{}
	l := within(q, "test", limits, slog.New(slog.DiscardHandler))
	return l, func(addr string) (*stranger, net.Conn) {
		q.next = &stranger{from: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}
		s := q.next
		c, err := l.Accept()
		if err != nil {
			c = nil
		}
		return s, c
	}
}

// Who holds most loses the connection that has done the same for longest; the
// newcomer is always let in, whoever shares its address.
func TestGivesWay(t *testing.T) {
	_, accept := newQueue(Limits{Total: 4, PerSource: 3})
	hog1, _ := accept("10.0.0.1:1")
	hog2, _ := accept("10.0.0.1:2")
	hog3, _ := accept("10.0.0.1:3")
	kubelet, c := accept("10.0.0.1:4") // the hog's address
	if c == nil || !hog1.closed || hog2.closed || hog3.closed {
		t.Errorf("at the limit of the source: admitted %v, closed %v %v %v; want the oldest to go", c != nil, hog1.closed, hog2.closed, hog3.closed)
	}
	other, c := accept("10.0.0.2:1")
	if c == nil || hog2.closed || hog3.closed || kubelet.closed {
		t.Error("within the limits somebody had to go")
	}
	another, c := accept("10.0.0.3:1")
	if c == nil || !hog2.closed || hog3.closed || kubelet.closed || other.closed || another.closed {
		t.Error("at the limit of all it is not the oldest of who holds most that goes")
	}
}

// Whatever somebody has most of is what goes: requests that are kept open leave
// time to those who have just come, and floods leave those that are kept.
func TestStates(t *testing.T) {
	for name, tt := range map[string]struct {
		many, few http.ConnState
	}{
		"a flood and an API server's connection":    {http.StateNew, http.StateIdle},
		"a flood and a scrape":                      {http.StateNew, http.StateActive},
		"requests kept open and a newcomer":         {http.StateActive, http.StateNew},
		"idle connections and a newcomer":           {http.StateIdle, http.StateNew},
		"idle connections and a request":            {http.StateIdle, http.StateActive},
		"requests kept open and an idle connection": {http.StateActive, http.StateIdle},
	} {
		l, accept := newQueue(Limits{Total: 8, PerSource: 8})
		kept, c := accept("10.0.0.1:1")
		l.Track(c, http.StateActive)
		l.Track(c, tt.few)
		if tt.few == http.StateNew { // one that has said nothing yet
			c.Close()
			kept, _ = accept("10.0.0.1:1")
			kept.closed = false
		}
		for range 8 {
			_, c := accept("10.0.0.1:2")
			l.Track(c, tt.many)
		}
		if kept.closed {
			t.Errorf("%s: the one had to go for the many", name)
		}
	}
}

// One with an IPv6 address has a network of them.
func TestSources(t *testing.T) {
	_, accept := newQueue(Limits{Total: 8, PerSource: 2})
	first, _ := accept("[2001:db8::1]:1")
	accept("[2001:db8::2]:1")
	accept("[2001:db8::3]:1")
	if !first.closed {
		t.Error("addresses of one network count apart")
	}
	v4, _ := accept("[::ffff:10.0.0.1]:1")
	accept("10.0.0.2:1")
	accept("10.0.0.3:1")
	if v4.closed {
		t.Error("IPv4 addresses count as one source")
	}
}

// A proven connection gives way to nobody, and its source does not pay for it.
func TestProven(t *testing.T) {
	l, accept := newQueue(Limits{Total: 3, PerSource: 2})
	controller, c := accept("10.0.0.1:1")
	l.enter(c.(*conn), proven)
	for range 10 {
		if _, c := accept("10.0.0.1:2"); c == nil {
			t.Fatal("not admitted beside a proven connection")
		}
	}
	if controller.closed {
		t.Error("a proven connection had to go")
	}
	for range 2 {
		_, c := accept("10.0.0.2:1")
		l.enter(c.(*conn), proven)
	}
	if late, c := accept("10.0.0.3:1"); c != nil || !late.closed {
		t.Error("more than all are open")
	}
	if c.Close() != nil || !controller.closed {
		t.Error("not closed")
	}
	if _, c := accept("10.0.0.3:1"); c == nil {
		t.Error("a closed connection still counts")
	}
}

// A server goes on answering while somebody from the same address opens
// connections without end, and says how many had to go.
func TestServe(t *testing.T) {
	registry := prometheus.NewRegistry()
	l, err := TCP(t.Context(), "metrics", "127.0.0.1:0", Limits{Total: 32, PerSource: 16}, slog.New(slog.DiscardHandler), registry)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := l.Serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })); err != nil {
			t.Error(err)
		}
	})
	defer serving.Wait()
	defer stop()
	get := func(header string) (int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			return 0, err
		}
		request.Header.Set("X-Fill", header)
		request.Close = true
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		return answer.StatusCode, answer.Body.Close()
	}
	var flood []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		flood = append(flood, c)
	}
	if code, err := get(""); err != nil || code != http.StatusOK {
		t.Errorf("during a flood: %d, %v", code, err)
	}
	if code, err := get(strings.Repeat("x", 64<<10)); err != nil || code != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("with a header of 64 KiB: %d, %v", code, err)
	}
	if got := l.ended.Load(); got < 84 {
		t.Errorf("%d connections gave way, want 84 or more", got)
	}
	if n, err := testutil.GatherAndCount(registry, "detnet_connections_ended_total"); err != nil || n != 1 {
		t.Errorf("%d series tell of it, %v", n, err)
	}
	for _, c := range flood {
		c.Close()
	}
}
