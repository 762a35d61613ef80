package agents

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
)

// Sessions between agents are authenticated while the reflecting one holds this
// controller's key, and only then; an app's reflector is asked as before.
func TestSessionsAreAuthenticated(t *testing.T) {
	one, two := &fakeAgent{}, &fakeAgent{}
	one.report.Store(&api.Report{Node: "worker-1"})
	two.report.Store(&api.Report{Node: "worker-2"}) // an older agent does not say that it holds a key
	addrOne, stopOne := one.serve(t, "127.0.0.1:0")
	defer stopOne()
	addrTwo, stopTwo := two.serve(t, "127.0.0.1:0")

	ctx, cancel := context.WithCancel(t.Context())
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	defer cancel()
	stamp := func(id, host string) *api.Session {
		return &api.Session{Id: id, Protocol: api.Protocol_PROTOCOL_STAMP, Host: host, Port: 862}
	}
	p.Assign(ctx, []Assignment{
		{Agent: inventory.Agent{UID: "a1", Node: "worker-1", Addr: addrOne, IP: "10.1.0.1", STAMP: 862}, Sessions: []*api.Session{
			stamp("agent", "10.1.0.2"), stamp("app", "10.0.0.9"),
		}},
		{Agent: inventory.Agent{UID: "a2", Node: "worker-2", Addr: addrTwo, IP: "10.1.0.2", STAMP: 862}},
	}, nil)
	authenticated := func(id string) bool {
		for _, s := range one.assigned.Load().GetSessions() {
			if s.Id == id {
				return s.Authenticated
			}
		}
		return false
	}
	eventually(t, "each agent has the key", func() bool {
		a, b := one.assigned.Load(), two.assigned.Load()
		return len(a.GetSessions()) == 2 && len(a.GetStampKey()) == keySize && string(a.GetStampKey()) == string(b.GetStampKey())
	})
	if authenticated("agent") {
		t.Error("authenticated before the reflector holds the key")
	}
	two.report.Store(&api.Report{Node: "worker-2", StampKeyHeld: true})
	eventually(t, "the session is authenticated", func() bool { return authenticated("agent") })
	if authenticated("app") {
		t.Error("an app's reflector is asked for what it cannot know")
	}

	stopTwo()
	eventually(t, "the session is as before while the reflector is away", func() bool { return !authenticated("agent") })
	_, stopTwo = two.serve(t, addrTwo)
	defer stopTwo()
	eventually(t, "it is authenticated again", func() bool { return authenticated("agent") })

	if other := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler)); string(other.key) == string(p.key) {
		t.Error("two controllers have one key")
	}
}
