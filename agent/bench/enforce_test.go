package bench

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/enforce"
	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// onePod is a node with one pod, whose limits the benchmark sets.
type onePod struct {
	pod     pods.Pod
	changed chan struct{}
}

func (o *onePod) List() []pods.Pod         { return []pods.Pod{o.pod} }
func (o *onePod) Changed() <-chan struct{} { return o.changed }
func (o *onePod) Synced() bool             { return true }

// shaped is a node with a pod and somebody else behind its uplink.
type shaped struct{ host, pod, far *nstest.Net }

// newShaped limits the pod; empty means that it has no limit.
func newShaped(b *testing.B, egress, ingress string) shaped {
	s := shaped{nstest.New(b), nstest.New(b), nstest.New(b)}
	nstest.Veth(b, s.host, "vethpod", "10.88.0.1/32", s.pod, "eth0", "10.88.0.2/24")
	nstest.Veth(b, s.host, "uplink", "10.89.0.1/24", s.far, "eth0", "10.89.0.2/24")
	s.host.Route(b, "10.88.0.2/32", "vethpod", "")
	s.pod.Route(b, "10.89.0.0/24", "eth0", "10.88.0.1")
	s.far.Route(b, "10.88.0.0/24", "eth0", "10.89.0.1")
	run(b, s.host, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	node := &onePod{changed: make(chan struct{}, 1), pod: pods.Pod{
		UID: "u", IPs: []netip.Addr{netip.MustParseAddr("10.88.0.2")}, Egress: egress, Ingress: ingress}}
	var e *enforce.Enforcer
	var err error
	s.host.Do(b, func() { e, err = enforce.New(node, slog.New(slog.DiscardHandler), prometheus.NewRegistry()) })
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- e.Run(ctx, func() bool { return false }) }()
	b.Cleanup(func() {
		cancel()
		if err := <-finished; err != nil {
			b.Error(err)
		}
	})
	node.changed <- struct{}{}
	for e.Enforced("u").Egress == 0 && e.Enforced("u").Ingress == 0 && egress+ingress != "" {
		time.Sleep(10 * time.Millisecond)
	}
	return s
}

// BenchmarkBelowLimit is the delay that a limiter adds for a pod that sends
// half of what it may, evenly.
func BenchmarkBelowLimit(b *testing.B) {
	for _, rate := range []string{"1M", "10M", "100M", "500M"} {
		b.Run(rate, func(b *testing.B) {
			free, freeP99 := below(b, newShaped(b, "", ""), rate)
			held, heldP99 := below(b, newShaped(b, rate, ""), rate)
			b.ReportMetric(held-free, "µs-added-p50")
			within(b, max(0, heldP99-freeP99), 2000, "µs-added-p99")
			b.ReportMetric(heldP99, "µs-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// below probes from the pod while it sends half of rate, and returns the median
// and the p99 of the round trip in microseconds.
func below(b *testing.B, s shaped, rate string) (p50, p99 float64) {
	limit, err := bitrate.Parse(rate)
	if err != nil {
		b.Fatal(err)
	}
	var echo *net.UDPConn
	s.far.Do(b, func() { echo, err = net.ListenUDP("udp4", &net.UDPAddr{Port: stampPort}) })
	if err != nil {
		b.Fatal(err)
	}
	r, err := probe.NewReflector(echo, probe.ReflectorOptions{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	var load net.Conn
	s.pod.Do(b, func() { load, err = net.Dial("udp", "10.89.0.2:9") })
	if err != nil {
		b.Fatal(err)
	}
	defer load.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { _ = r.Serve(ctx) })
	running.Go(func() { evenly(ctx, b, load, limit/2) })
	sender := probe.NewSender(probe.Options{})
	if err := sender.Assign([]probe.Session{{ID: "x", Protocol: workload.STAMP, Host: "10.89.0.2", Port: stampPort, Interval: 5 * time.Millisecond}}); err != nil {
		b.Fatal(err)
	}
	running.Go(func() { _ = s.pod.Run(func() { _ = sender.Run(ctx) }) })
	var trips []time.Duration
	for ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		sender.Collect(func(r probe.Result) {
			for _, sample := range r.Samples {
				if !sample.Lost {
					trips = append(trips, sample.RTT)
				}
			}
		})
	}
	running.Wait()
	return micros(trips, 0.5), micros(trips, 0.99)
}

// evenly sends frames of full size at this rate. What it could not send in time
// it does not make up for: that would be a burst, and above the limit.
func evenly(ctx context.Context, b *testing.B, to net.Conn, rate bitrate.Rate) {
	runtime.LockOSThread() // and not unlocked: the thread ends with this source
	first(b, 0)
	raw, err := to.(*net.UDPConn).SyscallConn()
	if err != nil {
		b.Error(err)
		return
	}
	const payload, frame = 1472, 1514
	packet := make([]byte, payload)
	gap := time.Duration(frame * float64(time.Second) / float64(rate.Bytes()))
	for due := time.Now(); ctx.Err() == nil; due = due.Add(gap) {
		wait := time.Until(due)
		if wait > 100*time.Microsecond {
			pause := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&pause, nil) // keeps the thread
		}
		if late := -wait; late > time.Millisecond {
			due = due.Add(late)
		}
		_ = raw.Write(func(fd uintptr) bool { _, _ = unix.Write(int(fd), packet); return true }) // nobody listens
	}
}

func run(b testing.TB, n *nstest.Net, command ...string) string {
	b.Helper()
	var out []byte
	var err error
	n.Do(b, func() { out, err = exec.Command(command[0], command[1:]...).Output() })
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return string(out)
}
