package marks

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

const (
	mbit = bitrate.Mbit
	sec  = time.Second
)

func reason(cause plan.Cause, usage, budget bitrate.Rate) status.Reason {
	return status.Reason{Bottleneck: plan.Uplink("n1"), Cause: cause, UsageBps: usage * mbit, ToBps: budget * mbit}
}

var (
	violated = reason(plan.Violation, 150, 90)
	pressed  = reason(plan.Calm, 94, 95)
	calm     = reason(plan.Calm, 10, 95)
	unused   = reason(plan.Unused, 400, 400)
	blind    = reason(plan.Blind, 94, 95)
)

// play runs decide every second through phases and returns what is wanted of
// n1 after each.
type phase struct {
	unsaid bool // the statement is taken back
	r      status.Reason
	span   time.Duration
}

func play(c Config, marks inventory.Marks, phases ...phase) []want {
	nodes := map[string]inventory.Marks{"n1": marks}
	var known map[string]uplink
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var after []want
	for _, p := range phases {
		if p.unsaid {
			nodes["n1"] = inventory.Marks{Advertised: marks.Advertised}
		}
		var w map[string]want
		for range p.span / sec {
			now = now.Add(sec)
			known, w = decide(c, known, nodes, []status.Reason{p.r}, now, sec)
		}
		after = append(after, w["n1"])
	}
	return after
}

func TestTaint(t *testing.T) {
	c := Config{TaintAfter: 30 * sec}
	for _, tt := range []struct {
		name   string
		marks  inventory.Marks
		phases []phase
		want   []bool
	}{
		{"violation for long enough", inventory.Marks{}, []phase{{r: violated, span: 29 * sec}, {r: violated, span: 1 * sec}}, []bool{false, true}},
		{"best effort presses", inventory.Marks{}, []phase{{r: pressed, span: 30 * sec}}, []bool{true}},
		{"best effort presses, and the app has troubles of its own", inventory.Marks{}, []phase{{r: reason(plan.NotNetwork, 94, 95), span: 30 * sec}}, []bool{true}},
		{"troubles of its own", inventory.Marks{}, []phase{{r: reason(plan.NotNetwork, 10, 95), span: 90 * sec}}, []bool{false}},
		{"room left", inventory.Marks{}, []phase{{r: calm, span: 90 * sec}}, []bool{false}},
		{"the limits hold nobody back", inventory.Marks{}, []phase{{r: unused, span: 90 * sec}}, []bool{false}},
		{"blind", inventory.Marks{}, []phase{{r: blind, span: 90 * sec}}, []bool{false}},
		{"goes as slowly as it came", inventory.Marks{}, []phase{{r: pressed, span: 40 * sec}, {r: calm, span: 29 * sec}, {r: calm, span: sec}}, []bool{true, true, false}},
		{"half the time is not enough", inventory.Marks{}, []phase{{r: pressed, span: 20 * sec}, {r: calm, span: 20 * sec}, {r: pressed, span: 20 * sec}, {r: calm, span: 20 * sec}, {r: pressed, span: 20 * sec}}, []bool{false, false, false, false, false}},
		{"a pause does not lift it", inventory.Marks{}, []phase{{r: pressed, span: 60 * sec}, {r: calm, span: 20 * sec}, {r: pressed, span: 20 * sec}, {r: calm, span: 20 * sec}}, []bool{true, true, true, true}},
		{"the next leader goes on", inventory.Marks{Congested: true}, []phase{{r: calm, span: 29 * sec}, {r: calm, span: sec}}, []bool{true, false}},
	} {
		for i, w := range play(c, tt.marks, tt.phases...) {
			if w.congested != tt.want[i] {
				t.Errorf("%s: after phase %d tainted is %v", tt.name, i, w.congested)
			}
		}
	}
	if w := play(Config{}, inventory.Marks{Congested: true, Advertised: "95M"}, phase{r: pressed, span: sec}); w[0] != (want{}) {
		t.Errorf("switched off, and still wanted: %+v", w[0])
	}
}

func TestBandwidth(t *testing.T) {
	c := Config{Bandwidth: true}
	at := func(budget bitrate.Rate) status.Reason { return reason(plan.Calm, budget, budget) }
	for _, tt := range []struct {
		name   string
		marks  inventory.Marks
		phases []phase
		want   []bitrate.Rate // in Mbit/s
	}{
		{"unknown until the uplink was full", inventory.Marks{}, []phase{{r: calm, span: 90 * sec}, {r: unused, span: 90 * sec}, {r: violated, span: sec}}, []bitrate.Rate{0, 0, 0}},
		{"what fits", inventory.Marks{}, []phase{{r: at(95), span: sec}, {r: calm, span: 90 * sec}}, []bitrate.Rate{95, 95}},
		{"not for a little", inventory.Marks{}, []phase{{r: at(95), span: sec}, {r: at(100), span: 90 * sec}}, []bitrate.Rate{95, 95}},
		{"once a minute at most", inventory.Marks{}, []phase{{r: at(95), span: sec}, {r: at(50), span: 59 * sec}, {r: at(50), span: sec}, {r: at(90), span: 59 * sec}, {r: at(90), span: sec}}, []bitrate.Rate{95, 95, 50, 50, 90}},
		{"not what drains a queue", inventory.Marks{}, []phase{{r: at(95), span: sec}, {r: reason(plan.AwaitEffect, 40, 40), span: 90 * sec}}, []bitrate.Rate{95, 95}},
		{"people know better", inventory.Marks{Stated: 400 * mbit}, []phase{{r: at(95), span: sec}}, []bitrate.Rate{400}},
		{"until they take it back", inventory.Marks{Stated: 400 * mbit, Advertised: "400M"}, []phase{{r: calm, span: sec}, {unsaid: true, r: calm, span: 90 * sec}}, []bitrate.Rate{400, 0}},
		{"the next leader goes on", inventory.Marks{Advertised: "95M"}, []phase{{r: calm, span: sec}, {r: at(99), span: 90 * sec}, {r: at(50), span: sec}}, []bitrate.Rate{95, 95, 50}},
	} {
		for i, w := range play(c, tt.marks, tt.phases...) {
			if w.bandwidth != tt.want[i]*mbit || w.congested {
				t.Errorf("%s: after phase %d %+v, want %dM", tt.name, i, w, tt.want[i])
			}
		}
	}
}

// Nobody but nodes' uplinks is marked, and nothing that is only observed.
func TestOnlyUplinks(t *testing.T) {
	observed := violated
	observed.Observed = true
	cluster := violated
	cluster.Bottleneck = plan.Cluster
	_, w := decide(Config{TaintAfter: sec, Bandwidth: true}, nil, nil, []status.Reason{observed, cluster}, time.Time{}, time.Minute)
	if len(w) != 0 {
		t.Errorf("wanted %v", w)
	}
}

// However the trouble comes and goes, two changes of a taint are at least
// TaintAfter apart.
func TestTaintsDoNotFlap(t *testing.T) {
	c := Config{TaintAfter: 30 * sec}
	rapid.Check(t, func(t *rapid.T) {
		var known map[string]uplink
		var now, changed time.Time
		now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		was := false
		for _, full := range rapid.SliceOfN(rapid.Bool(), 1, 300).Draw(t, "full") {
			now = now.Add(sec)
			r := calm
			if full {
				r = pressed
			}
			var w map[string]want
			known, w = decide(c, known, nil, []status.Reason{r}, now, sec)
			if w["n1"].congested == was {
				continue
			}
			was = !was
			if !changed.IsZero() && now.Sub(changed) < c.TaintAfter {
				t.Fatalf("changed twice within %v", now.Sub(changed))
			}
			changed = now
		}
	})
}
