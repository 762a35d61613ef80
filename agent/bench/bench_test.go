// Package bench measures the agent itself: what it costs, and how far its
// figures are from those of a packet capture. "make bench-agent" runs it.
//
// The agent and the reflector run as processes of their own, each in a network
// namespace, so that only the agent's work is counted. A controller in the
// benchmark reads the reports, as in a cluster.
package bench

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/nstest"
)

const stampPort = 862

// rig is two agents of role probe, joined by a veth pair: one sends and one
// reflects.
type rig struct {
	near, far        *nstest.Net
	agent, reflector *exec.Cmd
}

// build returns the path of the program that users run.
func build(b testing.TB) string {
	path := filepath.Join(b.TempDir(), "detnet-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/detnet/detnet/cmd/detnet-agent")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("build the agent: %v\n%s", err, out)
	}
	return path
}

func newRig(b testing.TB) *rig {
	program := build(b)
	r := &rig{near: nstest.New(b), far: nstest.New(b)}
	nstest.Veth(b, r.near, "near", "10.99.0.1/24", r.far, "far", "10.99.0.2/24")
	r.reflector = start(b, r.far, program, "--reflector-rate=1e6")
	r.agent = start(b, r.near, program)
	for range 100 {
		conn, err := r.dial(context.Background(), "")
		if err == nil {
			conn.Close()
			return r
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.Fatal("the agent does not come up")
	return nil
}

func start(b testing.TB, n *nstest.Net, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, append([]string{"--role=probe", "--node-name=bench", "--insecure", "--tls-dir=",
		"--reflector=:862", "--log-level=warn"}, args...)...)
	cmd.Stderr = os.Stderr
	var err error
	n.Do(b, func() { err = cmd.Start() })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

// dial connects to the agent inside its namespace.
func (r *rig) dial(context.Context, string) (conn net.Conn, err error) {
	if failed := r.near.Run(func() { conn, err = net.Dial("tcp", "127.0.0.1:9443") }); failed != nil {
		return nil, failed
	}
	return conn, err
}

// measure holds a stream with n sessions to the other end for d, and returns how
// many samples came and what the last report said of losses.
func (r *rig) measure(b testing.TB, n int, protocol api.Protocol, port uint16, d time.Duration) (samples int, lost uint64) {
	conn, err := grpc.NewClient("passthrough:///agent", grpc.WithContextDialer(r.dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	stream, err := api.NewAgentClient(conn).Measure(ctx)
	if err != nil {
		b.Fatal(err)
	}
	a := &api.Assignment{}
	for i := range n {
		a.Sessions = append(a.Sessions, &api.Session{Id: strconv.Itoa(i), Protocol: protocol, Host: "10.99.0.2", Port: uint32(port)})
	}
	if err := stream.Send(a); err != nil {
		b.Fatal(err)
	}
	for {
		report, err := stream.Recv()
		if err != nil {
			return samples, lost
		}
		lost = 0
		for _, s := range report.GetSessions() {
			samples += len(s.GetRttNs())
			lost += s.GetLost()
		}
	}
}

// cpu is the processor time that a process has used, to the nanosecond: the
// sampled times of /proc/PID/stat mistake a process that wakes up by timers.
func cpu(b testing.TB, p *exec.Cmd) (used time.Duration) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.Process.Pid))
	if err != nil || len(tasks) == 0 {
		b.Fatalf("no scheduler statistics of process %d: %v", p.Process.Pid, err)
	}
	for _, task := range tasks {
		if stat, err := os.ReadFile(task); err == nil { // a thread may end at any time
			ns, _ := strconv.ParseInt(strings.Fields(string(stat))[0], 10, 64)
			used += time.Duration(ns)
		}
	}
	return used
}

// memory is a line of /proc/PID/status in MiB.
func memory(b testing.TB, p *exec.Cmd, key string) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024
		}
	}
	b.Fatalf("no %s in /proc/PID/status", key)
	return 0
}

// The bars for 50 Hz a session, in percent of a core and MiB resident.
var bars = map[int]struct{ core, memory float64 }{20: {2, 20}, 200: {15, 40}}

// BenchmarkSessions is what the agent costs, at 50 Hz a session. The work that
// the kernel does in its place at the other end of the veth pair is in it, which
// a NIC would take off it: a tenth of the processor time, with TCP a quarter.
func BenchmarkSessions(b *testing.B) {
	for _, protocol := range []api.Protocol{api.Protocol_PROTOCOL_STAMP, api.Protocol_PROTOCOL_TCP} {
		for _, n := range []int{20, 200} {
			b.Run(fmt.Sprintf("%s/%d", strings.ToLower(strings.TrimPrefix(protocol.String(), "PROTOCOL_")), n), func(b *testing.B) {
				r, port := newRig(b), uint16(stampPort)
				if protocol == api.Protocol_PROTOCOL_TCP {
					port = accept(b, r.far)
				}
				r.measure(b, n, protocol, port, time.Second) // warm
				const length = 10 * time.Second
				before, reflector := cpu(b, r.agent), cpu(b, r.reflector)
				samples, lost := r.measure(b, n, protocol, port, length)
				core, reflected := cpu(b, r.agent)-before, cpu(b, r.reflector)-reflector
				resident := memory(b, r.agent, "VmHWM")
				if protocol == api.Protocol_PROTOCOL_STAMP {
					within(b, percent(core, length), bars[n].core, "%core")
					within(b, resident, bars[n].memory, "MiB")
					b.ReportMetric(percent(reflected, length), "%core-reflector")
				} else {
					b.ReportMetric(percent(core, length), "%core")
					b.ReportMetric(resident, "MiB")
				}
				b.ReportMetric(memory(b, r.agent, "RssAnon"), "MiB-anonymous")
				b.ReportMetric(float64(samples)/length.Seconds(), "samples/s")
				b.ReportMetric(float64(lost), "lost")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func percent(used, of time.Duration) float64 { return 100 * used.Seconds() / of.Seconds() }

// accept takes connections inside n, and closes them, until the benchmark ends.
func accept(b *testing.B, n *nstest.Net) (port uint16) {
	var listener net.Listener
	var err error
	n.Do(b, func() { listener, err = net.Listen("tcp", ":0") })
	if err != nil {
		b.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	})
	b.Cleanup(func() { listener.Close(); accepting.Wait() })
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}
