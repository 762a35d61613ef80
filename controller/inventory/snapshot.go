package inventory

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/workload"
)

// Snapshot is the inventory at one instant. It is shared: do not modify.
type Snapshot struct {
	Apps     []*App            // in the order of their PodID; an unchanged one keeps its address
	Senders  []*Sender         // likewise
	Agents   []Agent           // likewise
	Zones    map[string]string // of the nodes that are in one
	Marks    map[string]Marks  // of the nodes that carry any
	Problems []Problem
}

// Problem is something about a pod or namespace that could not be read.
type Problem struct {
	Object string // "pod factory/robot-0", "namespace factory"
	Text   string
	// Unstamped is the UID of a pod that slipped past the webhook, and Mode what
	// may be done about it.
	Unstamped types.UID
	Mode      workload.ControlMode
}

// Snapshot returns the current inventory; the same pointer as before means
// that nothing changed.
func (inv *Inventory) Snapshot() *Snapshot {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.snapshot == nil {
		inv.snapshot = inv.build()
	}
	return inv.snapshot
}

func (inv *Inventory) build() *Snapshot {
	s := &Snapshot{Zones: maps.Clone(inv.zones), Marks: maps.Clone(inv.marks)}
	for _, ns := range slices.Sorted(maps.Keys(inv.badModes)) {
		s.Problems = append(s.Problems, Problem{Object: "namespace " + ns, Text: inv.badModes[ns]})
	}
	for _, key := range slices.Sorted(maps.Keys(inv.unstamped)) {
		p := inv.unstamped[key]
		if p.Mode = inv.modeOf(namespaceOf(key)); p.Mode != workload.Off {
			s.Problems = append(s.Problems, p)
		}
	}
	s.Apps = inv.staticApps()
	pods := maps.Clone(inv.static.pods)
	maps.Copy(pods, inv.pods)
	for _, key := range slices.Sorted(maps.Keys(pods)) {
		p := pods[key]
		for _, text := range p.problems {
			s.Problems = append(s.Problems, Problem{Object: "pod " + key, Text: text})
		}
		switch {
		case p.app != nil:
			app := *p.app
			if app.Mode = inv.modeOf(app.Pod.Namespace); app.Mode != workload.Off {
				s.Apps = append(s.Apps, &app)
			}
		case p.sender != nil:
			sender := *p.sender
			if sender.Mode = inv.modeOf(sender.Pod.Namespace); sender.Mode != workload.Off {
				s.Senders = append(s.Senders, &sender)
			}
		}
	}
	slices.SortFunc(s.Apps, func(a, b *App) int { return a.Pod.Compare(b.Pod) })
	slices.SortFunc(s.Senders, func(a, b *Sender) int { return a.Pod.Compare(b.Pod) })
	s.Agents = slices.SortedFunc(maps.Values(inv.agents), func(a, b Agent) int { return a.Pod.Compare(b.Pod) })
	return s
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
	if mode, ok := inv.modes[namespace]; ok {
		return mode.And(inv.mode)
	}
	return inv.mode
}
