package agents

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	grpcstatus "google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/logtest"
)

// talker is an agent that reports once, and says at length why its stream ends.
type talker struct {
	api.UnimplementedAgentServer
	words string
}

func (a *talker) Measure(s grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	if err := s.Send(&api.Report{}); err != nil {
		return err
	}
	return grpcstatus.Error(codes.Internal, a.words)
}

// What an agent says as it ends its stream takes no more room in memory, on the page and in
// the log than people read.
func TestWhyAStreamEndsIsBounded(t *testing.T) {
	for name, octets := range map[string]int{"within what may be said": 4 << 10, "beyond": 1 << 20} {
		t.Run(name, func(t *testing.T) {
			told := &logtest.Lines{}
			addr := serve(t, &talker{words: strings.Repeat("x", octets)})
			ctx, cancel := context.WithCancel(t.Context())
			p := New(insecure.NewCredentials(), slog.New(slog.NewJSONHandler(told, nil)))
			defer p.Wait()
			defer cancel()
			one := inventory.Agent{UID: "a1", Node: "worker-1", Addr: addr}
			p.Assign(ctx, []Assignment{{Agent: one}}, nil)
			await.Until(t, "the stream ends", func() bool { return strings.Contains(told.String(), "unreachable") })
			if why := p.State(one).Why; len(why) > longestWhy {
				t.Errorf("%d octets of why are kept", len(why))
			}
			for line := range strings.Lines(told.String()) {
				if len(line) > 2*longestWhy {
					t.Errorf("a line of %d octets in the log: %.200s", len(line), line)
				}
			}
		})
	}
}

// An agent that comes and goes is dialled ever more seldom: each time is two lines in the log
// and an assignment for all who ask its reflector. One that was silent, as an uplink that is full
// makes it, is back soon.
func TestAnAgentThatComesAndGoesIsDialledSeldom(t *testing.T) {
	var pause, all time.Duration
	for range 20 {
		pause = again(pause, time.Second)
		all += pause
	}
	if all < 2*time.Minute {
		t.Errorf("20 tries in %v", all)
	}
	if got := again(pause, silence+100*time.Millisecond); got != firstDelay {
		t.Errorf("after a report and silence it is dialled in %v", got)
	}
}

// Addresses are used again. Who answers at one for another node, and says so, speaks for
// nobody: neither by what it measures nor by what it takes.
func TestWhoAnswersForAnotherNodeIsNotHeard(t *testing.T) {
	agent := &fakeAgent{}
	agent.report.Store(&api.Report{
		Node: "worker-2", TakesLimits: true, Sessions: []*api.SessionReport{{Id: "s1", AgeNs: []int64{0}, RttNs: []int64{3e5}}},
	})
	addr, stop := agent.serve(t, "127.0.0.1:0")
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	defer cancel()
	one := inventory.Agent{UID: "a1", Node: "worker-1", Role: api.Role_ROLE_NODE, Addr: addr}
	p.Assign(ctx, []Assignment{{Agent: one, Sessions: []*api.Session{{Id: "s1"}}}}, nil)
	await.Until(t, "it is said who answers", func() bool {
		why := p.State(one).Why
		return strings.Contains(why, "worker-2") && strings.Contains(why, "worker-1")
	})
	if len(p.Session("s1", time.Now()).Samples) > 0 || p.Taken() {
		t.Error("what the agent of another node says counts")
	}
}

// What an agent holds and takes it does until its stream ends: one that says now this and now
// that has nobody told.
func TestNobodyIsToldBackAndForth(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	defer cancel()
	reflecting := inventory.Agent{UID: "a1", Node: "worker-1", Role: api.Role_ROLE_NODE, Addr: "127.0.0.1:1", IP: "10.1.0.1", STAMP: 862}
	asking := inventory.Agent{UID: "a2", Node: "worker-2", Addr: "127.0.0.1:1"}
	p.Assign(ctx, []Assignment{{Agent: reflecting}, {Agent: asking, Sessions: []*api.Session{
		{Id: "s1", Protocol: api.Protocol_PROTOCOL_STAMP, Host: "10.1.0.1", Port: 862},
	}}}, nil)
	said := speech{from: reflecting}
	var given *api.Session
	for i := range 10 {
		flips := i%2 == 0
		if err := p.receive(&said, &api.Report{StampKeyHeld: flips, TakesLimits: flips}, time.Now()); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		now := p.byUID["a2"].given[0]
		p.mu.Unlock()
		if given == nil {
			given = now
		}
		if now != given || !now.Authenticated || !p.Taken() {
			t.Fatalf("report %d changed what the others are told", i)
		}
	}
}
