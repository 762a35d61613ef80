package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/kernel"
	"github.com/detnet/detnet/test/scene/record"
)

func TestParseOptions(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for _, p := range pairs {
				if v, ok := strings.CutPrefix(p, name+"="); ok {
					return v
				}
			}
			return ""
		}
	}
	got, err := parseOptions(env("LOAD=udp", "CAPACITY=100M", "DURATION=30s", "KEEP=1"))
	want := options{duration: 30 * time.Second, capacity: 100 * bitrate.Mbit, load: "udp", law: "adaptive", keep: true}
	if err != nil || got != want {
		t.Errorf("parseOptions = %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"DURATION=1s", "DURATION=20", "CAPACITY=1G", "CAPACITY=0", "LOAD=quic", "LAW=pid"} {
		name, _, _ := strings.Cut(bad, "=")
		if _, err := parseOptions(env(bad)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error = %v, want one that names %s", bad, err, name)
		}
	}
}

// The violations of the first two seconds are the loop's time to act; a loop
// that never acts must say so rather than report zero.
func TestReport(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	app := record.App{Name: "robot", Target: time.Millisecond}
	for ms := range 30_000 {
		if ms%10 != 0 {
			continue
		}
		rtt := 300 * time.Microsecond
		if late := ms >= 10_000 && ms < 21_500; late { // all of phase two, 1.5 s of phase three
			rtt = 40 * time.Millisecond
		}
		app.Packets = append(app.Packets, record.Packet{At: start.Add(time.Duration(ms) * time.Millisecond), RTT: rtt})
	}
	sender := scene.Senders[0]
	phases := []scene.Phase{
		{Name: idle, Start: at(0), End: at(10), Received: map[string]uint64{}},
		{Name: uncontrolled, Start: at(10), End: at(20), Received: map[string]uint64{sender: 125_000_000}},
		{Name: controlled, Start: at(20), End: at(30), Received: map[string]uint64{sender: 112_500_000},
			Changes: []record.LimitChange{{At: at(20.6), Pod: sender, From: bitrate.Gbit, To: 90 * bitrate.Mbit}}},
	}
	limits := []kernel.Limited{{At: at(20.05), To: 49 * bitrate.Mbit}} // its record comes later
	r := newReport(run{options: options{capacity: 100 * bitrate.Mbit}, phases: phases, apps: []record.App{app}, limits: limits})
	for i, want := range []float64{0, 1, 0} {
		if got := r.Phases[i].Critical[0].ViolationRatio; got != want {
			t.Errorf("%s: violation ratio %v, want %v", r.Phases[i].Name, got, want)
		}
	}
	if got := r.Phases[2].BestEffort[0].Goodput; got != 90*bitrate.Mbit {
		t.Errorf("goodput = %v, want 90M", got)
	}
	if r.OnsetToFirstCut == nil || *r.OnsetToFirstCut != 50 || r.OnsetToClean == nil || *r.OnsetToClean != 1450 || r.Patches != 1 {
		data, _ := json.Marshal(r)
		t.Errorf("report = %s", data)
	}

	if r.Outcome != works || !strings.HasPrefix(r.Verdict, "WORKS: ") || !strings.Contains(r.Verdict, "100.0 %") {
		t.Errorf("outcome %s: %s", r.Outcome, r.Verdict)
	}

	phases[2].Changes = nil
	if r := newReport(run{phases: phases, apps: []record.App{app}}); r.OnsetToFirstCut != nil {
		t.Errorf("first cut = %v without any", *r.OnsetToFirstCut)
	}
}

// lateIn makes an app whose packets are late in a share of each phase of ten
// seconds.
func lateIn(shares ...float64) record.App {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	app := record.App{Name: "robot", Target: time.Millisecond}
	for phase, share := range shares {
		for n := range 1000 {
			rtt := 300 * time.Microsecond
			if float64(n%100) < 100*share {
				rtt = 40 * time.Millisecond
			}
			app.Packets = append(app.Packets, record.Packet{At: start.Add(time.Duration(1000*phase+n) * 10 * time.Millisecond), RTT: rtt})
		}
	}
	return app
}

// beside is app with lateness from its own node in the last phase.
func beside(app record.App, share float64) record.App {
	app.Beside = lateIn(0, 0, share).Packets
	return app
}

// The idle phase is the control group: lateness without load voids the run,
// whatever the rest of it shows, and a detnet that never gets clean has failed.
func TestOutcome(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var phases []scene.Phase
	for n, name := range []string{idle, uncontrolled, controlled} {
		at := start.Add(time.Duration(10*n) * time.Second)
		phases = append(phases, scene.Phase{Name: name, Start: at, End: at.Add(10 * time.Second), Received: map[string]uint64{}})
	}
	for name, tt := range map[string]struct {
		phases  int
		app     record.App
		outcome string
		says    string
	}{
		"works":                      {3, lateIn(0.01, 0.9, 0.01), works, "90.0 % of the packets"},
		"never clean":                {3, lateIn(0, 0.9, 0.5), fails, "never became clean"},
		"late as the machine is":     {3, beside(lateIn(0, 0.9, 0.2), 0.18), void, "18.0 % of those that crossed no network"},
		"later than the machine is":  {3, beside(lateIn(0, 0.9, 0.2), 0.02), fails, "never became clean"},
		"late without load":          {3, lateIn(0.10, 0.9, 0), void, "10 % of robot's packets were late before there was any load"},
		"late without load, stopped": {1, lateIn(0.13), void, "13 % of robot's packets"},
		"the load harms nobody":      {3, lateIn(0, 0.01, 0), void, "nothing to protect from"},
	} {
		r := newReport(run{phases: phases[:tt.phases], apps: []record.App{tt.app}})
		if r.Outcome != tt.outcome || !strings.Contains(r.Verdict, tt.says) || strings.Count(r.Verdict, "\n") > 0 {
			t.Errorf("%s: %s: %s", name, r.Outcome, r.Verdict)
		}
		if tt.outcome == void && (r.OnsetToClean != nil && strings.Contains(tt.says, "before") || r.Patches != 0) {
			t.Errorf("%s: figures of a void run: %+v", name, r)
		}
	}
	if r := newReport(run{phases: phases[:1], apps: []record.App{{Name: "robot", Target: time.Millisecond}}}); r.Outcome != void {
		t.Errorf("nothing measured: %s", r.Outcome)
	}
}
