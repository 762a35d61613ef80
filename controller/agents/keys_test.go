package agents

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
)

// Sessions between agents are authenticated while the reflecting one holds this
// controller's key, and only then; an app's reflector is asked as before.
func TestSessionsAreAuthenticated(t *testing.T) {
	one, two := &fakeAgent{}, &fakeAgent{}
	one.report.Store(&api.Report{Node: "worker-1"})
	two.report.Store(&api.Report{Node: "worker-2"}) // an older agent does not say that it holds a key
	addrOne, stopOne := one.serve(t, "127.0.0.1:0")
	defer stopOne()
	addrTwo, stopTwo := two.serve(t, freeport.Addr(t)) // it comes back there

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
	await.Until(t, "each agent has the key", func() bool {
		a, b := one.assigned.Load(), two.assigned.Load()
		return len(a.GetSessions()) == 2 && len(a.GetStampKey()) == keySize && string(a.GetStampKey()) == string(b.GetStampKey())
	})
	if authenticated("agent") {
		t.Error("authenticated before the reflector holds the key")
	}
	two.report.Store(&api.Report{Node: "worker-2", StampKeyHeld: true})
	await.Until(t, "the session is authenticated", func() bool { return authenticated("agent") })
	if authenticated("app") {
		t.Error("an app's reflector is asked for what it cannot know")
	}

	stopTwo()
	await.Until(t, "the session is as before while the reflector is away", func() bool { return !authenticated("agent") })
	_, stopTwo = two.serve(t, addrTwo)
	defer stopTwo()
	await.Until(t, "it is authenticated again", func() bool { return authenticated("agent") })

	if other := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler)); string(other.key) == string(p.key) {
		t.Error("two controllers have one key")
	}
}

// That one agent holds the key concerns those who ask its reflector, and nobody else: or
// a cluster that begins would be told as often as it has agents, each time all of them.
func TestAKeyThatIsHeldConcernsThoseWhoAskThere(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	defer p.Wait()
	defer cancel()
	agent := func(n string) inventory.Agent {
		return inventory.Agent{UID: types.UID("a" + n), Node: "worker-" + n, Addr: "127.0.0.1:1", IP: "fd00::" + n, IP2: "10.1.0." + n, STAMP: 862}
	}
	asks := func(n, whom string) Assignment {
		return Assignment{Agent: agent(n), Sessions: []*api.Session{{Id: n + whom, Protocol: api.Protocol_PROTOCOL_STAMP, Host: "10.1.0." + whom, Port: 862}}}
	}
	third := asks("3", "2")
	third.Sessions[0].Host = "fd00::2" // the same reflector, by the other family of IP
	p.Assign(ctx, []Assignment{asks("1", "2"), asks("2", "3"), third}, nil)
	given := func() (all [3]*api.Session) {
		for i, uid := range []types.UID{"a1", "a2", "a3"} {
			all[i] = p.byUID[uid].given[0]
		}
		return all
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	before := given()
	p.holds(agent("2"), true)
	after := given()
	if !after[0].Authenticated || after[1].Authenticated || !after[2].Authenticated {
		t.Errorf("authenticated %v, %v, %v, want those who ask the one who holds the key", after[0].Authenticated, after[1].Authenticated, after[2].Authenticated)
	}
	if after[1] != before[1] {
		t.Error("who asks another is told anew")
	}
	p.holds(agent("2"), false)
	if now := given(); now[0].Authenticated || now[2].Authenticated {
		t.Error("who asks one that lost the key still signs")
	}
}

// Whatever a session or an assignment says is compared, also what is added to them.
func TestSame(t *testing.T) {
	changed := func(m proto.Message, is func() bool) {
		fields := m.ProtoReflect().Descriptor().Fields()
		for i := range fields.Len() {
			f, r := fields.Get(i), m.ProtoReflect()
			value := r.NewField(f)
			switch f.Kind() {
			case protoreflect.StringKind:
				value = protoreflect.ValueOfString("x")
			case protoreflect.BytesKind:
				value = protoreflect.ValueOfBytes([]byte("x"))
			case protoreflect.BoolKind:
				value = protoreflect.ValueOfBool(true)
			case protoreflect.Uint32Kind:
				value = protoreflect.ValueOfUint32(7)
			case protoreflect.EnumKind:
				value = protoreflect.ValueOfEnum(1)
			case protoreflect.MessageKind:
				if f.IsList() {
					value.List().Append(value.List().NewElement())
				}
			default:
				t.Fatalf("%s: give the test a value of this kind", f.FullName())
			}
			r.Set(f, value)
			if is() {
				t.Errorf("%s changes, and counts as the same", f.FullName())
			}
			r.Clear(f)
		}
		if !is() {
			t.Errorf("two that are empty are not the same")
		}
	}
	s, a := &api.Session{}, &api.Assignment{}
	changed(s, func() bool { return sameSession(s, &api.Session{}) })
	changed(a, func() bool { return same(a, &api.Assignment{}) })
}
