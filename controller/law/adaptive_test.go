package law

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

const mbit = bitrate.Mbit

// stage is a hand-made node n1 under the adaptive law: a test says how late
// probes are and what the senders send, and lets time pass.
type stage struct {
	t *testing.T
	Run
	o         plan.Observation
	delay     time.Duration          // above a base of 0.3 ms
	fifth     bool                   // only each fifth probe is late
	lost      int                    // of every 50 probes
	deaf      bool                   // plans are not carried out
	behind    int                    // steps by which the API server shows a limit late
	written   [][]plan.Limit         // limits that it is yet to show
	idle      func(int) bool         // senders that send nothing; nil: none
	sending   bitrate.Rate           // what each sender would send
	each      func(int) bitrate.Rate // or what this one would; nil: all as much
	out       bitrate.Rate           // what leaves their node; 0: nobody tells
	reasons   []plan.Reason          // of the last step
	writes    int
	probes    int
	uncounted bool // the agent on the senders' node has fallen silent
}

// What the controller keeps of a path and of a sender is less than this.
const (
	keptSamples = 500
	keptRates   = 40
)

// last is a copy of the end of a list, so that no earlier observation changes.
func last[T any](all []T, n int) []T { return slices.Clone(all[max(0, len(all)-n):]) }

func newStage(t *testing.T, slo workload.SLO, limits ...bitrate.Rate) *stage {
	t.Helper()
	l, err := New(Adaptive, DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, Run: Run{Law: l}, sending: 150 * mbit}
	s.o.At = t0
	s.o.Apps = []plan.App{{
		Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", Protocol: workload.UDP, SLO: slo,
		Sessions: []plan.Session{{ID: "a", Vantage: "n2"}},
	}}
	for i, limit := range limits {
		s.o.Senders = append(s.o.Senders, sender(string(rune('a'+i)), limit))
	}
	return s
}

// run lets time pass in steps of a quarter of a second.
func (s *stage) run(d time.Duration) {
	for range d / (250 * ms) {
		session := &s.o.Apps[0].Sessions[0]
		session.Samples = last(session.Samples, keptSamples)
		for range 12 {
			s.o.At = s.o.At.Add(20 * ms)
			delay := s.delay
			if s.fifth && s.probes%5 != 0 {
				delay = 0
			}
			session.Samples = append(session.Samples, plan.Sample{
				At: plan.At(s.o.At), RTT: 300*time.Microsecond + delay + time.Duration(s.probes%5)*10*time.Microsecond, Lost: s.probes%50 < s.lost,
			})
			s.probes++
		}
		s.o.At = s.o.At.Add(10 * ms)
		for i := range s.o.Senders {
			x := &s.o.Senders[i]
			if s.uncounted {
				break
			}
			rate := min(s.sending, x.Limit)
			if s.each != nil {
				rate = min(s.each(i), x.Limit)
			}
			if s.idle != nil && s.idle(i) {
				rate = 0
			}
			x.Rates = append(last(x.Rates, keptRates),
				plan.TxRate{At: plan.At(s.o.At.Add(-100 * ms)), Tx: rate, Out: s.out}, plan.TxRate{At: plan.At(s.o.At), Tx: rate, Out: s.out})
		}
		p := s.Step(s.o)
		s.reasons = p.Reasons
		s.writes += len(p.Limits)
		s.written = append(s.written, p.Limits)
		if len(s.written) <= s.behind {
			continue
		}
		shown := s.written[0]
		s.written = s.written[1:]
		for _, limit := range shown {
			if x := sent(s.o.Senders, limit.Pod); x != nil && !s.deaf {
				x.Limit = limit.To
			}
		}
	}
}

func (s *stage) limits() []float64 {
	var all []float64
	for _, x := range s.o.Senders {
		all = append(all, x.Limit.Mbit())
	}
	return all
}

func (s *stage) reason() plan.Reason {
	s.t.Helper()
	if len(s.reasons) == 0 {
		s.t.Fatal("no reasons")
	}
	return s.reasons[0]
}

// learned makes 196M the capacity of the one uplink.
func (s *stage) learned() {
	b := &s.State.Adaptive.Budgets[0]
	b.Total, b.Link.Known, b.Link.Capacity, b.Phase = 190*mbit, true, 196*mbit, plan.Settled
	b.Search.At = s.o.At.Add(time.Hour)
}

func sent(all []plan.Sender, pod plan.PodID) *plan.Sender {
	for i := range all {
		if all[i].Pod == pod {
			return &all[i]
		}
	}
	return nil
}

var jitter1ms = workload.SLO{Jitter: ms}

// A new leader knows nothing but the limits in force, and changes nothing for
// that alone.
func TestANewLeaderGoesOnWithTheLimitsInForce(t *testing.T) {
	s := newStage(t, jitter1ms, 95*mbit, 95*mbit)
	s.run(3 * time.Second)
	if s.writes != 0 {
		t.Errorf("%d writes after a restart in calm: %v", s.writes, s.limits())
	}
	if r := s.reason(); r.To != 190*mbit {
		t.Errorf("budget %v, want what is in force", r.To)
	}
}

func TestAQueueIsCutFromTheUsageNotFromTheLimit(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	s.run(2 * time.Second)
	s.delay = 40 * ms
	s.run(500 * ms)
	for _, limit := range s.limits() {
		if limit > 75 {
			t.Errorf("limits %v of senders that send 150 each", s.limits())
		}
	}
}

func TestTrulyIdleSendersAreNotTouched(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit)
	s.sending = 0
	s.run(2 * time.Second)
	s.delay = 40 * ms
	s.run(5 * time.Second)
	if s.writes != 0 {
		t.Errorf("%d writes to a pod that sends nothing", s.writes)
	}
	if r := s.reason(); r.Action != plan.Hold || r.Cause != plan.Unresponsive && r.Cause != plan.AtFloor {
		t.Errorf("reason %+v", r)
	}
}

// Cuts that change nothing are taken back, each pod to its own old limit.
func TestFruitlessCutsAreTakenBack(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 300*mbit)
	s.run(2 * time.Second)
	s.delay = 5 * ms // for good, whatever the senders do
	s.run(3 * time.Second)
	if got := s.limits(); got[0] != 1000 || got[1] != 300 {
		t.Errorf("after 3 s: %v, want the old limits back", got)
	}
	before := s.writes
	s.run(50 * time.Second)
	if s.writes != before {
		t.Errorf("%d more writes within the back-off", s.writes-before)
	}
	if r := s.reason(); r.Cause != plan.Unresponsive {
		t.Errorf("reason %+v", r)
	}
	s.delay = 40 * ms // much worse: that is something else
	s.run(time.Second)
	if s.writes == before {
		t.Error("a queue eight times as long was let be")
	}
}

// In observe mode, or while writes fail, the same cut stays planned and the
// cause is not judged, also where the cut is a small one.
func TestACutThatIsNotInForceProvesNothing(t *testing.T) {
	for _, limit := range []bitrate.Rate{1000 * mbit, 150 * mbit, 50 * mbit} {
		s := newStage(t, jitter1ms, limit, limit)
		s.run(2 * time.Second)
		s.delay, s.deaf = 40*ms, true
		s.run(4 * time.Second)
		for range 80 {
			s.run(250 * ms)
			if r := s.reason(); r.Action != plan.Cut || r.Cause != plan.Violation || r.To >= r.From {
				t.Fatalf("limits of %v: %+v, want what would be done", limit, r)
			}
		}
		s.deaf = false
		s.run(250 * ms)
		if got := bitrate.FromMbit(s.limits()[0]); got > min(75*mbit, limit*6/10) {
			t.Errorf("first step that is carried out left %v of %v", got, limit)
		}
		s.run(500 * ms)
		if r := s.reason(); r.Cause == plan.Unresponsive {
			t.Errorf("judged before it could show: %+v", r)
		}
	}
}

// What was never done is dropped with the trouble it was for.
func TestACutThatWasNotNeededIsDropped(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	s.run(2 * time.Second)
	s.delay, s.deaf = 40*ms, true
	s.run(10 * time.Second)
	s.delay = 0
	s.run(3 * time.Second)
	before := s.writes
	s.run(10 * time.Second)
	if r := s.reason(); s.writes != before || r.Cause == plan.AwaitEffect || r.To != 2000*mbit {
		t.Errorf("%d more limits planned in calm: %+v", s.writes-before, r)
	}
}

func TestLatencyTarget(t *testing.T) {
	for _, tt := range []struct {
		delay time.Duration
		cut   bool
	}{{2 * ms, false}, {9 * ms, true}, {12 * ms, true}} {
		s := newStage(t, workload.SLO{Latency: 10 * ms}, 1000*mbit)
		s.run(2 * time.Second)
		s.delay = tt.delay
		s.run(time.Second)
		if cut := s.writes > 0; cut != tt.cut {
			t.Errorf("%v above base of a latency target of 10 ms: cut %v", tt.delay, cut)
		}
		if !tt.cut && s.reason().Signal != "latency" {
			t.Errorf("signal %q", s.reason().Signal)
		}
	}
}

func TestLoss(t *testing.T) {
	for _, tt := range []struct {
		slo  workload.SLO
		lost int
		cut  bool
	}{
		{workload.SLO{Loss: 0.01}, 5, true},
		{workload.SLO{Loss: 0.2}, 5, false},
		{jitter1ms, 3, false}, // 6 % and no target of its own
		{jitter1ms, 10, true}, // 20 %
	} {
		s := newStage(t, tt.slo, 1000*mbit)
		s.run(2 * time.Second)
		s.lost = tt.lost
		s.run(3 * time.Second)
		if cut := s.writes > 0; cut != tt.cut {
			t.Errorf("%+v, %d of 50 lost: cut %v", tt.slo, tt.lost, cut)
		}
	}
}

// A delay that was there from the start and stays belongs to the path.
func TestALongPathIsNotAQueue(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit)
	s.delay = 20 * ms
	s.run(5 * time.Second)
	if got := s.limits()[0]; got != 1000 {
		t.Errorf("limit %v after the test cut", got)
	}
	before := s.writes
	s.run(10 * time.Second)
	if s.writes != before {
		t.Errorf("%d more writes on a path that is known", s.writes-before)
	}
}

func TestBlindnessHoldsAndEndsWithoutAJump(t *testing.T) {
	s := newStage(t, jitter1ms, 95*mbit, 95*mbit)
	s.run(2 * time.Second)
	s.o.At = s.o.At.Add(30 * time.Second) // nothing arrives
	p := s.Step(s.o)
	if len(p.Limits) != 0 || p.Reasons[0].Cause != plan.Blind {
		t.Errorf("blind: %+v", p)
	}
	s.run(time.Second)
	if s.writes != 0 {
		t.Errorf("%d writes when sight came back", s.writes)
	}
}

// A pod that comes with a high limit must not break a budget that was learned.
func TestANewcomerIsFittedIn(t *testing.T) {
	s := newStage(t, jitter1ms, 95*mbit, 95*mbit)
	s.run(time.Second)
	s.learned()
	s.o.Senders = append(s.o.Senders, sender("c", 1000*mbit))
	s.run(250 * ms)
	var sum float64
	for _, limit := range s.limits() {
		sum += limit
	}
	if sum > 190*1.03 {
		t.Errorf("limits %v sum to %v of 190", s.limits(), sum)
	}
}

// The first look at a trouble may see nobody send yet, since counters come
// later than probes; those behind it are found at the next.
func TestWhoSendsLaterThanTheQueueIsSeenIsFound(t *testing.T) {
	s := newStage(t, jitter1ms, 1000*mbit, 1000*mbit)
	s.o.Apps[0].Node = "n3" // where nobody sends from
	s.o.Apps[0].Sessions[0].Vantage = "n1"
	s.sending = 0
	s.run(5 * time.Second)
	s.delay = 40 * ms
	s.run(250 * ms)
	s.sending = 150 * mbit
	s.run(750 * ms)
	if got := s.limits(); got[0] > 100 || got[1] > 100 {
		t.Errorf("limits %v after 0.75 s, want both senders cut", got)
	}
}
