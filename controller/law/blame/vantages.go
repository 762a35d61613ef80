package blame

import (
	"math/bits"
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// lateFromAfar finds the apps that are late from wherever they are measured, because each node
// they are measured from is late towards others as well, or was just found full without it: it is the
// uplinks of those nodes that are full, and nothing that the app is near. Both in the order
// of their PodID.
func lateFromAfar(verdicts []sense.Verdict, full func(plan.Bottleneck, *plan.App) bool) (apps []plan.PodID) {
	var seen map[string]towards
	for i := range verdicts {
		v := &verdicts[i]
		if !v.Trouble() || !everywhere(v) {
			continue
		}
		if seen == nil {
			seen = vantages(verdicts)
		}
		alone := false // late from a node that is not late towards others
		for k := range v.App.Sessions {
			late, vantage := v.Paths.LateFrom&(1<<k) != 0, v.App.Sessions[k].Vantage
			alone = alone || late && !seen[vantage].everybody() && !full(plan.Uplink(vantage), v.App)
		}
		if !alone {
			apps = append(apps, v.App.Pod)
		}
	}
	return apps
}

// everywhere reports whether an app is late from wherever it is measured, and that is more than one node.
func everywhere(v *sense.Verdict) bool {
	return v.Paths.Seen > 1 && bits.OnesCount64(v.Paths.LateFrom) == v.Paths.Seen
}

const (
	few     = 10                   // nodes that send are cut together as soon as it looks as if they had to be
	another = 5 * time.Millisecond // that it has to look so for each one more
	longest = time.Second          // and for all of a large cluster: who is late has been reported by then, be the controller strained
)

// unsure finds the apps that are late from wherever they are measured for so short a time that those
// who know better may not have said so yet: the more nodes there are the longer they take,
// and the more would be cut in error. Where a vantage does not send there is nothing to be known.
func unsure(known []Diagnosis, verdicts []sense.Verdict, sending Sending, now time.Time) (apps []plan.PodID) {
	nodes := len(sending) - 1 // beside the cluster
	sure := min(time.Duration(max(nodes-few, 0))*another, longest)
	for i := range verdicts {
		v, late := &verdicts[i], now
		if !v.Trouble() || !everywhere(v) {
			continue
		}
		if k, found := plan.FindNear(known, v.App.Pod, i); found && !known[k].Late.IsZero() {
			late = known[k].Late
		}
		silent := func(x plan.Session) bool { return !sending[plan.Uplink(x.Vantage)] }
		if now.Sub(late) < sure && !slices.ContainsFunc(v.App.Sessions, silent) {
			apps = append(apps, v.App.Pod)
		}
	}
	return apps
}

// towards is what a vantage sees of those it measures, and others of its node.
type towards struct {
	node    string // of one towards whom it is late
	several bool   // it is late towards those on another node, too
	clear   bool   // towards somebody it is not
	replies bool   // an app on its node answers late, whoever asks
}

func (t towards) everybody() bool { return (t.several || t.replies) && !t.clear }

func vantages(verdicts []sense.Verdict) map[string]towards {
	seen := make(map[string]towards, len(verdicts))
	for i := range verdicts {
		v := &verdicts[i]
		if v.Trouble() && v.Paths.Late == v.Paths.Seen && v.Paths.ForwardLate == 0 {
			x := seen[v.App.Node]
			x.replies = true
			seen[v.App.Node] = x
		}
		for k := range v.App.Sessions {
			x := seen[v.App.Sessions[k].Vantage]
			switch bit := uint64(1) << k; {
			case v.Paths.ClearFrom&bit != 0:
				x.clear = true
			case v.Paths.LateFrom&bit == 0:
				continue
			case x.node == "":
				x.node = v.App.Node
			default:
				x.several = x.several || x.node != v.App.Node
			}
			seen[v.App.Sessions[k].Vantage] = x
		}
	}
	return seen
}

// from has a bit for each of an app's sessions that crosses an uplink on the way there.
func from(app *plan.App, b plan.Bottleneck) (bits uint64) {
	for k := range app.Sessions {
		if !b.Whole && app.Sessions[k].Vantage == b.Node {
			bits |= 1 << k
		}
	}
	return bits
}

// clears reports whether a bottleneck is the uplink of a node from which an app is
// measured without delay.
func clears(v *sense.Verdict, b plan.Bottleneck) bool { return v.Paths.ClearFrom&from(v.App, b) != 0 }
