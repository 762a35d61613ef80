package sense

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

const (
	ms   = time.Millisecond
	us   = time.Microsecond
	mbit = bitrate.Mbit
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// probed is an app on n1 that is probed from n2 fifty times a second, over a path of
// 0.3 ms with a little noise, and what sends on n1.
type probed struct {
	memory  Memory
	o       plan.Observation
	oneWay  bool
	offset  time.Duration // between the clocks
	forward time.Duration // later than the empty path
	back    time.Duration
	sends   bitrate.Rate
	noise   time.Duration // a tenth of the most
	host    time.Duration // the same, of the app's own host
	n       int
}

func newProbed(oneWay, nodeSession bool) *probed {
	p := &probed{oneWay: oneWay, offset: 3 * time.Second, noise: 5 * us}
	app := plan.App{
		Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms},
		Sessions: []plan.Session{{ID: "app", Vantage: "n2"}},
	}
	if nodeSession {
		app.NodeSessions = []plan.Session{{ID: "agent", Vantage: "n2"}}
	}
	p.o = plan.Observation{At: t0, Apps: []plan.App{app}, Senders: []plan.Sender{{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Limit: 100 * mbit}}}
	return p
}

// run lets time pass in ticks of 100 ms and returns how many of them were in violation.
func (p *probed) run(d time.Duration) (violated, ticks int) {
	for range d / (100 * ms) {
		app := &p.o.Apps[0]
		for range 5 {
			p.o.At = p.o.At.Add(20 * ms)
			p.n++
			noise := time.Duration(p.n*7%11) * p.noise
			s := plan.Sample{At: plan.At(p.o.At.Add(-5 * ms)), RTT: 300*us + p.forward + p.back + noise}
			stamped := s
			stamped.HasOneWay, stamped.Forward = true, 150*us+p.forward+p.offset
			s.RTT += time.Duration(p.n*7%11) * p.host
			take := func(to *plan.Session, s plan.Sample) {
				to.Samples = append(slices.Clone(to.Samples[max(0, len(to.Samples)-250):]), s)
			}
			if p.oneWay {
				take(&app.Sessions[0], stamped)
			} else {
				take(&app.Sessions[0], s)
			}
			if len(app.NodeSessions) > 0 {
				take(&app.NodeSessions[0], stamped)
			}
		}
		p.offset += 2 * us // of 20 µs a second that clocks drift apart
		x := &p.o.Senders[0]
		x.Rates = append(x.Rates[max(0, len(x.Rates)-20):], plan.TxRate{At: plan.At(p.o.At), Tx: p.sends})
		v := p.memory.Observe(DefaultConfig(), p.o)
		ticks++
		if v.Verdicts[0].Violated() {
			violated++
		}
	}
	return violated, ticks
}

// A queue that never empties stays one for as long as it stands, whoever sends into
// it and whatever is known of directions.
func TestAQueueIsNotLearnedHoweverLongItStands(t *testing.T) {
	for name, tt := range map[string]struct {
		oneWay, nodeSession bool
		sends               bitrate.Rate
	}{
		"echo, senders at their limits": {false, false, 100 * mbit},
		"echo, senders at the floor":    {false, false, 10 * mbit},
		"stamp":                         {true, false, 100 * mbit},
		"stamp, traffic of others":      {true, false, 0},
		"echo beside a node session":    {false, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbed(tt.oneWay, tt.nodeSession)
			if violated, _ := p.run(30 * time.Second); violated > 0 {
				t.Fatalf("%d ticks in violation before there was a queue", violated)
			}
			p.back, p.sends = 40*ms, tt.sends
			if violated, ticks := p.run(10 * time.Minute); violated < ticks-5 {
				t.Errorf("in violation in %d of %d ticks of a queue that stands", violated, ticks)
			}
			p.back = 0
			p.run(time.Second)
			if violated, _ := p.run(time.Minute); violated > 0 {
				t.Errorf("in violation in %d ticks after the queue", violated)
			}
		})
	}
}

// A route that became longer is believed on what a queue cannot give: both
// directions are later, or nobody sends.
func TestALongerRouteIsLearned(t *testing.T) {
	for name, tt := range map[string]struct {
		oneWay, nodeSession bool
		longer              time.Duration
		sends               bitrate.Rate
	}{
		"0.3 ms, stamp, idle":             {true, false, 300 * us, 0},
		"0.3 ms, stamp, under load":       {true, false, 300 * us, 100 * mbit},
		"5 ms, stamp, idle":               {true, false, 5 * ms, 0},
		"5 ms, stamp, under load":         {true, false, 5 * ms, 100 * mbit},
		"5 ms, echo, idle":                {false, false, 5 * ms, 0},
		"0.3 ms, echo, idle":              {false, false, 300 * us, 0},
		"5 ms, beside a node session":     {false, true, 5 * ms, 100 * mbit},
		"0.3 ms, beside a node session":   {false, true, 300 * us, 100 * mbit},
		"5 ms, stamp beside node session": {true, true, 5 * ms, 100 * mbit},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProbed(tt.oneWay, tt.nodeSession)
			p.run(30 * time.Second)
			p.forward, p.back, p.sends = tt.longer/2, tt.longer/2, tt.sends
			p.run(40 * time.Second)
			if violated, _ := p.run(20 * time.Second); violated > 0 {
				t.Errorf("still in violation in %d ticks, 40 s after the route became longer", violated)
			}
			base := p.o.Apps[0].Sessions[0].Base
			if want := 300*us + tt.longer; base.Delay < want || base.Delay > want+30*us {
				t.Errorf("the base is %v, want %v", base.Delay, want)
			}
		})
	}
}

// Where no direction is known and somebody sends, it cannot be known: the trouble
// stays.
func TestWhatCannotBeKnownIsNotCalledWell(t *testing.T) {
	p := newProbed(false, false)
	p.run(30 * time.Second)
	p.forward, p.back, p.sends = 5*ms/2, 5*ms/2, 50*mbit
	if violated, ticks := p.run(5 * time.Minute); violated < ticks-5 {
		t.Errorf("in violation in %d of %d ticks", violated, ticks)
	}
}

// How late two of three paths agree that it is, is what the one of them sees that is less
// late: the other's vantage may be mad.
func TestWhatTwoOfThreePathsAgreeOnIsTheLess(t *testing.T) {
	app := &plan.App{Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms}}
	for k, late := range []time.Duration{50 * ms, 800 * us, 0} {
		s := plan.Session{ID: string(rune('a' + k)), Vantage: "n" + string(rune('2'+k)), Base: plan.Base{Delay: 300 * us, Known: true}}
		for i := range 13 {
			x := plan.Sample{At: plan.At(t0.Add(time.Duration(i) * 20 * ms)), RTT: 320 * us}
			if i >= 9 || k == 0 {
				x.RTT = 300*us + late
			}
			s.Samples = append(s.Samples, x)
		}
		app.Sessions = append(app.Sessions, s)
	}
	v := DefaultConfig().Judge(app, time.Time{}, t0.Add(260*ms))
	if !v.Standing || v.Worst.Recent > ms {
		t.Errorf("standing %v, of %v; two of three say no more than 0.8 ms", v.Standing, v.Worst.Recent)
	}
}

// What two paths see is as sure as what one sees for twice as long: two packets in a row
// beyond the target, or four beyond half of it.
func TestTwoPathsSeeAQueueInHalfTheTime(t *testing.T) {
	for _, tt := range []struct {
		name    string
		packets int
		delay   time.Duration
		paths   int
		want    bool
	}{
		{"two late on one path", 2, 3 * ms, 1, false},
		{"two late on two", 2, 3 * ms, 2, true},
		{"four half as late on one", 4, 800 * us, 1, false},
		{"four half as late on two", 4, 800 * us, 2, true},
		{"three half as late on two", 3, 800 * us, 2, false},
	} {
		app := &plan.App{Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms}}
		for k := range 2 {
			s := plan.Session{ID: string(rune('a' + k)), Vantage: "n2", Base: plan.Base{Delay: 300 * us, Known: true}}
			for i := range 13 {
				x := plan.Sample{At: plan.At(t0.Add(time.Duration(i) * 20 * ms)), RTT: 320 * us}
				if i >= 13-tt.packets && k < tt.paths {
					x.RTT = 300*us + tt.delay
				}
				s.Samples = append(s.Samples, x)
			}
			app.Sessions = append(app.Sessions, s)
		}
		v := DefaultConfig().Judge(app, time.Time{}, t0.Add(260*ms))
		if v.Standing != tt.want {
			t.Errorf("%s: standing %v", tt.name, v.Standing)
		}
	}
}

// Packets that are sent closer to each other than usual after one that was late are in a queue, unless that leaves: a burst
// of a few milliseconds is gone by itself.
func TestABurstThatLeavesIsNoQueue(t *testing.T) {
	for _, tt := range []struct {
		name   string
		delays []time.Duration // of the newest packets
		gap    time.Duration
		want   bool
	}{
		{"it grows", []time.Duration{2 * ms, 3 * ms, 5 * ms, 7 * ms}, 6 * ms, true},
		{"it stands", []time.Duration{3 * ms, 3 * ms, 3 * ms, 29 * ms / 10}, 6 * ms, true},
		{"it leaves", []time.Duration{6 * ms, 5 * ms, 4 * ms, 3 * ms}, 6 * ms, false},
		{"it leaves, and was there for long", []time.Duration{6 * ms, 5 * ms, 4 * ms, 3 * ms}, 20 * ms, true},
	} {
		app := &plan.App{Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms}}
		s := plan.Session{ID: "a", Vantage: "n2", Base: plan.Base{Delay: 300 * us, Known: true}}
		for i := range 12 {
			s.Samples = append(s.Samples, plan.Sample{At: plan.At(t0.Add(time.Duration(i-12) * 20 * ms)), RTT: 320 * us})
		}
		at := t0
		for _, d := range tt.delays {
			s.Samples = append(s.Samples, plan.Sample{At: plan.At(at), RTT: 300*us + d})
			at = at.Add(tt.gap)
		}
		app.Sessions = []plan.Session{s}
		if v := DefaultConfig().Judge(app, time.Time{}, at); v.Standing != tt.want {
			t.Errorf("%s: standing %v", tt.name, v.Standing)
		}
	}
}

// Of whom less is to be heard while all is calm nothing new is no blindness, until that
// time is over too.
func TestAPauseIsNoBlindness(t *testing.T) {
	c := DefaultConfig()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := plan.Session{Base: plan.Base{Delay: 200 * time.Microsecond, Known: true}}
	for ago := 2 * time.Second; ago > 0; ago -= 20 * time.Millisecond {
		s.Samples = append(s.Samples, plan.Sample{At: plan.At(now.Add(-ago)), RTT: 250 * time.Microsecond})
	}
	for _, tt := range []struct {
		pause, after time.Duration
		blind        bool
	}{
		{0, c.Stale - 50*time.Millisecond, false},
		{0, c.Stale, true},
		{time.Second, time.Second + c.Stale - 50*time.Millisecond, false},
		{time.Second, time.Second + c.Stale, true},
	} {
		s.Pause = tt.pause
		if r := c.Read(&s, now.Add(tt.after)); r.Blind() != tt.blind {
			t.Errorf("%v after the last sample, with a pause of %v: blind %v, want %v", tt.after, tt.pause, r.Blind(), tt.blind)
		}
	}
}

// A sender that sent in any part of a pause does not rest.
func TestWhoSentInAPauseDoesNotRest(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := plan.Sender{Rates: []plan.TxRate{{At: plan.At(now.Add(-800 * time.Millisecond)), Tx: 50 * idle}, {At: plan.At(now.Add(-100 * time.Millisecond))}}}
	if !rests(&s, now) {
		t.Error("what it sent before its newest window counts where none waits")
	}
	if s.Pause = time.Second; rests(&s, now) || rests(&plan.Sender{Pause: time.Second}, now) {
		t.Error("what came in with its newest window, or that nothing did, is passed over")
	}
	s.Rates = s.Rates[1:]
	if later := now.Add(1500 * time.Millisecond); !rests(&s, later) || rests(&s, later.Add(time.Second)) {
		t.Error("its newest window counts until the pause is over, and not longer")
	}
}

// A path that is not measured any more is forgotten: what comes back under its name begins anew.
func TestWhatIsNotMeasuredIsForgotten(t *testing.T) {
	p := newProbed(true, false)
	p.run(time.Second)
	apps := p.o.Apps
	p.o.Apps = nil
	p.memory.Observe(DefaultConfig(), p.o)
	p.o.Apps, p.forward = apps, 300*us
	apps[0].Sessions[0].Samples = nil
	p.run(100 * ms)
	if base := p.o.Apps[0].Sessions[0].Base.Delay; base < 600*us {
		t.Errorf("the base is %v, want that of the path as it is now, 0.6ms", base)
	}
}

// When samples are taken in changes nothing of what is known of a path, nor of what is judged.
func TestWhatIsTakenInBeforeIsKnownAllTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var at, before Memory
		o := func(now time.Time, samples []plan.Sample) plan.Observation {
			return plan.Observation{At: now, Apps: []plan.App{{
				Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", SLO: workload.SLO{Jitter: ms},
				Sessions: []plan.Session{{ID: "app", Vantage: "n2", Samples: samples}},
			}}}
		}
		var all []plan.Sample
		now, level := t0, 300*us
		for range rapid.IntRange(1, 60).Draw(t, "seconds") {
			if rapid.IntRange(0, 10).Draw(t, "it changes") == 0 {
				level = time.Duration(rapid.IntRange(200, 3000).Draw(t, "level")) * us
			}
			spread := rapid.IntRange(1, 500).Draw(t, "spread")
			for i := range 50 {
				now = now.Add(20 * ms)
				s := plan.Sample{At: plan.At(now), RTT: level + time.Duration(i*7919%spread)*us, HasOneWay: true, Forward: level / 2}
				if i == spread%97 {
					s = plan.Sample{At: plan.At(now), Lost: true}
				}
				all = append(all, s)
				if i%10 == spread%10 {
					before.Take(plan.PodID{Namespace: "factory", Name: "robot"}, &plan.Session{ID: "app", Samples: all})
				}
			}
			all = all[max(0, len(all)-250):]
			want, got := at.Observe(DefaultConfig(), o(now, all)), before.Observe(DefaultConfig(), o(now, all))
			if w, g := want.Apps[0].Sessions[0].Base, got.Apps[0].Sessions[0].Base; w != g {
				t.Fatalf("base %+v, want %+v", g, w)
			}
			w, g := &want.Verdicts[0], &got.Verdicts[0]
			if w.Excess != g.Excess || w.Standing != g.Standing || w.Tail != g.Tail || w.Lossy != g.Lossy || w.Worst.Median != g.Worst.Median {
				t.Fatalf("verdict %+v, want %+v", g, w)
			}
		}
	})
}
