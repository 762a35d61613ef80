package score

import (
	"math"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

const (
	mbit  = bitrate.Mbit
	every = 100 * time.Millisecond
)

func rates(mbits ...int) (r []bitrate.Rate) {
	for _, m := range mbits {
		r = append(r, bitrate.Rate(m)*mbit)
	}
	return r
}

// probes makes a packet of app every 10 ms; late ones are those sent in [from, to).
func probes(app string, length, from, to time.Duration) (ps []Probe) {
	for at := time.Duration(0); at < length; at += 10 * time.Millisecond {
		ps = append(ps, Probe{App: app, At: at, Late: at >= from && at < to})
	}
	return ps
}

// points makes a point every 100 ms of two senders behind 200 Mbit/s.
func points(length time.Duration, at func(time.Duration) (limits, goodput, offered []bitrate.Rate)) (ps []Point) {
	for t := every; t <= length; t += every {
		p := Point{At: t, Room: 200 * mbit, Waiting: rates(0, 0)}
		p.Limits, p.Goodput, p.Offered = at(t)
		ps = append(ps, p)
	}
	return ps
}

func TestViolationCountsFromTheOnset(t *testing.T) {
	r := Run{Onset: time.Second, End: 9 * time.Second, Until: 11 * time.Second, Probes: probes("robot", 12*time.Second, 500*time.Millisecond, 1500*time.Millisecond)}
	f := Of(r)
	if f.Probes != 1000 || f.Late != 50 || f.Violation != 0.05 || f.Settled != 0 {
		t.Errorf("figures = %+v, want 50 of 1000 late, and none after 2 s", f)
	}
}

func control(probes []Probe) []Probe {
	for i := range probes {
		probes[i].Control = true
	}
	return probes
}

func TestCleanMeansEveryApp(t *testing.T) {
	const length = 10 * time.Second
	a := probes("a", length, 1100*time.Millisecond, 1800*time.Millisecond)
	b := probes("b", length, 1100*time.Millisecond, 2200*time.Millisecond)
	for _, tt := range []struct {
		name   string
		probes []Probe
		want   time.Duration
	}{
		// 200 packets a window: fewer than 10 may be late, so the window begins
		// 9 packets before the last late one, on the grid of 50 ms.
		{"one app", a, 750 * time.Millisecond},
		{"the slower of two", append(a, b...), 1150 * time.Millisecond},
		{"clean all along", probes("c", length, 0, 0), 0},
		{"never", probes("d", length, 0, length), -1},
		{"clean too late for a whole window", probes("e", length, 0, length-time.Second), -1},
		{"not measured", nil, -1},
		{"late as its control is", append(probes("f", length, 0, length), control(probes("f", length, 0, length))...), 0},
		{"later than its control", append(probes("f", length, 0, length), control(probes("f", length, 0, time.Second))...), -1},
		{"another app's control", append(probes("f", length, 0, length), control(probes("g", length, 0, length))...), -1},
	} {
		if got := Clean(tt.probes, time.Second, length); got != tt.want {
			t.Errorf("%s: clean after %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What is delivered counts where it has been calm for ten seconds, of what fits beside others.
func TestFilledIsOfTheFirstTenCalmSeconds(t *testing.T) {
	const length = 30 * time.Second
	for _, tt := range []struct {
		name   string
		late   time.Duration // until then all is
		others int           // Mbit/s
		want   float64
	}{
		{"at once", 0, 0, 0.75},
		{"while others are there", 0, 50, 1},
		{"later", 12 * time.Second, 0, 0.9},
		{"never", 25 * time.Second, 0, -1},
	} {
		r := Run{
			End: length, Until: length, Senders: []Sender{{}, {Uncontrolled: true}}, Probes: probes("robot", length, 0, tt.late),
			Points: points(length, func(at time.Duration) (limits, goodput, offered []bitrate.Rate) {
				got := 150
				if at > 12*time.Second {
					got = 180
				}
				return rates(200, 0), rates(got, tt.others), rates(300, tt.others)
			}),
		}
		if got := Of(r).Filled; math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: %v is filled, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRecoveryIsOfWhatTheActiveMaySend(t *testing.T) {
	const length = 10 * time.Second
	run := func(offered []bitrate.Rate, raised time.Duration, spans ...Span) Run {
		return Run{
			End: length, Until: length, Senders: make([]Sender, 2), Freed: spans,
			Points: points(length, func(at time.Duration) (limits, goodput, _ []bitrate.Rate) {
				if at < raised {
					return rates(48, 48), rates(48, 48), offered
				}
				return rates(95, 95), rates(48, 48), offered
			}),
		}
	}
	freed := Span{4 * time.Second, length}
	for _, tt := range []struct {
		name string
		run  Run
		want time.Duration
	}{
		{"both send", run(rates(150, 150), 6*time.Second, freed), 2 * time.Second},
		{"only one sends", run(rates(150, 0), 6*time.Second, freed), -1},
		{"nobody sends", run(rates(0, 0), 6*time.Second, freed), 2 * time.Second},
		{"raised before", run(rates(150, 150), 0, freed), 0},
		{"not in time", run(rates(150, 150), 6*time.Second, Span{4 * time.Second, 5 * time.Second}), -1},
		{"the slower of two", run(rates(150, 150), 6*time.Second, Span{5 * time.Second, length}, freed), 2 * time.Second},
		{"nothing came back", run(rates(150, 150), 6*time.Second), 0},
	} {
		if got := Of(tt.run).Recovery; got != tt.want {
			t.Errorf("%s: recovered after %v, want %v", tt.name, got, tt.want)
		}
	}
	aside := run(rates(150, 150), 6*time.Second, freed)
	aside.Senders[1].Aside = true
	if got := Of(aside).Recovery; got != -1 {
		t.Errorf("a limit on another uplink counted: recovered after %v", got)
	}
}

func TestJainIsOfFairSharesByDemand(t *testing.T) {
	const length = 20 * time.Second
	on := func(at time.Duration) bool { return (at-every)%(5*time.Second) < 3*time.Second }
	for _, tt := range []struct {
		name    string
		senders [2]Sender
		at      func(time.Duration) (limits, goodput, offered []bitrate.Rate)
		want    float64
	}{
		{"equal", [2]Sender{{Greedy: true}, {Greedy: true}}, func(time.Duration) (l, g, o []bitrate.Rate) {
			return rates(95, 95), rates(95, 95), rates(200, 200)
		}, 1},
		{"one gets everything", [2]Sender{{Greedy: true}, {Greedy: true}}, func(time.Duration) (l, g, o []bitrate.Rate) {
			return rates(190, 10), rates(190, 0), rates(200, 200)
		}, 0.5},
		{"asks for little and gets it", [2]Sender{{Greedy: true}, {}}, func(time.Duration) (l, g, o []bitrate.Rate) {
			return rates(170, 95), rates(170, 20), rates(200, 20)
		}, 1},
		{"comes and goes", [2]Sender{{Greedy: true}, {}}, func(at time.Duration) (l, g, o []bitrate.Rate) {
			if on(at) {
				return rates(95, 95), rates(95, 95), rates(200, 150)
			}
			return rates(0, 95), rates(0, 95), rates(0, 150)
		}, 1},
		{"comes and goes, and is starved", [2]Sender{{Greedy: true}, {}}, func(at time.Duration) (l, g, o []bitrate.Rate) {
			if on(at) {
				return rates(40, 150), rates(40, 150), rates(200, 150)
			}
			return rates(0, 150), rates(0, 150), rates(0, 150)
		}, 0.796},
		{"weight 3 to 1", [2]Sender{{Greedy: true, Weight: 3}, {Greedy: true, Weight: 1}}, func(time.Duration) (l, g, o []bitrate.Rate) {
			return rates(150, 50), rates(150, 50), rates(200, 200)
		}, 1},
		{"other ranks share nothing", [2]Sender{{Greedy: true, Group: "low"}, {Greedy: true, Group: "high"}}, func(time.Duration) (l, g, o []bitrate.Rate) {
			return rates(10, 180), rates(10, 180), rates(200, 200)
		}, 1},
	} {
		r := Run{End: length, Until: length, Senders: tt.senders[:], Points: points(length, tt.at)}
		if got := Of(r).Jain; math.Abs(got-tt.want) > 0.001 {
			t.Errorf("%s: Jain %.4f, want %.3f", tt.name, got, tt.want)
		}
	}
}

func TestWhatWaitedIsWanted(t *testing.T) {
	r := Run{End: 20 * time.Second, Senders: []Sender{{Greedy: true}, {}}, Points: points(20*time.Second, func(time.Duration) (l, g, o []bitrate.Rate) {
		return rates(100, 100), rates(50, 50), rates(200, 0)
	})}
	for i := range r.Points {
		r.Points[i].Waiting = rates(0, 50)
	}
	if got := Of(r).Jain; got != 1 {
		t.Errorf("Jain %v for a sender whose queue is let out, want 1", got)
	}
}

func TestPatchRateIsOfTheSteadyState(t *testing.T) {
	r := Run{Onset: 5 * time.Second, End: 35 * time.Second, Senders: []Sender{{}, {}, {Uncontrolled: true}}}
	for _, s := range []int{1, 6, 14, 15, 20, 34, 35, 40} {
		r.Writes = append(r.Writes, time.Duration(s)*time.Second)
	}
	// 3 writes in the 20 s from 15 to 35, for 2 pods.
	if got := Of(r).PatchRate; math.Abs(got-3.0/2/4) > 1e-9 {
		t.Errorf("%v patches a pod in 5 s, want 0.375", got)
	}
	if got := r.WriteRate(0, 60*time.Second, 10*time.Minute); got != 8.0/2*10 {
		t.Errorf("%v patches a pod in 10 min, want 40", got)
	}
	if got := Of(Run{End: 8 * time.Second, Writes: r.Writes}).PatchRate; got != 0 {
		t.Errorf("%v patches without a steady state", got)
	}
}

func TestGoodputIsOfTheControlled(t *testing.T) {
	r := Run{Onset: 2 * time.Second, End: 4 * time.Second, Senders: []Sender{{}, {Uncontrolled: true}}, Points: points(6*time.Second, func(at time.Duration) (l, g, o []bitrate.Rate) {
		return rates(0, 0), rates(int(at/time.Second), 70), rates(200, 200)
	})}
	// 2 Mbit/s for 0.9 s, 3 for 1 s, 4 for 0.1 s.
	if got := Of(r).Goodput; got != 2_600_000 {
		t.Errorf("goodput %v, want 2.6M", got)
	}
}

func TestVersus(t *testing.T) {
	own := Figures{Probes: 1000, Late: 10, Violation: 0.01, Goodput: 180 * mbit}
	other := Figures{Probes: 2000, Late: 600, Violation: 0.3, Goodput: 150 * mbit}
	if got, want := own.Versus(other), (Versus{TimesLess: 30, Goodput: 1.2}); math.Abs(got.TimesLess-want.TimesLess) > 1e-9 || got.Goodput != want.Goodput {
		t.Errorf("Versus = %+v, want %+v", got, want)
	}
	spotless := Figures{Probes: 1000, Goodput: 180 * mbit}
	if got := spotless.Versus(other).TimesLess; math.Abs(got-300) > 1e-9 {
		t.Errorf("without a late probe: %v times less, want as with one, 300", got)
	}
	if got := own.Versus(Figures{}); got != (Versus{}) {
		t.Errorf("against nothing: %+v", got)
	}
}
