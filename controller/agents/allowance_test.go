package agents

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/await"
)

// inFull is what sessions of 200 packets a second and pods report in 100 ms, by an
// agent that does not pack.
func inFull(sessions, pods int) *api.Report {
	r := &api.Report{Node: "worker-1"}
	for i := range sessions {
		s := &api.SessionReport{Id: fmt.Sprintf("worker-%d → factory/robot-%d udp:5201 10.1.0.%d", i, i, i)}
		for k := range 20 {
			s.AgeNs, s.RttNs = append(s.AgeNs, int64(k)*5e6), append(s.RttNs, 345_678)
			s.ForwardNs, s.BackwardNs = append(s.ForwardNs, 1_234_567_890_123), append(s.BackwardNs, -1_234_567_543_210)
		}
		r.Sessions = append(r.Sessions, s)
	}
	for i := range pods {
		r.Pods = append(r.Pods, &api.PodRate{
			Namespace: "factory", Name: fmt.Sprintf("telemetry-7d9c5b6f4-%05d", i), Uid: "0123456789abcdef0123456789abcdef0123",
			AgeNs: 5e7, WindowNs: 1e8, TxBps: 5e6, RxBps: 5e6, EgressLimitBps: 1e9, LimitTerm: 1 << 50, LimitSequence: 1 << 20,
		})
	}
	return r
}

// What an agent reports that does what it is asked is taken, also in full and of many
// pods; what only a hostile one reports is not, and costs no decoding.
func TestAllowance(t *testing.T) {
	const none = ""
	short := make([]byte, 2*(partsForPods+100)) // messages without anything in them
	for i := range len(short) / 2 {
		short[2*i] = 3<<3 | 2 // sessions, of no octets
	}
	marshal := func(r *api.Report) []byte {
		raw, err := proto.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, tt := range map[string]struct {
		sessions int
		raw      []byte
		every    time.Duration
		want     string
	}{
		"four late sessions":           {4, marshal(inFull(4, 0)), 20 * time.Millisecond, none},
		"500 pods":                     {0, marshal(inFull(0, 500)), 100 * time.Millisecond, none},
		"2,000 sessions":               {2000, marshal(inFull(2000, 0)), 400 * time.Millisecond, none},
		"sessions nobody asked for":    {0, marshal(inFull(2000, 0)), 400 * time.Millisecond, "a second"},
		"4 MB, back to back":           {4, make([]byte, 4<<20), 0, "4194304 octets"},
		"1 MB, back to back":           {4, make([]byte, 1<<20), 0, "a second"},
		"reports of nothing":           {4, nil, 100 * time.Microsecond, "a second"},
		"messages of nothing":          {0, short, time.Second, "more than 16384 sessions"},
		"as many for so many sessions": {100, short, time.Second, none},
	} {
		t.Run(name, func(t *testing.T) {
			a, now := newAllowance(), epoch
			a.ask(tt.sessions)
			var err error
			most := 2000
			if len(tt.raw) == 0 {
				most += reportsAtOnce
			}
			for i := 0; i < most && err == nil; i++ {
				err = a.take(tt.raw, now)
				now = now.Add(tt.every)
			}
			if tt.want == none && err != nil || tt.want != none && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// flooding is an agent that reports one thing back to back.
type flooding struct {
	api.UnimplementedAgentServer
	report  *api.Report
	streams atomic.Int64
}

func (f *flooding) Measure(s grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	f.streams.Add(1)
	for {
		if err := s.Send(f.report); err != nil {
			return err
		}
	}
}

// An agent that reports too much loses its stream and is said to; nothing of it is taken
// in, and the others' reports come as before.
func TestAHostileStreamDelaysNobody(t *testing.T) {
	hostile := &flooding{report: inFull(5000, 0)}
	hostile.report.Sessions[0].Id = "hostile"
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterAgentServer(server, hostile)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()
	honest := &fakeAgent{}
	honest.report.Store(&api.Report{Sessions: []*api.SessionReport{{Id: "honest", AgeNs: []int64{0}, RttNs: []int64{3e5}}}})
	addr, stop := honest.serve(t, "127.0.0.1:0")
	defer stop()

	ctx, cancel := context.WithCancel(t.Context())
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	defer cancel()
	one, two := inventory.Agent{UID: "a1", Node: "worker-1", Addr: l.Addr().String()}, inventory.Agent{UID: "a2", Node: "worker-2", Addr: addr}
	p.Assign(ctx, []Assignment{
		{Agent: one, Sessions: []*api.Session{{Id: "hostile"}}}, {Agent: two, Sessions: []*api.Session{{Id: "honest"}}},
	}, nil)
	await.Until(t, "the hostile agent loses its stream", func() bool {
		s := p.State(one)
		return s.Refused > 0 && !s.Connected && strings.Contains(s.Why, errTooMuch.Error())
	})
	p.mu.Lock()
	before := p.sessions["honest"].report
	p.mu.Unlock()
	await.Until(t, "the other's reports go on", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.sessions["honest"].report > before+20
	})
	if s := p.State(two); !s.Connected || s.Refused != 0 {
		t.Errorf("the other: connected %v, refused %d times", s.Connected, s.Refused)
	}
	if got := p.Session("hostile", time.Now()).Samples; got != nil {
		t.Errorf("%d samples of the hostile agent are kept", len(got))
	}
}
