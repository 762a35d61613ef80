package sim

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// gate is a limiter that loses or delays what a test says.
type gate struct {
	clock *clock
	fate  func(now time.Duration, number int) (after time.Duration, passes bool)
	out   func(now, tag time.Duration)
	full  func(now time.Duration) bool // nil: never
	at    []time.Duration              // of each transmission
}

func (g *gate) push(now, tag time.Duration) bool {
	g.at = append(g.at, now)
	after, passes := g.fate(now, int(tag>>flowBits))
	if passes {
		g.clock.schedule(now+after, g, 0, tag)
	}
	return passes
}

func (g *gate) fire(now time.Duration, e event)         { g.out(now, e.sent) }
func (g *gate) setRate(_ time.Duration, _ bitrate.Rate) {}
func (g *gate) limit() bitrate.Rate                     { return 0 }
func (g *gate) waiting() int                            { return 0 }
func (g *gate) room(int) bool                           { return g.full == nil || !g.full(g.clock.now) }

// gated is one flow over a path of 5 ms there and back, of which a gate takes what it wants; it sends
// octets, or without end if they are 0.
func gated(octets int, fate func(now time.Duration, number int) (time.Duration, bool)) (*world, *tcpFlow, *gate) {
	w := wired(&link{}, 2500*time.Microsecond, 1)
	s := w.sources[0]
	g := &gate{clock: &w.clock, fate: fate, out: s.leave}
	s.limiter = g
	if octets > 0 {
		s.spec.Transfers.Size, s.backlog = octets, octets
	}
	s.setRate(0, bitrate.Gbit)
	return w, s.flows[0], g
}

// wired is a source of so many flows that is silent yet, on an uplink.
func wired(up *link, propagation time.Duration, flows int) *world {
	w := &world{
		scenario: worldDefaults(Scenario{Propagation: propagation}), segment: defaultSegment, rng: rand.New(rand.NewPCG(1, 1)),
		up: map[string]*link{"n1": up}, limits: map[plan.PodID]bitrate.Rate{},
	}
	w.addSource(SenderSpec{Name: "pod", Node: "n1", Kind: TCP, Flows: flows})
	return w
}

// What a policer of 50 kB leaves of CUBIC is about as much as Linux 6.18 has over one (a rule of
// nftables, "limit rate over 25000000 bytes/second burst 50000 bytes drop", behind a veth
// without segmentation offload, whose round trip was 0.6 to 2 ms; 6 to 10 s).
func TestAPolicerLeavesAsMuchOfTCPAsOfLinux(t *testing.T) {
	near := nearFQ(t)
	for _, m := range []struct {
		flows         int
		rate          bitrate.Rate
		bucket        int
		linux, within float64
	}{{1, 200 * bitrate.Mbit, 50_000, 191, 0.08}, {4, 200 * bitrate.Mbit, 50_000, 190, 0.08}, {8, 200 * bitrate.Mbit, 50_000, 195, 0.08}, {4, 100 * bitrate.Mbit, 20_000, 95, 0.08}} {
		w := wired(&link{rate: m.rate, limit: m.bucket, discipline: Policer}, 500*time.Microsecond, m.flows)
		w.sources[0].setRate(0, bitrate.Gbit)
		w.run(time.Second)
		before := w.sources[0].arrived
		w.run(11 * time.Second)
		near("what came in Mbit/s", float64(w.sources[0].arrived-before)*8/1e6/10, m.linux, m.within)
	}
}

// While what was lost of a window is sent again no more than two segments go out for each that
// comes, where the window to come back to would have 70 go out at once.
func TestNoBurstFollowsAMassLoss(t *testing.T) {
	const window, first = 100, 4000
	w, f, _ := gated(0, func(_ time.Duration, n int) (time.Duration, bool) {
		return 0, n < first || n >= first+window || n%20 == 0
	})
	f.ssthresh, f.cwnd = window, window
	again := 0
	for w.now < 2*time.Second {
		e, before := w.events.pop(), f.next()
		w.now = e.at
		e.h.fire(w.now, e)
		if f.phase != recovering {
			continue
		}
		again += f.next() - before
		if f.next() > before+2 {
			t.Fatalf("%d segments at once, %d were lost", f.next()-before, f.again)
		}
	}
	if again < window/2 || f.phase != open || f.cwnd < 0.6*window {
		t.Errorf("%d segments in recovery; phase %d with a window of %.0f long after it", again, f.phase, f.cwnd)
	}
}

// The last segments of a transfer that are lost are found by a probe after two round trips and
// the tick of a timer, not after the timeout of 200 ms.
func TestAProbeFindsALostTail(t *testing.T) {
	for _, tail := range []int{1, 2} {
		w, f, _ := gated(4*defaultSegment, func(_ time.Duration, n int) (time.Duration, bool) { return 0, n < 4-tail || n >= 4 })
		w.run(60 * time.Millisecond)
		if f.s.arrived != 4*defaultSegment || f.inflight != 0 {
			t.Errorf("%d octets came of four segments, the last %d of which were lost", f.s.arrived, tail)
		}
		if f.ssthresh == maxWindow {
			t.Errorf("the window is as it was after %d were lost", tail)
		}
	}
}

// If all is lost for a while the timeout begins anew with one segment, and waits longer each time.
func TestTheTimeoutWaitsLongerEachTime(t *testing.T) {
	w, f, g := gated(0, func(now time.Duration, _ int) (time.Duration, bool) {
		return 0, now < time.Second || now > 4*time.Second
	})
	f.ssthresh = 20
	w.run(1010 * time.Millisecond)
	n := len(g.at)
	w.run(4 * time.Second)
	if tries := g.at[n:]; len(tries) < 4 || len(tries) > 6 {
		t.Errorf("tried at %v", tries)
	}
	sent := f.s.arrived
	w.run(6 * time.Second)
	if f.phase != open || f.s.arrived <= sent {
		t.Errorf("in phase %d with %d segments in flight two seconds later", f.phase, f.inflight)
	}
}

// What is only late costs nothing for long: the window is as it was before when it has come, be it
// that others overtook it or that the timeout was over.
func TestWhatCameAfterAllWasNotLost(t *testing.T) {
	for name, fate := range map[string]func(now time.Duration, n int) (time.Duration, bool){
		"overtaken": func(_ time.Duration, n int) (time.Duration, bool) {
			return 20 * time.Millisecond * time.Duration(b(n == 500 || n == 503)), true
		},
		"all delayed": func(now time.Duration, _ int) (time.Duration, bool) {
			return max(1500*time.Millisecond-max(now, 1100*time.Millisecond), 0) * time.Duration(b(now > 1100*time.Millisecond)), true
		},
	} {
		w, f, _ := gated(0, fate)
		f.ssthresh = 20
		w.run(5 * time.Second)
		if f.cwnd < 20 || f.ssthresh < 20 || f.phase != open {
			t.Errorf("%s: a window of %.1f, %.1f to come back to, phase %d", name, f.cwnd, f.ssthresh, f.phase)
		}
		if int(f.cwnd) < f.inflight-1 {
			t.Errorf("%s: %d in flight with a window of %.1f", name, f.inflight, f.cwnd)
		}
		count := 0
		for n := f.una; n < f.next(); n++ {
			count += b(f.segment(n).fate == inFlight)
		}
		if count != f.inflight {
			t.Errorf("%s: %d in flight, %d counted", name, f.inflight, count)
		}
	}
}

// What a timeout took for lost and came after all leaves the timer running: a loss of all that is sent for a while is found.
func TestTheTimerRunsAfterAFalseTimeout(t *testing.T) {
	const ms = time.Millisecond
	w, f, _ := gated(0, func(now time.Duration, n int) (time.Duration, bool) {
		if now >= 100*ms && now < 200*ms { // until just after the timeout
			return 320*ms - now + 5*ms*time.Duration(n%2), true
		}
		return 0, now < 4*time.Second || now > 4100*ms
	})
	w.run(4200 * ms)
	before := f.s.arrived
	if w.run(7 * time.Second); f.s.arrived-before < 1000*defaultSegment {
		t.Errorf("%d octets came in the seconds after all was lost for 0.1 s; phase %d, %d in flight", f.s.arrived-before, f.phase, f.inflight)
	}
}

// What was overtaken in a limiter that is full is not lost yet: it is looked for again each tick.
func TestNothingIsLostWhileTheLimiterIsFull(t *testing.T) {
	const lost = 2 // of four, the last of which overtakes it by too little
	w, f, g := gated(4*defaultSegment, func(_ time.Duration, n int) (time.Duration, bool) { return 0, n != lost })
	step := func() event {
		e := w.events.pop()
		w.now = e.at
		e.h.fire(w.now, e)
		return e
	}
	for f.una >= f.newest && w.now < time.Second {
		step()
	}
	if f.una != lost {
		t.Fatalf("%d is the first in flight, want that %d is missing", f.una, lost)
	}
	g.full = func(now time.Duration) bool { return now < 2*time.Second }
	for looks := 0; w.now < 2*time.Second; {
		if e := step(); e.arg&7 == timer && e.h == f.s {
			looks++
		}
		if looks > 600 {
			t.Fatalf("looked %d times by %v", looks, w.now)
		}
	}
	if came := f.s.arrived; came != 3*defaultSegment {
		t.Errorf("%d octets came while there was no room", came)
	}
	if w.run(3 * time.Second); f.s.arrived != 4*defaultSegment {
		t.Errorf("%d octets came in all", f.s.arrived)
	}
}

func b(is bool) int {
	if is {
		return 1
	}
	return 0
}

// However losses, reordering and silence come, what is counted stays what there is.
func TestWhatAFlowCountsIsWhatThereIs(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 3))
		bad := false
		w, f, _ := gated(0, func(time.Duration, int) (time.Duration, bool) {
			if rng.IntN(200) == 0 || bad && rng.IntN(10) == 0 {
				bad = !bad
			}
			return time.Duration(rng.IntN(300)/290) * 15 * time.Millisecond, !bad || rng.IntN(3) == 0
		})
		f.ssthresh = 50
		for range 400 {
			w.run(w.now + 25*time.Millisecond)
			count := 0
			for n := f.base; n < f.next(); n++ {
				count += b(f.segment(n).fate == inFlight)
			}
			if count != f.inflight || f.again < 0 || f.later < 0 || f.phase != open && f.pending < 0 || f.cwnd < 0 {
				t.Fatalf("seed %d, %v: %d in flight, %d counted; %d to be sent again, %d later, %d to come, window %.1f", seed, w.now, f.inflight, count, f.again, f.later, f.pending, f.cwnd)
			}
			if f.inflight > 0 && !slices.ContainsFunc(w.events, func(e event) bool { return e.arg&7 == timer && e.h == f.s }) {
				t.Fatalf("seed %d, %v: no timer", seed, w.now)
			}
		}
		if f.s.arrived < 100*defaultSegment {
			t.Errorf("seed %d: %d octets in ten seconds", seed, f.s.arrived)
		}
	}
}
