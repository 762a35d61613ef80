package blame

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

const allowed = time.Millisecond

// seen is an app on a node that is measured from two others, late on the way there from those
// that have a bit, and not at all from the others.
func seen(name, node, first, second string, late uint64) sense.Verdict {
	v := sense.Verdict{App: &plan.App{
		Pod: plan.PodID{Namespace: "factory", Name: name}, Node: node, SLO: workload.SLO{Jitter: allowed},
		Sessions: []plan.Session{{Vantage: first}, {Vantage: second}},
	}}
	v.Paths = sense.Paths{Seen: 2, LateFrom: late, ClearFrom: ^late & 3}
	for k := range v.App.Sessions {
		if late&(1<<k) != 0 {
			v.Paths.Late++
			v.Paths.ForwardLate++
			v.Standing = true
			v.Worst = sense.Reading{Session: &v.App.Sessions[k], Samples: 4, Recent: 40 * allowed, Ways: sense.Ways{Forward: 40 * allowed}}
		}
	}
	return v
}

// replies is an app that answers late, whoever asks.
func replies(name, node string) sense.Verdict {
	v := seen(name, node, "n2", "n3", 0)
	v.Paths, v.Standing = sense.Paths{Seen: 2, Late: 2}, true
	v.Worst = sense.Reading{Session: &v.App.Sessions[0], Samples: 4, Recent: 40 * allowed, Ways: sense.Ways{Back: 40 * allowed}}
	return v
}

// Requests that are late from wherever they come point to the app's downlink, and to all
// that send; not where each node they come from is late towards others as well.
func TestFullUplinksOfVantagesAreNotTakenForTheWholeCluster(t *testing.T) {
	sending := Sending{plan.Cluster: true}
	for _, node := range []string{"v1", "v2", "n1", "n2", "n3"} {
		sending[plan.Uplink(node)] = true
	}
	for name, tc := range map[string]struct {
		others []sense.Verdict
		want   plan.Bottleneck
		raised []plan.Bottleneck
	}{
		"nobody else is measured":           {nil, plan.Cluster, nil},
		"others are late, too":              {[]sense.Verdict{seen("b", "n2", "v1", "v3", 1), seen("c", "n3", "v3", "v2", 2)}, plan.Uplink("v2"), nil},
		"their own apps answer late":        {[]sense.Verdict{replies("b", "v1"), replies("c", "v2")}, plan.Uplink("v2"), nil},
		"others on the same node are":       {[]sense.Verdict{seen("b", "n1", "v1", "v2", 3)}, plan.Cluster, nil},
		"one node is late to it alone":      {[]sense.Verdict{seen("b", "n2", "v1", "v3", 1), seen("c", "n3", "v1", "v3", 1)}, plan.Cluster, nil},
		"others are late here or there":     {[]sense.Verdict{seen("b", "n2", "v1", "v2", 3), seen("c", "n3", "v1", "v2", 0)}, plan.Cluster, nil},
		"both were given more":              {nil, plan.Uplink("v2"), []plan.Bottleneck{plan.Uplink("v1"), plan.Uplink("v2")}},
		"one was given more":                {nil, plan.Cluster, []plan.Bottleneck{plan.Uplink("v1")}},
		"one was, and the other is for all": {[]sense.Verdict{replies("c", "v2")}, plan.Uplink("v2"), []plan.Bottleneck{plan.Uplink("v1")}},
	} {
		verdicts := append([]sense.Verdict{seen("a", "n1", "v1", "v2", 3)}, tc.others...)
		afar := lateFromAfar(verdicts, func(b plan.Bottleneck) bool { return slices.Contains(tc.raised, b) })
		got := diagnose(nil, func(plan.Bottleneck) bool { return true }, verdicts, afar, sending, time.Unix(0, 0))
		if got[0].Bottleneck != tc.want {
			t.Errorf("%s: %v is to blame, want %v", name, got[0].Bottleneck, tc.want)
		}
	}
}

// Of several uplinks that are full each is blamed while it is.
func TestWhatIsClearIsNotBlamedAnyMore(t *testing.T) {
	sending := Sending{plan.Cluster: true, plan.Uplink("v1"): true, plan.Uplink("v2"): true}
	behind := func(plan.Bottleneck) bool { return true }
	known := []Diagnosis{{App: plan.PodID{Namespace: "factory", Name: "a"}, Bottleneck: plan.Uplink("v1"), Since: time.Unix(0, 0)}}
	for late, want := range map[uint64]string{1: "v1", 2: "v2"} {
		got := diagnose(known, behind, []sense.Verdict{seen("a", "n1", "v1", "v2", late)}, nil, sending, time.Unix(0, 1))
		if got[0].Bottleneck != plan.Uplink(want) {
			t.Errorf("late from %b: %v is to blame, want %v", late, got[0].Bottleneck, want)
		}
	}
}

// A cut that does not help, or is judged too soon, does not have everybody cut for an app that is
// clear from one node, or late from nodes that are late towards all.
func TestFullUplinksOfVantagesHaveNobodyElseCut(t *testing.T) {
	sending := Sending{plan.Cluster: true}
	for _, node := range []string{"v1", "v2", "n1", "n2", "n3"} {
		sending[plan.Uplink(node)] = true
	}
	for name, tc := range map[string]struct {
		late   uint64
		others []sense.Verdict
		silent bool // the vantage's own node
		short  bool // it is late now and then, and on the way back
		lossy  bool
		whole  bool
	}{
		"late now and then":                       {short: true},
		"late now and then, and packets are lost": {short: true, lossy: true, whole: true},
		"clear from one":                          {late: 1},
		"late from those late to all":             {late: 3, others: []sense.Verdict{seen("b", "n2", "v1", "v3", 1), seen("c", "n3", "v3", "v2", 2)}},
		"clear from one, and nobody sends there":  {late: 1, silent: true, whole: true},
		"late from all":                           {late: 3, whole: true},
	} {
		sending[plan.Uplink("v1")] = !tc.silent
		verdicts := append([]sense.Verdict{seen("a", "n1", "v1", "v2", tc.late)}, tc.others...)
		if v := &verdicts[0]; tc.short {
			v.Tail, v.Standing, v.Lossy = true, tc.lossy, tc.lossy
			v.Worst = sense.Reading{Session: &v.App.Sessions[0], Samples: 4, Tail: 10 * allowed, Ways: sense.Ways{Forward: allowed / 40, Back: allowed / 20}}
		}
		s := diagnose(nil, func(plan.Bottleneck) bool { return true }, verdicts, lateFromAfar(verdicts, func(plan.Bottleneck) bool { return false }), sending, time.Unix(0, 0))[0]
		whole := s.Bottleneck.Whole
		for range 5 {
			next, moved := s.move(Config{Backoff: time.Second, MaxBackoff: time.Minute}, s.Bottleneck, &verdicts[0], sending, true, time.Unix(0, 0))
			whole = whole || moved && next.Whole
		}
		if whole != tc.whole {
			t.Errorf("%s: the whole cluster is blamed: %v, want %v", name, whole, tc.whole)
		}
	}
}
