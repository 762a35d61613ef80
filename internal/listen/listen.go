// Package listen accepts connections of strangers within bounds. Whoever opens
// too many loses the ones that are worth least, and nobody is ever refused: the
// kubelet, Prometheus and the controller may share their address with a pod that
// misbehaves (the kubelet's probes come from the node's address, and so does
// what a node masquerades), so that a limit which makes newcomers wait, as
// golang.org/x/net/netutil's does, would lock out those whom the server is for.
package listen

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits bound the connections of one listener.
type Limits struct {
	Total     int // at once
	PerSource int // at once from one IPv4 address, or one IPv6 network of 64 bits
}

// Few is for who has a handful of clients: a kubelet, some Prometheus servers,
// some controllers.
var Few = Limits{Total: 128, PerSource: 64}

// Many is for who serves API servers, which keep a connection each, all perhaps
// from one address.
var Many = Limits{Total: 512, PerSource: 384}

// Listener accepts TCP connections. When a limit is reached, a connection gives
// way to the newcomer: of the source that holds most, of what most of those do
// (nothing yet, nothing any more, or to wait for an answer), the one that has
// done it for longest. Since a kubelet's or
// Prometheus's request takes milliseconds, it ends before that is them, also
// where somebody opens thousands of connections a second from their address. A
// proven connection never gives way.
type Listener struct {
	net.Listener
	limits Limits
	name   string
	log    *slog.Logger
	ended  atomic.Uint64

	mu     sync.Mutex
	open   map[*conn]struct{}
	turn   uint64    // number of the last change of any connection's state
	warned time.Time // when somebody was last told
}

// TCP listens on addr. Name is what the listener is called in the log and in
// detnet_connections_ended_total; a nil registerer leaves that out.
func TCP(ctx context.Context, name, addr string, limits Limits, log *slog.Logger, r prometheus.Registerer) (*Listener, error) {
	inner, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", name, err)
	}
	l := within(inner, name, limits, log)
	if r == nil {
		return l, nil
	}
	err = r.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name:        "detnet_connections_ended_total",
		Help:        "Connections that gave way to newer ones because too many were open.",
		ConstLabels: prometheus.Labels{"listener": name},
	}, func() float64 { return float64(l.ended.Load()) }))
	if err != nil {
		inner.Close()
		return nil, fmt.Errorf("listen for %s: %w", name, err)
	}
	return l, nil
}

// within keeps the connections of inner within limits.
func within(inner net.Listener, name string, limits Limits, log *slog.Logger) *Listener {
	return &Listener{Listener: inner, limits: limits, name: name, log: log, open: map[*conn]struct{}{}}
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, listener: l, source: sourceOf(raw.RemoteAddr())}
		ended, admitted, tell := l.admit(c)
		if ended != nil {
			l.ended.Add(1)
			abort(ended.Conn)
		}
		if tell {
			l.log.Warn("too many connections: the oldest of who holds most give way to newer ones",
				"listener", l.name, "source", ended.source.String(), "limit", l.limits.Total, "limitOfSource", l.limits.PerSource)
		}
		if admitted {
			return c, nil
		}
	}
}

// tellEvery is how often a flood is told of.
const tellEvery = time.Minute

// admit makes room for c. Ended is who has to go for it; where nobody may, that
// is c itself.
func (l *Listener) admit(c *conn) (ended *conn, admitted, tell bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room(c.source) {
		l.add(c)
		return nil, true, false
	}
	if ended = l.worst(c.source); ended == nil {
		ended = c
	} else {
		delete(l.open, ended)
		l.add(c)
	}
	now := time.Now()
	if tell = now.Sub(l.warned) >= tellEvery; tell {
		l.warned = now
	}
	return ended, ended != c, tell
}

func (l *Listener) add(c *conn) {
	l.turn++
	c.since = l.turn
	l.open[c] = struct{}{}
}

// held is what one source has, by state. Proven connections count for all, but
// not for their source: who shares it must not pay for them, nor they for it.
type held [proven]int

func (h held) all() int { return h[fresh] + h[idle] + h[busy] }

func (l *Listener) bySource() map[netip.Prefix]held {
	sources := map[netip.Prefix]held{}
	for c := range l.open {
		if c.state != proven {
			h := sources[c.source]
			h[c.state]++
			sources[c.source] = h
		}
	}
	return sources
}

// room reports whether one more from source is within the limits.
func (l *Listener) room(source netip.Prefix) bool {
	if len(l.open) < min(l.limits.Total, l.limits.PerSource) {
		return true
	}
	return len(l.open) < l.limits.Total && l.bySource()[source].all() < l.limits.PerSource
}

// worst is the connection that gives way to one from source; nil if nobody may.
// It is of the state that most of its source are in: whoever opens connections
// without end can't end those that API servers keep, and whoever keeps requests
// open can't end those that have just come.
func (l *Listener) worst(source netip.Prefix) *conn {
	sources := l.bySource()
	if sources[source].all() < l.limits.PerSource {
		for other, h := range sources {
			if h.all() > sources[source].all() {
				source = other
			}
		}
	}
	h, most := sources[source], fresh
	for _, s := range []state{idle, busy} {
		if h[s] > h[most] {
			most = s
		}
	}
	var worst *conn
	for c := range l.open {
		if c.source == source && c.state == most && (worst == nil || c.since < worst.since) {
			worst = c
		}
	}
	return worst
}

// enter notes what c does now.
func (l *Listener) enter(c *conn, s state) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.state == proven {
		return
	}
	l.turn++
	c.state, c.since = s, l.turn
}

func (l *Listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}
