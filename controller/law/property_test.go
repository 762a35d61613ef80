package law

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/adaptive"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// scene is a cluster whose numbers rapid draws step by step. What the senders
// do and what the probes see is arbitrary: the properties below have to hold
// for any network, also one that makes no sense.
type scene struct {
	now     time.Time
	pace    time.Duration // from step to step
	apps    []plan.App
	senders []plan.Sender
	memory  sense.Memory
	base    time.Duration // known from the beginning; 0: as the samples say
}

func drawScene(t *rapid.T) *scene {
	s := &scene{now: t0, pace: rapid.SampledFrom([]time.Duration{100 * ms, 250 * ms}).Draw(t, "pace")}
	nodes := []string{"n1", "n2", "n3"}
	for i := range rapid.IntRange(1, 3).Draw(t, "apps") {
		app := plan.App{
			Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprint("app", i)}, Node: rapid.SampledFrom(nodes).Draw(t, "app node"),
			Protocol: rapid.SampledFrom([]workload.Protocol{workload.UDP, workload.TCP, workload.STAMP}).Draw(t, "protocol"),
			Rank:     rapid.IntRange(0, 100).Draw(t, "rank"),
		}
		app.SLO.Jitter = rapid.SampledFrom([]time.Duration{0, ms, 2 * ms}).Draw(t, "jitter")
		app.SLO.Latency = rapid.SampledFrom([]time.Duration{0, ms, 10 * ms}).Draw(t, "latency")
		app.SLO.Loss = rapid.SampledFrom([]float64{0, 0.001, 0.05}).Draw(t, "loss")
		for k := range rapid.IntRange(1, 2).Draw(t, "sessions") {
			app.Sessions = append(app.Sessions, plan.Session{ID: fmt.Sprint(k), Vantage: nodes[(i+k)%3]})
		}
		s.apps = append(s.apps, app)
	}
	limiter := rapid.SampledFrom([]plan.Limiter{plan.TokenBucket, plan.EDT, plan.EDTHostRouting}).Draw(t, "limiter")
	for i := range rapid.IntRange(0, 5).Draw(t, "senders") {
		floor := bitrate.Rate(rapid.Int64Range(1_000_000, 50_000_000).Draw(t, "min"))
		x := plan.Sender{
			Pod: plan.PodID{Namespace: "office", Name: fmt.Sprint("pod", i)}, Node: rapid.SampledFrom(nodes).Draw(t, "sender node"),
			Rank: rapid.IntRange(0, 2).Draw(t, "rank"), Weight: rapid.IntRange(1, 4).Draw(t, "weight"),
			Limiter: limiter, Min: floor, Max: floor + bitrate.Rate(rapid.Int64Range(0, 1000).Draw(t, "span"))*bitrate.Mbit,
		}
		x.Limit = x.Min + bitrate.Rate(rapid.Int64Range(0, int64(x.Max-x.Min)).Draw(t, "limit"))
		s.senders = append(s.senders, x)
	}
	return s
}

var pauses = []time.Duration{0, time.Second} // of agents

// advance lets the time until the next step pass, drawn as calm, loaded or blind for
// every app, who may be asked to pause, and returns what is then observed.
func (s *scene) advance(t *rapid.T) sense.View {
	s.now = s.now.Add(s.pace)
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "noise"), 0))
	for i := range s.apps {
		mood := rapid.SampledFrom([]time.Duration{0, 300 * time.Microsecond, 800 * time.Microsecond, 5 * ms, 40 * ms, -1}).Draw(t, "mood")
		for k := range s.apps[i].Sessions {
			x := &s.apps[i].Sessions[k]
			x.Pause = rapid.SampledFrom(pauses).Draw(t, "pause")
			x.Samples = slices.Clone(x.Samples[max(0, len(x.Samples)-120):])
			for j := int(s.pace / (20 * ms)); j > 0 && mood >= 0; j-- {
				noise := time.Duration(rng.IntN(100)) * time.Microsecond
				x.Samples = append(x.Samples, plan.Sample{
					At: plan.At(s.now.Add(-time.Duration(j*20) * ms)), RTT: 200*time.Microsecond + mood + noise,
					Lost: rng.IntN(200) == 0,
				})
			}
		}
	}
	for i := range s.senders {
		x := &s.senders[i]
		x.Pause = rapid.SampledFrom(pauses).Draw(t, "sender pause")
		x.Rates = slices.Clone(x.Rates[max(0, len(x.Rates)-8):])
		rate := bitrate.Rate(rapid.Int64Range(0, int64(x.Max)*3/2).Draw(t, "rate"))
		for ago := (s.pace - senders.Window).Truncate(senders.Window) + senders.Window/2; ago > 0; ago -= senders.Window {
			x.Rates = append(x.Rates, plan.TxRate{At: plan.At(s.now.Add(-ago)), Tx: rate})
		}
	}
	return s.view()
}

func (s *scene) view() sense.View {
	o := plan.Observation{At: s.now, Apps: slices.Clone(s.apps), Senders: slices.Clone(s.senders)}
	for i := range o.Apps {
		o.Apps[i].Sessions = slices.Clone(o.Apps[i].Sessions)
		o.Apps[i].NodeSessions = slices.Clone(o.Apps[i].NodeSessions)
	}
	v := s.memory.Observe(sense.DefaultConfig(), o)
	if s.base == 0 {
		return v
	}
	for i := range o.Apps {
		for k := range o.Apps[i].Sessions {
			o.Apps[i].Sessions[k].Base = plan.Base{Delay: s.base, Known: true}
		}
	}
	return sense.Judge(sense.DefaultConfig(), o)
}

// apply puts a plan in force.
func (s *scene) apply(p plan.Plan) {
	s.memory.Learn(p)
	for _, limit := range p.Limits {
		for i := range s.senders {
			if s.senders[i].Pod == limit.Pod {
				s.senders[i].Limit = limit.To
			}
		}
	}
}

func drawLaw(t *rapid.T) Law {
	cfg := DefaultConfig()
	cfg.Adaptive.Blind = rapid.SampledFrom([]adaptive.BlindPolicy{adaptive.BlindHold, adaptive.BlindAssume, adaptive.BlindDecrease}).Draw(t, "blind")
	l, err := New(Adaptive, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// steps plays a drawn scene and hands every step to check.
func steps(t *testing.T, check func(t *rapid.T, l Law, before State, o sense.View, after State, p plan.Plan)) {
	rapid.Check(t, func(t *rapid.T) {
		l, s := drawLaw(t), drawScene(t)
		var state State
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			o := s.advance(t)
			next, p := l.Step(state, o)
			check(t, l, state, o, next, p)
			s.apply(p)
			state = next
		}
	})
}

// until draws scenes until some showed what a property is of, which few need not.
func until(t *testing.T, shown *int, draw func()) {
	t.Helper()
	for range 100 {
		if draw(); *shown > 0 || t.Failed() {
			return
		}
	}
	t.Error("no scene showed what the property is of: it was not tested")
}

// crowded reports whether the floors behind a budget of a node come to more than it:
// then they are no promise.
func crowded(all []plan.Sender, node string, s State) bool {
	return slices.ContainsFunc(s.Adaptive.Budgets, func(b budget.Budget) bool {
		var floors bitrate.Rate
		for _, x := range all {
			if b.Bottleneck.Whole || x.Node == b.Bottleneck.Node {
				floors += x.Min
			}
		}
		return (b.Bottleneck.Whole || b.Bottleneck.Node == node) && floors > b.Total
	})
}

// isLow reports whether a limit is one that lasts only until what waits in the limiter
// is gone, and isBack whether it was and is now no more than what it was before and what it was
// to be, or what it is given back.
func isLow(after State, l plan.Limit) bool {
	return slices.ContainsFunc(after.Adaptive.Flushes, func(f senders.Flush) bool { return f.Pod == l.Pod }) && l.To < l.From
}

func isBack(before State, l plan.Limit) bool {
	return slices.ContainsFunc(before.Adaptive.Flushes, func(f senders.Flush) bool { return f.Pod == l.Pod && (f.Restore || l.To <= f.Back()) })
}

// However bad it is, nobody is left with next to nothing for long because of how a limit
// is changed.
func TestALowLimitDoesNotLast(t *testing.T) {
	lows := 0
	until(t, &lows, func() {
		steps(t, func(t *rapid.T, _ Law, _ State, o sense.View, after State, p plan.Plan) {
			for _, f := range after.Adaptive.Flushes {
				lows++
				if low := o.At.Sub(f.At); low > 6*time.Second { // one that follows at once is another
					t.Fatalf("%+v is low for %v: %+v", f, low, p.Reasons)
				}
			}
		})
	})
}

func TestLimitsStayInsideTheirBounds(t *testing.T) {
	steps(t, func(t *rapid.T, _ Law, _ State, o sense.View, after State, p plan.Plan) {
		for _, limit := range p.Limits {
			s := sent(o.Senders, limit.Pod)
			low := s != nil && limit.To < s.Min && !(limit.To >= bitrate.Min && crowded(o.Senders, s.Node, after)) && !isLow(after, limit)
			if s == nil || low || limit.To > s.Max || limit.From != s.Limit || limit.To == limit.From {
				t.Fatalf("%+v for %+v", limit, s)
			}
			if limit.Reason < 0 || limit.Reason >= len(p.Reasons) {
				t.Fatalf("reason %d of %d", limit.Reason, len(p.Reasons))
			}
		}
		if !slices.IsSortedFunc(p.Limits, func(a, b plan.Limit) int { return a.Pod.Compare(b.Pod) }) {
			t.Fatalf("not in the order of PodID: %+v", p.Limits)
		}
	})
}

// Only giving up, which says that the senders are not the cause, raises a
// sender behind a bottleneck that is in trouble.
func TestNobodyIsRaisedWhileAnSLOIsViolated(t *testing.T) {
	steps(t, func(t *rapid.T, _ Law, before State, o sense.View, after State, p plan.Plan) {
		trouble := map[plan.Bottleneck]plan.Reason{}
		for _, r := range p.Reasons {
			if r.Cause == plan.Violation || r.Cause == plan.Confirming || r.Action == plan.Hold && r.Cause == plan.Unresponsive {
				trouble[r.Bottleneck] = r
			}
		}
		for _, limit := range p.Limits {
			s := sent(o.Senders, limit.Pod)
			r, bad := trouble[plan.Uplink(s.Node)]
			if wide, worse := trouble[plan.Cluster]; worse {
				r, bad = wide, true
			}
			if bad && !limit.Urgent() && !isBack(before, limit) && p.Reasons[limit.Reason].Action != plan.Restore {
				t.Fatalf("%v raised from %v to %v while %+v", limit.Pod, limit.From, limit.To, r)
			}
		}
	})
}

// The same, said by the packets and not by the law's own reasons: on one node,
// with a base that is known, a round trip of 40 ms for 250 ms is a violation.
func TestNobodyIsRaisedIntoAQueue(t *testing.T) {
	raises := 0
	until(t, &raises, func() { rapid.Check(t, func(t *rapid.T) { intoAQueue(t, &raises) }) })
}

func intoAQueue(t *rapid.T, raises *int) {
	l, s := drawLaw(t), drawScene(t)
	for i := range s.apps {
		s.apps[i].Node, s.apps[i].SLO = "n1", workload.SLO{Jitter: ms}
		s.apps[i].Sessions = []plan.Session{{ID: "0", Vantage: "n2"}}
	}
	for i := range s.senders {
		s.senders[i].Node = "n1"
	}
	var state State
	s.base = 200 * time.Microsecond
	for range rapid.IntRange(1, 60).Draw(t, "steps") {
		o := s.advance(t)
		next, p := l.Step(state, o)
		queue := slices.ContainsFunc(o.Apps, func(a plan.App) bool {
			samples := a.Sessions[0].Samples
			n := len(samples)
			return n > 12 && o.At.Sub(samples[n-1].At.Time()) < 100*ms && !slices.ContainsFunc(samples[n-12:], func(x plan.Sample) bool { return x.RTT < 30*ms })
		})
		for _, limit := range p.Limits {
			if limit.Urgent() || isBack(state, limit) {
				continue
			}
			*raises++
			if r := p.Reasons[limit.Reason]; queue && r.Action != plan.Restore && r.Cause != plan.Unresponsive {
				t.Fatalf("%v raised from %v to %v: %+v", limit.Pod, limit.From, limit.To, p.Reasons)
			}
		}
		s.apply(p)
		state = next
	}
}

func TestBlindNeverRaises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := DefaultConfig()
		cfg.Adaptive.Blind = rapid.SampledFrom([]adaptive.BlindPolicy{adaptive.BlindHold, adaptive.BlindDecrease}).Draw(t, "blind")
		l, _ := New(Adaptive, cfg)
		s := drawScene(t)
		var state State
		for range rapid.IntRange(1, 20).Draw(t, "seeing") {
			o := s.advance(t)
			next, p := l.Step(state, o)
			s.apply(p)
			state = next
		}
		// Every agent falls silent for longer than a sample counts.
		s.now = s.now.Add(5 * time.Second)
		for range rapid.IntRange(1, 10).Draw(t, "blind steps") {
			s.now = s.now.Add(250 * ms)
			for i := range s.senders {
				s.senders[i].Rates = nil
			}
			next, p := l.Step(state, s.view())
			for _, limit := range p.Limits {
				if !limit.Urgent() && !isBack(state, limit) {
					t.Fatalf("blind, and yet %v → %v: %+v", limit.From, limit.To, p.Reasons)
				}
			}
			s.apply(p)
			state = next
		}
	})
}

// The feedback delay is the one that the law reckoned with when it cut.
func TestAtMostOneCutInAFeedbackDelay(t *testing.T) {
	cuts := 0
	until(t, &cuts, func() { rapid.Check(t, func(t *rapid.T) { inAFeedbackDelay(t, &cuts) }) })
}

func inAFeedbackDelay(t *rapid.T, cuts *int) {
	cfg := DefaultConfig()
	cfg.Adaptive.Budget.Feedback = time.Duration(rapid.IntRange(100, 3000).Draw(t, "feedback, ms")) * ms
	l, err := New(Adaptive, cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := drawScene(t)
	last := map[plan.Bottleneck]plan.Reason{}
	at := map[plan.Bottleneck]time.Time{}
	var state State
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		o := s.advance(t)
		next, p := l.Step(state, o)
		for _, r := range p.Reasons {
			if r.Action != plan.Cut {
				continue
			}
			*cuts++
			if before, cut := at[r.Bottleneck]; cut && o.At.Sub(before) < min(last[r.Bottleneck].Feedback, r.Feedback) {
				t.Fatalf("%s cut twice within %v: %+v, %+v", r.Bottleneck, o.At.Sub(before), last[r.Bottleneck], r)
			}
			last[r.Bottleneck], at[r.Bottleneck] = r, o.At
		}
		s.apply(p)
		state = next
	}
}

// In observe mode nothing is ever in force, so nothing is proven.
func TestWhatIsNeverDoneIsNeverInVain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, s := newAdaptive(t), drawScene(t)
		var state State
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			v := s.advance(t)
			next, p := l.Step(state, v)
			s.memory.Learn(p)
			for _, r := range p.Reasons {
				if r.Cause == plan.Unresponsive && !pathBelongs(v) {
					t.Fatalf("%+v", r)
				}
			}
			state = next
		}
	})
}

// pathBelongs reports whether a path's base was in doubt.
func pathBelongs(v sense.View) bool {
	return slices.ContainsFunc(v.Apps, func(a plan.App) bool {
		return slices.ContainsFunc(a.Sessions, func(s plan.Session) bool { return !s.Base.Known })
	})
}

// Step is pure: it changes nothing that it was given, and gives the same again.
func TestEqualInputsGiveEqualPlans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		l, err := New(rapid.SampledFrom(Names()).Draw(t, "law"), DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		s := drawScene(t)
		var state State
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			o := s.advance(t)
			slices.Reverse(o.Apps)
			slices.Reverse(o.Verdicts)
			slices.Reverse(o.Senders)
			o = sense.Judge(sense.DefaultConfig(), o.Observation)
			stateBefore, observed := text(state), text(o.Observation)
			next, p := l.Step(state, o)
			came := text(next)
			again, p2 := l.Step(state, o)
			if !reflect.DeepEqual(p, p2) || !reflect.DeepEqual(next, again) {
				t.Fatalf("second call differs: %+v, %+v", p, p2)
			}
			var other plan.Observation
			if err := json.Unmarshal([]byte(observed), &other); err != nil {
				t.Fatal(err)
			}
			for i := range other.Apps {
				for k := range other.Apps[i].Sessions {
					for n := range other.Apps[i].Sessions[k].Samples {
						other.Apps[i].Sessions[k].Samples[n].RTT *= 2
					}
				}
			}
			if l.Step(state, sense.Judge(sense.DefaultConfig(), other)); text(next) != came {
				t.Fatal("Step changed the State that an earlier call returned")
			}
			if text(state) != stateBefore {
				t.Fatal("Step changed the State that it was given")
			}
			if text(o.Observation) != observed {
				t.Fatal("Step changed the Observation that it was given")
			}
			s.apply(p)
			state = next
		}
	})
}

func TestTheOrderOfPodsDoesNotMatter(t *testing.T) {
	steps(t, func(t *rapid.T, l Law, before State, o sense.View, _ State, p plan.Plan) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		mixed := plan.Observation{At: o.At, Apps: slices.Clone(o.Apps), Senders: slices.Clone(o.Senders)}
		rng.Shuffle(len(mixed.Apps), func(i, k int) { mixed.Apps[i], mixed.Apps[k] = mixed.Apps[k], mixed.Apps[i] })
		rng.Shuffle(len(mixed.Senders), func(i, k int) { mixed.Senders[i], mixed.Senders[k] = mixed.Senders[k], mixed.Senders[i] })
		if _, p2 := l.Step(before, sense.Judge(sense.DefaultConfig(), mixed)); !reflect.DeepEqual(p, p2) {
			t.Fatalf("in order: %+v\nshuffled: %+v", p, p2)
		}
	})
}

// A State that was written down and read back goes on as if nothing had
// happened.
func TestStateSurvivesStorage(t *testing.T) {
	steps(t, func(t *rapid.T, l Law, before State, o sense.View, _ State, p plan.Plan) {
		text, err := json.Marshal(before)
		if err != nil {
			t.Fatal(err)
		}
		var back State
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		if _, p2 := l.Step(back, o); !reflect.DeepEqual(p, p2) {
			t.Fatalf("before: %+v\nread back: %+v", p, p2)
		}
	})
}

// The originals' limits stay inside the pods' floors and ceilings, too.
func TestTheOriginalsStayInsideTheBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, err := New(rapid.SampledFrom([]string{AIMD, Stepwise}).Draw(t, "law"), DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		s := drawScene(t)
		var state State
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s.now = s.now.Add(1800 * ms)
			o := s.advance(t)
			next, p := l.Step(state, o)
			for _, limit := range p.Limits {
				if x := sent(o.Senders, limit.Pod); limit.To < x.Min || limit.To > x.Max {
					t.Fatalf("%+v for %+v", limit, x)
				}
			}
			s.apply(p)
			state = next
		}
	})
}
