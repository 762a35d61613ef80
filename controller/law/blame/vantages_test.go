package blame

import (
	"fmt"
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
	v.Paths = sense.Paths{Seen: 2, LateFrom: late, ClearFrom: ^late & 3, LateThere: late, ClearBack: 3}
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
	v.Paths, v.Standing = sense.Paths{Seen: 2, Late: 2, LateBack: 3}, true
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
		afar := lateFromAfar(verdicts, func(b plan.Bottleneck, _ *plan.App) bool { return slices.Contains(tc.raised, b) })
		got := diagnose(nil, func(plan.Bottleneck) bool { return true }, verdicts, afar, nil, sending, time.Unix(0, 0))
		if got[0].Bottleneck != tc.want {
			t.Errorf("%s: %v is to blame, want %v", name, got[0].Bottleneck, tc.want)
		}
	}
}

// Where everybody would have to be cut, in a large cluster, those who know better are heard first.
func TestALargeClusterIsCutOnlyOnceOthersHaveBeenHeard(t *testing.T) {
	nodes := []string{"v1", "v2", "n1", "n2", "n3"}
	for k := range 200 {
		nodes = append(nodes, fmt.Sprint("x", k))
	}
	begun, nobody := time.Unix(0, 0), plan.Bottleneck{}
	late, answers, others := seen("a", "n1", "v1", "v2", 3), replies("a", "n1"), []sense.Verdict{replies("b", "v1"), replies("c", "v2")}
	for name, tc := range map[string]struct {
		nodes  int
		after  time.Duration // of the second look
		others []sense.Verdict
		full   bool   // the uplinks were cut for others
		silent string // a node that does not send
		before *sense.Verdict
		want   [2]plan.Bottleneck
	}{
		"a small one":                  {nodes: 5, want: [2]plan.Bottleneck{plan.Cluster, plan.Cluster}},
		"at once":                      {nodes: 205, after: 300 * time.Millisecond, want: [2]plan.Bottleneck{nobody, nobody}},
		"nobody else was late by then": {nodes: 205, after: 1100 * time.Millisecond, want: [2]plan.Bottleneck{nobody, plan.Cluster}},
		"others were":                  {nodes: 205, after: 100 * time.Millisecond, others: others, want: [2]plan.Bottleneck{nobody, plan.Uplink("v2")}},
		"late by its own node before":  {nodes: 205, after: 1100 * time.Millisecond, before: &answers, want: [2]plan.Bottleneck{plan.Uplink("n1"), nobody}},
		"they were cut for others":     {nodes: 205, after: 600 * time.Millisecond, full: true, want: [2]plan.Bottleneck{nobody, plan.Uplink("v2")}},
		"one of a few more":            {nodes: 20, after: 100 * time.Millisecond, want: [2]plan.Bottleneck{nobody, plan.Cluster}},
		"a vantage does not send":      {nodes: 205, silent: "v1", want: [2]plan.Bottleneck{plan.Cluster, plan.Cluster}},
	} {
		sending := all(nodes[:tc.nodes]...)
		delete(sending, plan.Uplink(tc.silent))
		var known []Diagnosis
		look := func(verdicts []sense.Verdict, full bool, now time.Time) plan.Bottleneck {
			afar := lateFromAfar(verdicts, func(plan.Bottleneck, *plan.App) bool { return full })
			known = diagnose(known, func(b plan.Bottleneck) bool { return b != nobody }, verdicts, afar, unsure(known, verdicts, sending, now), sending, now)
			return known[0].Bottleneck
		}
		first := late
		if tc.before != nil {
			first = *tc.before
		}
		got := [2]plan.Bottleneck{look([]sense.Verdict{first}, false, begun)}
		if tc.before == nil && known[0].concerns(plan.Cluster, late.App, true) == (got[0] == nobody) {
			t.Errorf("%s: %v is to blame, and yet somebody is cut, or nobody", name, got[0])
		}
		if got[1] = look(append([]sense.Verdict{late}, tc.others...), tc.full, begun.Add(tc.after)); got != tc.want {
			t.Errorf("%s: %v are to blame, want %v", name, got, tc.want)
		}
	}
}

// A look at which an app is neither late from one of its vantages nor clear does not have it be late from everywhere anew.
func TestAnUnclearLookDoesNotEndBeingLate(t *testing.T) {
	sending, begun, behind := all("v1", "v2", "n1"), time.Unix(0, 0), func(plan.Bottleneck) bool { return true }
	for name, tc := range map[string]struct {
		clear uint64
		want  time.Time
	}{
		"unclear from one": {0, begun},
		"clear from one":   {2, time.Time{}},
	} {
		var known []Diagnosis
		between := seen("a", "n1", "v1", "v2", 1)
		between.Paths.ClearFrom = tc.clear
		for i, v := range []sense.Verdict{seen("a", "n1", "v1", "v2", 3), between} {
			known = diagnose(known, behind, []sense.Verdict{v}, nil, nil, sending, begun.Add(time.Duration(i)*time.Second))
		}
		if got := known[0].Late; !got.Equal(tc.want) {
			t.Errorf("%s: late from everywhere since %v, want %v", name, got, tc.want)
		}
	}
}

// Of several uplinks that are full each is blamed while it is.
func TestWhatIsClearIsNotBlamedAnyMore(t *testing.T) {
	sending := Sending{plan.Cluster: true, plan.Uplink("v1"): true, plan.Uplink("v2"): true}
	behind := func(plan.Bottleneck) bool { return true }
	known := []Diagnosis{{App: plan.PodID{Namespace: "factory", Name: "a"}, Bottleneck: plan.Uplink("v1"), Since: time.Unix(0, 0)}}
	for late, want := range map[uint64]string{1: "v1", 2: "v2"} {
		got := diagnose(known, behind, []sense.Verdict{seen("a", "n1", "v1", "v2", late)}, nil, nil, sending, time.Unix(0, 1))
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
		s := diagnose(nil, func(plan.Bottleneck) bool { return true }, verdicts, lateFromAfar(verdicts, func(plan.Bottleneck, *plan.App) bool { return false }), nil, sending, time.Unix(0, 0))[0]
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

// What was cut in vain for packets that are late now and then has nobody else cut.
func TestLateNowAndThenIsNotLookedForElsewhere(t *testing.T) {
	now := time.Unix(0, 0)
	for standing, want := range map[bool]plan.Bottleneck{true: plan.Uplink("v1"), false: {}} {
		v := seen("a", "n1", "v1", "v2", 1)
		v.Standing, v.Tail = standing, !standing
		s := Diagnosis{App: v.App.Pod, Bottleneck: plan.Uplink("n1")}
		next, moved := s.move(Config{Backoff: time.Second, MaxBackoff: time.Minute}, s.Bottleneck, &v, all("n1", "v1", "v2"), true, now)
		if next != want || moved != standing || now.Before(s.RetryAt) == standing {
			t.Errorf("a queue stands: %v: %v is to blame next, moved: %v, let be until %v", standing, next, moved, s.RetryAt)
		}
	}
}
