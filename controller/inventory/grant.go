package inventory

import (
	"fmt"
	"slices"
	"sort"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// raised: the floor is above that of the pod's class.
func raised(s *Sender) bool { return s != nil && s.Floor != 0 }

// grant shares out in senders, which stay as they are, what the namespaces whose floors
// or labels changed are granted above the floors of the classes: admission bounds each
// pod, and can't bound them together, since it is asked about several at once. It is
// called with mu held.
func (inv *Inventory) grant(senders []*Sender) []*Sender {
	out := slices.Clone(senders)
	for name := range inv.regrant {
		first := sort.Search(len(out), func(i int) bool { return out[i].Pod.Namespace >= name })
		var pods int
		var asked bitrate.Rate
		end := first
		for ; end < len(out) && out[end].Pod.Namespace == name; end++ {
			if raised(out[end]) {
				pods++
				asked += out[end].Floor - out[end].ClassMin
			}
		}
		granted, text := inv.namespaces[name].floors, ""
		if asked > granted {
			text = fmt.Sprintf("the floors of %d pods come to %v above those of their classes, and label %s grants %v: each is made smaller in proportion",
				pods, asked, workload.LabelFloorsAtMost, granted)
		}
		if keep(inv.short, name, text) {
			inv.stale.problems = true
		}
		for i := first; i < end; i++ {
			s := out[i]
			if !raised(s) {
				continue
			}
			floor := s.Floor
			if asked > granted {
				floor = max(s.ClassMin, (s.ClassMin + bitrate.Scale(s.Floor-s.ClassMin, float64(granted)/float64(asked))).Quantise())
			}
			if s.Min != floor {
				given := *s
				given.Min = floor
				out[i] = &given
			}
		}
	}
	return out
}
