package fault

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/await"
)

// mute is an agent that takes the stream and never reports; talking reports.
type agentOf struct {
	api.UnimplementedAgentServer
	node string
	mute bool
}

func (a agentOf) Measure(s grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	for s.Context().Err() == nil {
		if !a.mute {
			report := &api.Report{Node: a.node, Sessions: []*api.SessionReport{{Id: "s", AgeNs: []int64{0}, RttNs: []int64{3e5}}}}
			if err := s.Send(report); err != nil {
				return err
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

func serveAgent(t *testing.T, a agentOf) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	api.RegisterAgentServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

// An agent hangs: its kernel takes connections and it never answers, or it takes the
// stream and never reports. It is named as one that does not report, and why, and
// another agent's measurements come in meanwhile.
func TestAgentHangs(t *testing.T) {
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	hung := inventory.Agent{UID: "hung", Node: "worker-1", Addr: silent.Addr().String()}
	mute := inventory.Agent{UID: "mute", Node: "worker-2", Addr: serveAgent(t, agentOf{node: "worker-2", mute: true})}
	well := inventory.Agent{UID: "well", Node: "worker-3", Addr: serveAgent(t, agentOf{node: "worker-3"})}
	ctx, cancel := context.WithCancel(t.Context())
	pool := agents.New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer pool.Wait()
	defer cancel()
	pool.Assign(ctx, []agents.Assignment{{Agent: hung}, {Agent: mute}, {Agent: well, Sessions: []*api.Session{{Id: "s"}}}}, nil)
	await.Until(t, "the agent that is well measures", func() bool {
		return pool.State(well).Connected && len(pool.Session("s", time.Now()).Samples) > 3
	})
	for name, agent := range map[string]inventory.Agent{"one that accepts nothing": hung, "one that never reports": mute} {
		await.Until(t, name+" is given up, and said why", func() bool {
			s := pool.State(agent)
			return !s.Connected && strings.Contains(s.Why, "no report")
		})
	}
	if !pool.State(well).Connected {
		t.Error("the agent that is well was lost")
	}
}
