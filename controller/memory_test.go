package controller

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/controller/agents"
)

// BenchmarkMemory is what a node takes of a leader while all is calm, with its critical
// pod, ten throttleable ones and two agents, over real streams with TLS from another
// process: what is kept, the stacks, and what the process has. With DETNET_HEAP=file the
// heap's profile goes there.
func BenchmarkMemory(b *testing.B) {
	for _, nodes := range []int{100, 300, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			if os.Getenv("GOGC") == "" {
				defer debug.SetGCPercent(debug.SetGCPercent(50)) // as in the chart
			}
			dir := b.TempDir()
			certificateIn(b, dir)
			own, err := certs.OpenDir(dir)
			if err != nil {
				b.Fatal(err)
			}
			node, probe := startAgents(b, dir)
			begun := memory()
			c, t, _ := crowdOf(b, nodes)
			for i := range c.snapshot.Agents {
				a := &c.snapshot.Agents[i]
				port := node
				if a.Role == api.Role_ROLE_PROBE {
					port, a.STAMP = probe, 862
				}
				a.IP = fmt.Sprintf("127.77.%d.%d", i/2/250, i/2%250+1)
				a.Addr = a.IP + ":" + port
			}
			pool := agents.New(credentials.NewTLS(own.MutualClientConfig("detnet-agent")), slog.New(slog.DiscardHandler))
			t.loop.Measurements = pool
			settle := func() {
				for range 40 {
					t.tick(b.Context(), time.Now())
					time.Sleep(calmReports)
				}
			}
			settle()
			calm, since := memory(), time.Now()
			for b.Loop() {
				settle()
			}
			most := memory()
			took := time.Since(since).Seconds()
			b.ReportMetric((most.collecting-calm.collecting)/took, "collecting-cores")
			b.ReportMetric(float64(most.made-calm.made)/took/(1<<20), "made-MiB/s")
			runtime.GC()
			runtime.GC()
			kept := memory()
			connected := 0
			for _, a := range c.snapshot.Agents {
				if pool.State(a).Connected {
					connected++
				}
			}
			if connected != len(c.snapshot.Agents) {
				b.Errorf("%d of %d agents report", connected, len(c.snapshot.Agents))
			}
			for _, m := range t.look.Measured {
				if len(m.Samples) < 150 {
					b.Fatalf("%d samples of a session", len(m.Samples))
				}
			}
			if path := os.Getenv("DETNET_HEAP"); path != "" {
				writeHeap(b, path)
			}
			per := func(is, was uint64, unit string) {
				b.ReportMetric((float64(is)-float64(was))/1024/float64(nodes), unit)
			}
			per(kept.heap, begun.heap, "kept-KiB/node")
			per(kept.stacks, begun.stacks, "stacks-KiB/node")
			per(most.resident, begun.resident, "resident-KiB/node")
			b.ReportMetric(float64(most.resident)/(1<<20), "resident-MiB")
			b.ReportMetric(float64(runtime.NumGoroutine())/float64(nodes), "goroutines/node")
		})
	}
}

// held is what a process has, octets, what it has made in all, and for how long it has
// collected garbage, seconds of a core.
type held struct {
	heap, stacks, resident, made uint64
	collecting                   float64
}

func memory() held {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var pages uint64
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size uint64
		_, _ = fmt.Sscan(string(text), &size, &pages) // 0 where it can't be read
	}
	collecting := []metrics.Sample{{Name: "/cpu/classes/gc/mark/dedicated:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/assist:cpu-seconds"}}
	metrics.Read(collecting)
	return held{m.HeapAlloc, m.StackInuse, pages * uint64(os.Getpagesize()), m.TotalAlloc, collecting[0].Value.Float64() + collecting[1].Value.Float64()}
}

func writeHeap(b *testing.B, path string) {
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	if err := pprof.WriteHeapProfile(file); err != nil {
		b.Fatal(err)
	}
}

// certificateIn writes one that both sides share.
func certificateIn(tb testing.TB, dir string) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "detnet-agent"}, DNSNames: []string{"detnet-agent"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{
		certs.CertFile: public, certs.CAFile: public, certs.KeyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// agentsIn names the directory with the certificate to the process that is the agents.
const agentsIn = "DETNET_BENCH_AGENTS"

// startAgents starts them, and returns the ports of both roles.
func startAgents(b *testing.B, dir string) (node, probe string) {
	b.Helper()
	process := exec.Command(os.Args[0], "-test.run=^TestAgentsOfTheBenchmark$")
	process.Env = append(os.Environ(), agentsIn+"="+dir)
	in, err := process.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := process.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { in.Close(); _ = process.Wait() })
	if _, err := fmt.Fscan(bufio.NewReader(out), &node, &probe); err != nil {
		b.Fatal(err)
	}
	return node, probe
}

// TestAgentsOfTheBenchmark is the process of BenchmarkMemory's agents; else it does nothing.
func TestAgentsOfTheBenchmark(t *testing.T) {
	dir := os.Getenv(agentsIn)
	if dir == "" {
		t.Skip("only for BenchmarkMemory")
	}
	own, err := certs.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []api.Role{api.Role_ROLE_NODE, api.Role_ROLE_PROBE} {
		l, err := net.Listen("tcp4", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		server := grpc.NewServer(grpc.Creds(credentials.NewTLS(own.MutualServerConfig())))
		api.RegisterAgentServer(server, &calmAgents{role: role})
		go func() { _ = server.Serve(l) }()
		defer server.Stop()
		fmt.Println(l.Addr().(*net.TCPAddr).Port)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// calmAgents are those of one role of all nodes: an address tells the node.
type calmAgents struct {
	api.UnimplementedAgentServer
	role api.Role
}

// Measure implements api.AgentServer.
func (c *calmAgents) Measure(s grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	p, _ := peer.FromContext(s.Context())
	ip := p.LocalAddr.(*net.TCPAddr).IP.To4()
	index := int(ip[2])*250 + int(ip[3]) - 1
	var assigned atomic.Pointer[api.Assignment]
	go func() {
		for {
			a, err := s.Recv()
			if err != nil {
				return
			}
			assigned.Store(a)
		}
	}()
	ticker := time.NewTicker(calmReports)
	defer ticker.Stop()
	now := time.Now()
	said := spoken{began: now, probed: now, counted: now}
	for {
		select {
		case <-s.Context().Done():
			return nil
		case <-ticker.C:
			if err := s.Send(c.report(index, assigned.Load(), &said, time.Now())); err != nil {
				return err
			}
		}
	}
}

// spoken is what an agent has said on a stream: as real ones, it says each thing once.
type spoken struct {
	began           time.Time
	probed, counted time.Time // up to then
	names           wire.Names
}

func (c *calmAgents) report(index int, a *api.Assignment, told *spoken, now time.Time) *api.Report {
	const probes = 20 * time.Millisecond
	r := &api.Report{Role: c.role, Calm: true, StampKeyHeld: true, TakesLimits: c.role == api.Role_ROLE_NODE, SentUs: uint64(now.Sub(told.began).Microseconds()) + 1}
	var sent []time.Time
	for ; now.Sub(told.probed) >= probes; told.probed = told.probed.Add(probes) {
		sent = append(sent, told.probed)
	}
	for _, session := range a.GetSessions() {
		samples := make([]wire.Sample, len(sent))
		for k, at := range sent {
			rtt := 200*time.Microsecond + time.Duration((now.UnixMicro()+int64(k)*7919)%40_000)
			samples[k] = wire.Sample{Age: now.Sub(at), RTT: rtt, HasOneWay: true, Forward: rtt/2 + time.Second, Backward: rtt - rtt/2 - time.Second}
		}
		p := &api.PackedSession{Number: session.GetNumber()}
		wire.Pack(p, samples)
		r.Packed = append(r.Packed, p)
	}
	if c.role != api.Role_ROLE_NODE {
		return r
	}
	var rates []wire.Rate
	for ; now.Sub(told.counted) >= Period; told.counted = told.counted.Add(Period) {
		for i := range 10 {
			name := fmt.Sprintf("pod-%05d", 10*index+i)
			rates = append(rates, wire.Rate{Pod: wire.Pod{Namespace: "factory", Name: name, UID: "uid-" + name, Limit: 100e6}, At: told.counted.Add(Period), Tx: 5e6})
		}
	}
	told.names.Pack(r, rates, now)
	return r
}
