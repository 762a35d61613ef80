package inventory

import (
	"maps"
	"slices"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Snapshot is the inventory at one instant. It is shared: do not modify. What
// did not change since the snapshot before keeps its address, elements and whole
// lists alike.
type Snapshot struct {
	Apps      []*App            // in the order of their PodID
	Senders   []*Sender         // likewise
	GiveBack  []*Sender         // likewise; their limits are to be given back, since detnet does not enforce there any more
	Unstamped []*Unstamped      // likewise
	Agents    []Agent           // likewise
	Absent    []Absent          // likewise
	Zones     map[string]string // of the nodes that are in one
	Marks     map[string]Marks  // of the nodes that carry any
	Problems  []Problem         // in the order of their Object
}

// Problem is something about a pod, namespace or node that could not be read.
type Problem struct {
	Object string // "pod factory/robot-0", "namespace factory", "node worker-1"
	Text   string
	// Pod, UID and Workload are those of a pod, zero of the others.
	Pod      plan.PodID
	UID      types.UID
	Workload Workload
}

// Snapshot returns the current inventory; the same pointer as before means
// that nothing changed.
func (inv *Inventory) Snapshot() *Snapshot {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if len(inv.changed) == 0 && len(inv.regrant) == 0 && inv.stale == (stale{}) {
		return inv.snapshot
	}
	s := *inv.snapshot
	if len(inv.changed) > 0 {
		changes := inv.changes()
		s.Apps = merge(s.Apps, changes, func(m meaning) *App { return m.app }, func(a *App) plan.PodID { return a.Pod })
		s.Senders = merge(s.Senders, changes, func(m meaning) *Sender { return m.sender }, func(s *Sender) plan.PodID { return s.Pod })
		s.GiveBack = merge(s.GiveBack, changes, func(m meaning) *Sender { return m.giveBack }, func(s *Sender) plan.PodID { return s.Pod })
		s.Unstamped = merge(s.Unstamped, changes, func(m meaning) *Unstamped { return m.unstamped }, func(u *Unstamped) plan.PodID { return u.Pod })
		clear(inv.changed)
	}
	if len(inv.regrant) > 0 {
		s.Senders = inv.grant(s.Senders)
		clear(inv.regrant)
	}
	if inv.stale.agents {
		s.Agents = slices.SortedFunc(maps.Values(inv.agents), func(a, b Agent) int { return a.Pod.Compare(b.Pod) })
		s.Absent = slices.SortedFunc(maps.Values(inv.absent), func(a, b Absent) int { return a.Pod.Compare(b.Pod) })
	}
	if inv.stale.nodes {
		s.Zones, s.Marks = maps.Clone(inv.zones), maps.Clone(inv.marks)
	}
	if inv.stale.problems {
		s.Problems = inv.problems()
	}
	inv.stale = stale{}
	inv.snapshot = &s
	return inv.snapshot
}

// change is one pod that is not what it was in the last snapshot.
type change struct {
	id            plan.PodID
	before, after meaning
}

func (inv *Inventory) changes() []change {
	all := make([]change, 0, len(inv.changed))
	for key, before := range inv.changed {
		all = append(all, change{podIDOf(key), meaningIn(before), meaningIn(inv.pods[key])})
	}
	slices.SortFunc(all, func(a, b change) int { return a.id.Compare(b.id) })
	return all
}

// merge is old with what changed; old itself if nothing did in this list.
func merge[T any](old []*T, changes []change, of func(meaning) *T, id func(*T) plan.PodID) []*T {
	if !slices.ContainsFunc(changes, func(c change) bool { return of(c.before) != of(c.after) }) {
		return old
	}
	out := make([]*T, 0, len(old)+len(changes))
	next := 0
	for _, c := range changes {
		until := next + sort.Search(len(old)-next, func(i int) bool { return id(old[next+i]).Compare(c.id) >= 0 })
		out = append(out, old[next:until]...)
		next = until
		if next < len(old) && id(old[next]) == c.id {
			next++
		}
		if now := of(c.after); now != nil {
			out = append(out, now)
		}
	}
	return append(out, old[next:]...)
}

// EachChanged calls f with every pod of two lists of snapshots that is not the same in
// both, in their order: nil stands for one that is not in a list. What did not change
// costs a comparison of addresses.
func EachChanged(before, after []*Sender, f func(was, is *Sender)) {
	for len(before) > 0 || len(after) > 0 {
		var order int
		switch {
		case len(before) == 0:
			order = 1
		case len(after) == 0:
			order = -1
		case before[0] == after[0]:
			before, after = before[1:], after[1:]
			continue
		default:
			order = before[0].Pod.Compare(after[0].Pod)
		}
		switch {
		case order < 0:
			f(before[0], nil)
			before = before[1:]
		case order > 0:
			f(nil, after[0])
			after = after[1:]
		default:
			f(before[0], after[0])
			before, after = before[1:], after[1:]
		}
	}
}

// problems is called with mu held.
func (inv *Inventory) problems() []Problem {
	var all []Problem
	for name, ns := range inv.namespaces {
		if ns.problem != "" {
			all = append(all, Problem{Object: "namespace " + name, Text: ns.problem})
		}
	}
	for name, text := range inv.short {
		all = append(all, Problem{Object: "namespace " + name, Text: text})
	}
	for name, problems := range inv.misread {
		for _, text := range problems {
			all = append(all, Problem{Object: "node " + name, Text: text})
		}
	}
	for key, r := range inv.pods {
		for _, text := range r.problems {
			all = append(all, Problem{Object: "pod " + key, Text: text, Pod: podID(r.pod), UID: r.pod.UID, Workload: workloadOf(r.pod)})
		}
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return strings.Compare(a.Object, b.Object) })
	return all
}

// Mode says how far detnet may go in a namespace. It is known once the inventory
// is Synced.
func (inv *Inventory) Mode(namespace string) workload.ControlMode {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return inv.modeOf(namespace)
}

// modeOf is called with mu held.
func (inv *Inventory) modeOf(namespace string) workload.ControlMode {
	if mode := inv.namespaces[namespace].mode; mode != "" {
		return mode.And(inv.mode)
	}
	return inv.mode
}

func namespaceOf(key string) string {
	namespace, _, _ := strings.Cut(key, "/")
	return namespace
}

func podIDOf(key string) plan.PodID {
	namespace, name, _ := strings.Cut(key, "/")
	return plan.PodID{Namespace: namespace, Name: name}
}
