package controller

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/workload"
)

// Whatever comes, goes or changes, who measures whom is what it would be if it were
// decided anew.
func TestPlacingRemembersOnlyWhatHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p placing
		s := &inventory.Snapshot{Zones: map[string]string{"n0": "a", "n1": "b"}}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			next := *s
			drawChange(t, &next)
			s = &next
			urgent := rapid.IntRange(0, 9).Draw(t, "urgent") > 0
			got, paths := p.place(s, 2, urgent)
			want, anew := new(placing).place(s, 2, urgent)
			if !slices.EqualFunc(got, want, sameAssignment) {
				t.Fatalf("assignments %v, want %v", got, want)
			}
			for i := range paths {
				if !reflect.DeepEqual(*paths[i], *anew[i]) {
					t.Fatalf("%s is measured by %+v, want %+v", s.Apps[i].Pod, *paths[i], *anew[i])
				}
			}
		}
	})
}

// drawChange changes one app or agent of s.
func drawChange(t *rapid.T, s *inventory.Snapshot) {
	if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
		node := fmt.Sprint("n", rapid.IntRange(0, 4).Draw(t, "node"))
		s.Agents = slices.Clone(s.Agents)
		if i := slices.IndexFunc(s.Agents, func(a inventory.Agent) bool { return a.Node == node }); i >= 0 {
			s.Agents = slices.Delete(s.Agents, i, i+1)
		} else {
			s.Agents = append(s.Agents, inventory.Agent{UID: types.UID("u" + node), Role: api.Role_ROLE_PROBE, Node: node, IP: "10.1.0." + node[1:], STAMP: 862})
		}
		return
	}
	a := app(fmt.Sprint("app-", rapid.IntRange(0, 6).Draw(t, "app")), workload.Enforce)
	s.Apps = slices.DeleteFunc(slices.Clone(s.Apps), func(x *inventory.App) bool { return x.Pod == a.Pod })
	if rapid.Bool().Draw(t, "there") {
		a.Node, a.NodeReflects = fmt.Sprint("n", rapid.IntRange(0, 4).Draw(t, "on")), rapid.Bool().Draw(t, "reflects")
		a.SLO.Latency = 5 * a.SLO.Jitter
		if rapid.IntRange(0, 4).Draw(t, "pinned") == 0 {
			a.Pinned = []string{"n2"}
		}
		s.Apps = append(s.Apps, a)
		slices.SortFunc(s.Apps, func(a, b *inventory.App) int { return cmp.Compare(a.Pod.Name, b.Pod.Name) })
	}
}

func sameAssignment(a, b agents.Assignment) bool {
	return a.Agent == b.Agent && slices.EqualFunc(a.Sessions, b.Sessions, sameProto)
}

func sameProto(a, b *api.Session) bool { return proto.Equal(a, b) }

// An app that changes leaves the lists of agents alone that do not measure it.
func TestAChangedAppConcernsThoseWhoMeasureIt(t *testing.T) {
	s := &inventory.Snapshot{}
	for i := range 20 {
		node := fmt.Sprintf("n%02d", i)
		s.Agents = append(s.Agents, inventory.Agent{UID: types.UID(node), Role: api.Role_ROLE_PROBE, Node: node, IP: fmt.Sprint("10.1.0.", i), STAMP: 862})
		a := app(fmt.Sprintf("app-%02d", i), workload.Enforce)
		a.Node = node
		s.Apps = append(s.Apps, a)
	}
	var p placing
	before, was := p.place(s, 2, true)
	changed := *s
	changed.Apps = slices.Clone(s.Apps)
	moved := *s.Apps[7]
	moved.IP = "10.0.0.77"
	changed.Apps[7] = &moved
	after, is := p.place(&changed, 2, true)
	for i := range after {
		measures := slices.ContainsFunc(is[7].sessions, func(x session) bool { return x.agent.UID == after[i].UID })
		if same := sameList(before[i].Sessions, after[i].Sessions); same == measures && len(after[i].Sessions) > 0 {
			t.Errorf("the agent on %s measures it: %v; its list is that of before: %v", after[i].Node, measures, same)
		}
		if (was[i] == is[i]) != (i != 7) {
			t.Errorf("%s: placed as before: %v", s.Apps[i].Pod, was[i] == is[i])
		}
	}
}
