package bench

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
	"github.com/detnet/detnet/workload"
)

// path is a pod that probes another one, each behind its node; the nodes'
// uplinks are the bottleneck.
type path struct{ pod, node, farNode, farPod *nstest.Net }

func newPath(t *testing.T) path {
	p := path{nstest.New(t), nstest.New(t), nstest.New(t), nstest.New(t)}
	nstest.Veth(t, p.pod, "eth0", "10.1.0.2/24", p.node, "pod", "10.1.0.1/24")
	nstest.Veth(t, p.node, "uplink", "10.2.0.1/24", p.farNode, "uplink", "10.2.0.2/24")
	nstest.Veth(t, p.farNode, "pod", "10.3.0.1/24", p.farPod, "eth0", "10.3.0.2/24")
	p.pod.Route(t, "10.0.0.0/8", "eth0", "10.1.0.1")
	p.farPod.Route(t, "10.0.0.0/8", "eth0", "10.3.0.1")
	p.node.Route(t, "10.3.0.0/24", "uplink", "10.2.0.2")
	p.farNode.Route(t, "10.1.0.0/24", "uplink", "10.2.0.1")
	for _, n := range []*nstest.Net{p.node, p.farNode} {
		run(t, n, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
		run(t, n, "tc", "qdisc", "add", "dev", "uplink", "root", "tbf", "rate", "20mbit", "burst", "5kb", "limit", "40kb")
	}
	return p
}

// load sends half as much again as the uplink takes, from n to to.
func load(ctx context.Context, t *testing.T, n *nstest.Net, to string) func() {
	var conn net.Conn
	var err error
	n.Do(t, func() { conn, err = net.Dial("udp", to+":9") })
	if err != nil {
		t.Fatal(err)
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		packet, gap := make([]byte, 1200), 320*time.Microsecond
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for due := time.Now(); ; {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			for ; time.Since(due) > 0 && ctx.Err() == nil; due = due.Add(gap) { // ticks that a busy machine missed included
				_, _ = conn.Write(packet) // nobody listens
			}
		}
	})
	return func() { sending.Wait(); conn.Close() }
}

// The agent names the uplink that is congested.
func TestDirection(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, tt := range map[string]struct {
		forward, backward bool
		want              stats.Segment
	}{
		"none":       {want: stats.Nowhere},
		"own egress": {forward: true, want: stats.OwnEgress},
		"far egress": {backward: true, want: stats.FarEgress},
		"both":       {forward: true, backward: true, want: stats.Elsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPath(t)
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			defer running.Wait()
			defer cancel()
			var conn *net.UDPConn
			var err error
			p.farPod.Do(t, func() { conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: stampPort}) })
			if err != nil {
				t.Fatal(err)
			}
			r, err := probe.NewReflector(conn, probe.ReflectorOptions{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			running.Go(func() { _ = r.Serve(ctx) })
			s := probe.NewSender(probe.Options{})
			if err := s.Assign([]probe.Session{{ID: "x", Protocol: workload.STAMP, Host: "10.3.0.2", Port: stampPort, Interval: 5 * time.Millisecond}}); err != nil {
				t.Fatal(err)
			}
			running.Go(func() { _ = p.pod.Run(func() { _ = s.Run(ctx) }) })

			series, begin := stats.New(200), time.Now()
			collect := func(d time.Duration) {
				for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
					s.Collect(func(r probe.Result) { series.Add(r.Samples, time.Since(begin)) })
				}
			}
			collect(2500 * time.Millisecond) // calm: the base, and the clocks
			if tt.forward {
				defer load(ctx, t, p.node, "10.2.0.2")()
			}
			if tt.backward {
				defer load(ctx, t, p.farNode, "10.2.0.1")()
			}
			defer cancel()
			collect(2 * time.Second)
			for end := time.Now().Add(time.Minute); ; collect(500 * time.Millisecond) { // a busy machine measures and sends late
				got := series.Summary()
				d := stats.Direction(got, time.Millisecond)
				if d == tt.want {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%s, want %s; PDV %v, forward %v, backward %v", d, tt.want, got.PDV.P50, got.Forward.P50, got.Backward.P50)
				}
			}
		})
	}
}
