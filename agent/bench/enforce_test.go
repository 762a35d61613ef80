package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/detnet/detnet/agent/enforce"
	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/bitrate"
)

// onePod is a node with one pod, whose limits the benchmark sets.
type onePod struct {
	pod     pods.Pod
	changed chan struct{}
}

func (o *onePod) List() []pods.Pod         { return []pods.Pod{o.pod} }
func (o *onePod) Changed() <-chan struct{} { return o.changed }
func (o *onePod) Synced() bool             { return true }

// BenchmarkLimit is how exactly a limit is kept, by what iperf3's receiver got
// over ten seconds.
func BenchmarkLimit(b *testing.B) {
	for _, direction := range []string{"egress", "ingress"} {
		for _, load := range []string{"tcp", "udp"} {
			for _, rate := range []string{"1M", "10M", "100M", "500M"} {
				b.Run(direction+"/"+load+"/"+rate, func(b *testing.B) {
					limit, err := bitrate.Parse(rate)
					if err != nil {
						b.Fatal(err)
					}
					got := limited(b, direction, rate, load, limit)
					b.ReportMetric(got/1e6, "Mbit/s")
					b.ReportMetric(100*(got/float64(limit)-1), "%off")
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

func limited(b *testing.B, direction, rate, load string, limit bitrate.Rate) float64 {
	host, pod, far := nstest.New(b), nstest.New(b), nstest.New(b)
	nstest.Veth(b, host, "vethpod", "10.88.0.1/32", pod, "eth0", "10.88.0.2/24")
	nstest.Veth(b, host, "uplink", "10.89.0.1/24", far, "eth0", "10.89.0.2/24")
	host.Route(b, "10.88.0.2/32", "vethpod", "")
	pod.Route(b, "10.89.0.0/24", "eth0", "10.88.0.1")
	far.Route(b, "10.88.0.0/24", "eth0", "10.89.0.1")
	run(b, host, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")

	node := &onePod{changed: make(chan struct{}, 1),
		pod: pods.Pod{UID: "u", IPs: []netip.Addr{netip.MustParseAddr("10.88.0.2")}}}
	sender, receiver, to := pod, far, "10.89.0.2"
	if direction == "egress" {
		node.pod.Egress = rate
	} else {
		node.pod.Ingress = rate
		sender, receiver, to = far, pod, "10.88.0.2"
	}
	var e *enforce.Enforcer
	var err error
	host.Do(b, func() { e, err = enforce.New(node, slog.New(slog.DiscardHandler), prometheus.NewRegistry()) })
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	finished := make(chan error, 1)
	go func() { finished <- e.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-finished })
	node.changed <- struct{}{}

	server := exec.Command("iperf3", "-s", "-1")
	receiver.Do(b, func() { err = server.Start() })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	time.Sleep(300 * time.Millisecond)
	args := []string{"iperf3", "-J", "-c", to, "-t", "10"}
	if load == "udp" {
		args = append(args, "-u", "-b", fmt.Sprint(int64(limit)*3/2), "-l", "1400")
	} else {
		args = append(args, "-C", "cubic")
	}
	var result struct {
		End struct {
			SumReceived struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	out := run(b, sender, args...)
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		b.Fatal(err)
	}
	return result.End.SumReceived.BitsPerSecond
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
