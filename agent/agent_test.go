package agent

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/limits"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/bitrate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// dial serves s on the loopback and opens a stream to it.
func dial(t *testing.T, s *Server) grpc.BidiStreamingClient[api.Assignment, api.Report] {
	t.Helper()
	s.Log, s.Metrics = slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.Register(g)
	var done sync.WaitGroup
	done.Go(func() { _ = g.Serve(listener) })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); conn.Close(); g.Stop(); done.Wait() })
	stream, err := api.NewAgentClient(conn).Measure(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestMeasure(t *testing.T) {
	echo, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = probe.ServeEcho(ctx, echo) })
	defer done.Wait()
	defer cancel()

	stream := dial(t, &Server{Node: "n1", Role: api.Role_ROLE_PROBE, Probes: true})
	err = stream.Send(&api.Assignment{Sessions: []*api.Session{
		{Id: "good", Protocol: api.Protocol_PROTOCOL_UDP, Host: "127.0.0.1", Port: uint32(echo.LocalAddr().(*net.UDPAddr).Port), MeanIntervalUs: 5000, TimeoutUs: 5_000_000},
		{Id: "bad", Protocol: api.Protocol_PROTOCOL_UDP, Host: "127.0.0.1", Port: 70000, Dscp: 64},
	}})
	if err != nil {
		t.Fatal(err)
	}
	n, refused := 0, ""
	for n < 50 || refused == "" {
		report, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if report.GetNode() != "n1" || report.GetRole() != api.Role_ROLE_PROBE {
			t.Fatalf("report from %q, %v", report.GetNode(), report.GetRole())
		}
		for _, s := range report.GetSessions() {
			if s.GetId() == "bad" {
				refused = s.GetError()
				continue
			}
			n += len(s.GetRttNs())
			if len(s.GetAgeNs()) != len(s.GetRttNs()) || s.GetLost() != s.GetLate() || s.GetError() != "" {
				t.Fatalf("session report %v", s)
			}
			if len(s.GetRttNs()) > 0 && s.GetTimestamps() != api.TimestampSource_TIMESTAMP_SOURCE_KERNEL {
				t.Errorf("timestamps by %v", s.GetTimestamps())
			}
		}
	}
}

// Everything a session measures can be scraped, lints as Prometheus asks, and
// goes when the session does.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry)
	session := probe.Session{ID: "a", Protocol: "stamp", Host: "10.0.0.1", Port: 862}
	m.observe(probe.Result{Session: session, Timestamps: probe.SourceKernel, Totals: probe.Totals{Sent: 3, Received: 2, Lost: 1},
		Samples: []probe.Sample{{RTT: time.Millisecond, HasOneWay: true}, {Lost: true}, {RTT: 2 * time.Millisecond, HasOneWay: true, HasQueue: true}}})
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	want := `
# HELP detnet_probe_latency_seconds Median round trip of the newest probes.
# TYPE detnet_probe_latency_seconds gauge
detnet_probe_latency_seconds{host="10.0.0.1",port="862",protocol="stamp",session="a"} 0.001
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "detnet_probe_latency_seconds"); err != nil {
		t.Error(err)
	}
	m.keepOnly(map[string]bool{})
	if n, err := testutil.GatherAndCount(registry, "detnet_probe_rtt_seconds", "detnet_probe_packets_total", "detnet_probe_success"); err != nil || n != 0 {
		t.Errorf("%d series outlived their session, %v", n, err)
	}
}

type fixedRates struct{}

func (fixedRates) Next() <-chan struct{} { return nil }

func (fixedRates) Since(cursor uint64) ([]usage.Rate, uint64) {
	return []usage.Rate{{Namespace: "ns", Name: "p", UID: "u", At: time.Now(), Length: usage.Window, Tx: 5, Rx: 7,
		Enforced: usage.Enforced{Egress: 11}}}, cursor + 1
}

// An agent of role node reports rates, also where nothing was assigned, and
// runs no sessions.
func TestMeasureNode(t *testing.T) {
	watch, err := uplink.NewWatch(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stream := dial(t, &Server{Node: "n1", Role: api.Role_ROLE_NODE, Meter: fixedRates{}, Uplinks: watch})
	report, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := report.GetUplinks(), watch.Current(); len(got) != len(want) || len(got) > 0 && got[0].GetInterface() != want[0].Interface {
		t.Errorf("uplinks %v, want %+v", got, want)
	}
	p := report.GetPods()[0]
	if p.GetName() != "p" || p.GetTxBps() != 5 || p.GetRxBps() != 7 || p.GetEgressLimitBps() != 11 || p.GetAgeNs() < 0 {
		t.Errorf("pod rate %v", p)
	}
	if err := stream.Send(&api.Assignment{Sessions: []*api.Session{{Id: "x"}}}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv()
	}
	t.Logf("refused: %v", err)
}

// Streams are bounded: nobody can make the agent probe without end.
func TestStreamLimit(t *testing.T) {
	s := &Server{Node: "n1", Probes: true}
	first := dial(t, s)
	if _, err := first.Recv(); err != nil {
		t.Fatal(err)
	}
	if !s.streams.TryAcquire(maxStreams-1) || s.streams.TryAcquire(1) {
		t.Error("the stream does not count against the limit")
	}
}

// A scrape shows nothing that helps to forge an answer: neither the identifier
// of a session nor the number of a packet on the wire.
func TestMetricsHelpNoForger(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	registry := prometheus.NewRegistry()
	s := &Server{Metrics: NewMetrics(registry)}
	first := uint32(3_141_592_653)
	sender := probe.NewSender(probe.Options{FirstNumber: &first})
	spec := probe.Session{ID: "a", Protocol: "stamp", Host: "127.0.0.1", Port: conn.LocalAddr().(*net.UDPAddr).AddrPort().Port(), SSID: 54321, Interval: 5 * time.Millisecond}
	if err := sender.Assign([]probe.Session{spec}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = sender.Run(ctx) })
	defer running.Wait()
	defer cancel()
	s.Metrics.add(sender)
	packet := make([]byte, 1500)
	for range 3 { // three packets are out
		if _, err := conn.Read(packet); err != nil {
			t.Fatal(err)
		}
	}
	(&reporter{Server: s, sender: sender}).next()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			series++
			for _, v := range []float64{m.GetCounter().GetValue(), m.GetGauge().GetValue()} {
				if v == float64(spec.SSID) || v >= float64(first) && v < float64(first)+1000 {
					t.Errorf("%s shows %v", family.GetName(), v)
				}
			}
			for _, l := range m.GetLabel() {
				if l.GetValue() == "54321" {
					t.Errorf("%s has the identifier in its label %s", family.GetName(), l.GetName())
				}
			}
		}
	}
	if series == 0 {
		t.Error("nothing was scraped")
	}
}

// The leader's limits reach the ledger; an agent that enforces nothing says so and
// refuses them, a newer leader ends the stream of the one before.
func TestLimitsOverTheStream(t *testing.T) {
	limit := func(term uint64) *api.Assignment {
		return &api.Assignment{Limits: &api.Limits{Term: term, Pods: []*api.PodLimit{{Uid: "u", EgressBps: 50e6, Sequence: 1}}}}
	}
	server := &Server{Node: "n1", Role: api.Role_ROLE_NODE, Limits: new(limits.Ledger)}
	stream := dial(t, server)
	if report, err := stream.Recv(); err != nil || !report.GetTakesLimits() {
		t.Fatalf("takes limits: %v, %v", report.GetTakesLimits(), err)
	}
	if err := stream.Send(limit(7)); err != nil {
		t.Fatal(err)
	}
	<-server.Limits.Changed()
	if d, listed, _ := server.Limits.Of("u"); !listed || d.Rate != 50*bitrate.Mbit {
		t.Errorf("the ledger has %+v, %v", d, listed)
	}
	if err := server.Limits.Take(limit(8).GetLimits(), time.Now()); err != nil { // of another stream
		t.Fatal(err)
	}
	if err := drained(stream); status.Code(err) != codes.Aborted {
		t.Errorf("the stream of a deposed leader ends with %v", err)
	}

	deaf := dial(t, &Server{Node: "n2", Role: api.Role_ROLE_NODE})
	if err := deaf.Send(limit(7)); err != nil {
		t.Fatal(err)
	}
	if err := drained(deaf); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("an agent that enforces nothing answers %v", err)
	}
}

// drained is how the stream ends.
func drained(stream grpc.BidiStreamingClient[api.Assignment, api.Report]) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

// slow is an app that answers at once, until it is told to wait before each answer.
func slow(t *testing.T) (port uint32, wait *atomic.Int64) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	wait = new(atomic.Int64)
	var done sync.WaitGroup
	done.Go(func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buffer)
			if err != nil {
				return
			}
			answer := bytes.Clone(buffer[:n])
			done.Go(func() { // nobody waits for those before it, or it were lost soon
				time.Sleep(time.Duration(wait.Load()))
				_, _ = conn.WriteToUDPAddrPort(answer, from) // a lost answer is one
			})
		}
	})
	t.Cleanup(func() { conn.Close(); done.Wait() })
	return uint32(conn.LocalAddr().(*net.UDPAddr).Port), wait
}

// A session that becomes late is reported before its time.
func TestLateSessionsAreReportedAtOnce(t *testing.T) {
	port, wait := slow(t)
	stream := dial(t, &Server{Node: "n1", Role: api.Role_ROLE_PROBE, Probes: true})
	if err := stream.Send(&api.Assignment{Sessions: []*api.Session{
		{Id: "s", Protocol: api.Protocol_PROTOCOL_UDP, Host: "127.0.0.1", Port: port, LateRttUs: 200_000},
	}}); err != nil {
		t.Fatal(err)
	}
	late := 0
	for {
		report, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range report.GetSessions() {
			for _, rtt := range s.GetRttNs() {
				if rtt > 200e6 {
					late++
				}
			}
			if s.GetReceived() > 5 {
				wait.Store(int64(250 * time.Millisecond))
			}
		}
		if report.GetUrgent() {
			break
		}
	}
	if late == 0 {
		t.Error("reported as urgent before anything was late")
	}
}
