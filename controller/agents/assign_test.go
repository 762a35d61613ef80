package agents

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// Whatever is assigned after whatever, what is kept is what was assigned last: no more,
// no less, and under one number each.
func TestAssignKeepsWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx, cancel := context.WithCancel(context.Background())
		p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
		defer p.Wait()
		defer cancel()
		var want []Assignment
		look := lookAtAll()
		for range rapid.IntRange(1, 8).Draw(t, "steps") {
			want = drawAssignments(t, want)
			senders := drawSenders(t)
			numbers := map[string]uint32{}
			for id, s := range p.sessions {
				numbers[id] = s.number
			}
			p.Assign(ctx, want, senders)
			for _, a := range want { // as the loop does once the agents are others
				p.Limit(1, a.Node, nil)
			}
			if rapid.Bool().Draw(t, "holds") && len(want) > 0 {
				p.mu.Lock()
				p.holds(want[0].Agent, rapid.Bool().Draw(t, "it"))
				p.mu.Unlock()
			}
			func() {
				p.mu.Lock()
				defer p.mu.Unlock() // also where a check ends the test: Wait needs it
				checkAssigned(t, p, want, numbers)
				checkSenders(t, p, senders)
			}()
			p.Look(look, time.Now())
			checkFound(t, p, look)
		}
	})
}

// drawAssignments changes some of the agents and their sessions; the others are those of
// before.
func drawAssignments(t *rapid.T, before []Assignment) (want []Assignment) {
	for i := range 4 {
		node := fmt.Sprint("n", i)
		at := slices.IndexFunc(before, func(a Assignment) bool { return a.Node == node })
		switch rapid.IntRange(0, 3).Draw(t, node) {
		case 0: // none
		case 1: // as before
			if at >= 0 {
				want = append(want, before[at])
			}
		default:
			uid := fmt.Sprintf("%s-%d", node, rapid.IntRange(0, 1).Draw(t, "uid"))
			a := Assignment{Agent: inventory.Agent{UID: types.UID(uid), Node: node, Addr: fmt.Sprintf("127.0.0.1:%d", rapid.IntRange(1, 2).Draw(t, "port")), IP: fmt.Sprint("10.1.0.", i), STAMP: 862}}
			for k := range 4 {
				if k != i && rapid.Bool().Draw(t, "asks") {
					a.Sessions = append(a.Sessions, &api.Session{Id: fmt.Sprint(node, " asks ", k), Protocol: api.Protocol_PROTOCOL_STAMP, Host: fmt.Sprint("10.1.0.", k), Port: 862})
				}
			}
			want = append(want, a)
		}
	}
	return want
}

func drawSenders(t *rapid.T) (all []*inventory.Sender) {
	for i := range 3 {
		if n := rapid.IntRange(0, 2).Draw(t, "sender"); n > 0 {
			all = append(all, &inventory.Sender{Sender: plan.Sender{Pod: plan.PodID{Name: fmt.Sprint("p", i)}}, UID: types.UID(fmt.Sprint("u", n))})
		}
	}
	return all
}

func checkAssigned(t *rapid.T, p *Pool, want []Assignment, numbers map[string]uint32) {
	sessions, nodes := 0, map[string]int{}
	asking := map[netip.AddrPort]map[types.UID]bool{}
	for _, a := range want {
		l := p.byUID[a.UID]
		if l == nil || l.agent != a.Agent || !slices.Contains(p.byNode[a.Node], l) || len(l.given) != len(a.Sessions) {
			t.Fatalf("agent %+v has the stream %+v", a.Agent, l)
		}
		nodes[a.Node]++
		for i, s := range a.Sessions {
			sessions++
			kept := p.sessions[s.Id]
			if kept == nil || kept.agent != a.UID || p.numbers[kept.number] != kept || numbers[s.Id] != 0 && numbers[s.Id] != kept.number {
				t.Fatalf("session %s is kept as %+v, before as number %d", s.Id, kept, numbers[s.Id])
			}
			at, _ := asked(s)
			if asking[at] == nil {
				asking[at] = map[types.UID]bool{}
			}
			asking[at][a.UID] = true
			if g := l.given[i]; g.Id != s.Id || g.Number != kept.number || g.Authenticated != (p.holding[at] > 0) {
				t.Fatalf("given %v, with %d agents that hold the key there", g, p.holding[at])
			}
		}
	}
	if len(p.sessions) != sessions || len(p.numbers) != sessions || len(p.byUID) != len(want) || len(p.byNode) != len(nodes) {
		t.Fatalf("%d sessions, %d numbers, %d agents on %d nodes are kept, want %d, %d on %d", len(p.sessions), len(p.numbers), len(p.byUID), len(p.byNode), sessions, len(want), len(nodes))
	}
	if len(p.limits) != len(nodes) {
		t.Fatalf("the limits of %d nodes are kept, want %d", len(p.limits), len(nodes))
	}
	if len(p.asking) != len(asking) {
		t.Fatalf("%d reflectors are asked, want %d", len(p.asking), len(asking))
	}
	for at, links := range p.asking {
		if len(links) != len(asking[at]) {
			t.Fatalf("%v is asked by %d agents, want %d", at, len(links), len(asking[at]))
		}
	}
	holding := map[netip.AddrPort]int{}
	for _, l := range p.byUID {
		for _, at := range reflectors(l.agent) {
			if l.holds {
				holding[at]++
			}
		}
	}
	if !maps.Equal(p.holding, holding) {
		t.Fatalf("the key is held at %v, want %v", p.holding, holding)
	}
}

// lookAtAll asks for each session and pod that may ever be there, time and again by the same lists.
func lookAtAll() *Look {
	l := &Look{}
	for i := range 4 {
		for k := range 4 {
			l.Sessions = append(l.Sessions, fmt.Sprintf("n%d asks %d", i, k))
		}
		l.Senders = append(l.Senders, &inventory.Sender{Sender: plan.Sender{Pod: plan.PodID{Name: fmt.Sprint("p", i)}}})
	}
	return l
}

// checkFound reports where a Look was given what is not kept any more, or not what is.
func checkFound(t *rapid.T, p *Pool, l *Look) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, id := range l.Sessions {
		if p.found.sessions[i] != p.sessions[id] {
			t.Fatalf("asked for session %s it looks at %+v, kept is %+v", id, p.found.sessions[i], p.sessions[id])
		}
	}
	for i, s := range l.Senders {
		if p.found.rates[i] != p.rates[s.Pod] {
			t.Fatalf("asked for pod %s it looks at %+v, kept is %+v", s.Pod, p.found.rates[i], p.rates[s.Pod])
		}
	}
}

func checkSenders(t *rapid.T, p *Pool, senders []*inventory.Sender) {
	if len(p.rates) != len(senders) {
		t.Fatalf("the usage of %d pods is kept, want %d", len(p.rates), len(senders))
	}
	for _, s := range senders {
		if r := p.rates[s.Pod]; r == nil || r.uid != s.UID {
			t.Fatalf("of %s is kept %+v", s.Pod, r)
		}
	}
}
