package probe

import (
	"errors"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/workload"
)

func newTestSession(interval time.Duration) *session {
	spec := Session{ID: "x", Protocol: workload.STAMP, Host: "10.0.0.1", Port: 862, Interval: interval}.withDefaults()
	return newSession(spec, 7, 1<<32-3, 0) // numbers wrap on the way
}

func (s *session) drained() []Sample {
	samples, _ := s.drain(0, nil, nil)
	return samples
}

// A packet is said to be lost as soon as three later ones were answered, long
// before its timeout; nothing is counted before it is sure.
func TestLostBehindThree(t *testing.T) {
	s := newTestSession(20 * time.Millisecond)
	for i := range 5 {
		s.take(int64(i))
	}
	for i, n := range []uint32{1, 2} {
		s.answer(s.origin+n, n, int64(10+i))
		s.expire(20)
	}
	if got := s.drained(); len(got) != 0 {
		t.Fatalf("two later ones were answered: %+v", got)
	}
	s.answer(s.origin+4, 4, 30)
	s.expire(30)
	got := s.drained()
	if len(got) != 1 || !got[0].Lost || got[0].Number != 0 || s.totals.Lost != 0 {
		t.Fatalf("three later ones were answered: %+v, %+v", got, s.totals)
	}
	s.expire(40)
	if got := s.drained(); len(got) != 0 {
		t.Errorf("said twice: %+v", got)
	}
	s.expire(int64(s.Timeout) + 3)
	if got := s.drained(); s.totals.Lost != 2 || len(got) != 1 || got[0].Number != 3 {
		t.Errorf("after the timeout: %+v, %+v", s.totals, got)
	}
	s.answer(s.origin, 0, int64(2*s.Timeout))
	if s.totals.Late != 1 || s.totals.Received != 3 {
		t.Errorf("an answer after the timeout: %+v", s.totals)
	}
}

// What was said to be lost and comes within the timeout is received, in another
// order, and its sample corrects the first.
func TestDoubtedIsCorrected(t *testing.T) {
	s := newTestSession(20 * time.Millisecond)
	for i := range 5 {
		s.take(int64(1 + i))
	}
	for n := uint32(1); n < 5; n++ {
		s.answer(s.origin+n, n, int64(100*time.Microsecond))
	}
	s.expire(int64(time.Millisecond))
	s.complete(int64(time.Millisecond), 0)
	s.drained()
	p := s.answer(s.origin, 0, int64(2*time.Millisecond))
	if p == nil {
		t.Fatal("it makes no sample")
	}
	p.left, p.back = 1, int64(2*time.Millisecond)
	s.complete(int64(3*time.Millisecond), 0)
	got := s.drained()
	if len(got) != 1 || got[0].Lost || !got[0].Corrected || got[0].Number != 0 || got[0].RTT == 0 {
		t.Errorf("%+v", got)
	}
	s.expire(int64(2 * s.Timeout))
	if want := (Totals{Sent: 5, Received: 5, Reordered: 1}); s.totals != want {
		t.Errorf("%+v, want %+v", s.totals, want)
	}
	if n := s.open(); n != 0 {
		t.Errorf("%d may still be answered", n)
	}
}

// A rate is kept across the pauses of a busy machine, without a burst, and no more
// than a moment's packets are made up for after a long one.
func TestRateIsKept(t *testing.T) {
	for _, rate := range []int{50, 150, 500, 1000, 2000} {
		s := newTestSession(time.Second / time.Duration(rate))
		now, sent := int64(0), 0
		for sent < 40_000 { // gaps are drawn; of so many the mean is within 0.15 %
			now = max(now, s.due) + int64(60*time.Microsecond) // to wake up takes a moment
			if sent%100 == 99 {
				now += int64(15 * time.Millisecond) // somebody else had the core
			}
			s.due = s.after(now)
			if gap := s.due - now; gap < int64(s.Interval)/2 || gap > int64(s.Interval)*3/2 {
				t.Fatalf("a gap of %v, %v asked for", time.Duration(gap), s.Interval)
			}
			sent++
		}
		if got := float64(sent) / time.Duration(now).Seconds(); got < 0.98*float64(rate) || got > 1.02*float64(rate) {
			t.Errorf("%d packets a second became %.1f", rate, got)
		}
	}
	s := newTestSession(time.Millisecond)
	s.due = s.after(int64(time.Hour)) // an hour late
	if s.behind > mostBehind {
		t.Errorf("%v are to be made up for", time.Duration(s.behind))
	}
}

// One session is served when it is due, and several fast ones often enough.
func TestTick(t *testing.T) {
	s := NewSender(Options{})
	s.sessions = []*session{newTestSession(MinInterval)}
	if s.tick(0) != 0 {
		t.Error("one session has to wait for a tick")
	}
	s.sessions = append(s.sessions, newTestSession(time.Second))
	for range 100 {
		if got := s.tick(0); got > int64(MinInterval)*6/10 {
			t.Fatalf("a tick of %v beside gaps of %v", time.Duration(got), MinInterval)
		}
	}
}

// The end of an outage is looked for once a second at least, and how long it was
// is told.
func TestOutageIsTold(t *testing.T) {
	s := newTestSession(20 * time.Millisecond)
	refused := errors.New("refused")
	now := int64(time.Second)
	for range 10 {
		s.fail(refused, now, now, lastBackoff)
		now += int64(s.backoff)
	}
	if s.backoff != time.Second {
		t.Errorf("it is tried each %v", s.backoff)
	}
	if got := s.blindFor(now); got != time.Duration(now)-time.Second {
		t.Errorf("for %v nothing was measured, want %v", got, time.Duration(now)-time.Second)
	}
	s.take(now)
	s.answer(s.origin, 0, now+1)
	s.complete(now+1, 0)
	if got := s.blindFor(now + int64(time.Hour)); got != time.Duration(now)+1-time.Second || s.err != nil {
		t.Errorf("an hour after an answer: %v, %v", got, s.err)
	}
}

// Times of the reflector that cannot be give no one-way figures, and leave the
// round trip as it is.
func TestImpossibleTimes(t *testing.T) {
	const left, back = 1_000_000, 2_000_000
	for name, tt := range map[string]struct {
		far, reply int64
		possible   bool
	}{
		"possible":                    {50_000_000, 50_100_000, true},
		"sent before received":        {50_000_000, 49_000_000, false},
		"held for longer than it was": {50_000_000, 51_000_001, false},
	} {
		p := slot{sent: left, seen: back, left: left, back: back, far: tt.far, farReply: tt.reply}
		got, _, ok := p.sample(0)
		rtt := time.Duration(back - left)
		if tt.possible {
			rtt -= 100 * time.Microsecond
		}
		if !ok || got.HasOneWay != tt.possible || got.RTT != rtt {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

// What direct measurement says of losses is true or is not said.
func TestDirectMeasurementIsHonest(t *testing.T) {
	type answer struct {
		sent, rx, tx uint32
		copied       bool // the network made two of it
		silent       bool // the reflector counts no more
	}
	for name, tt := range map[string]struct {
		answers           []answer
		known             bool
		forward, backward uint32
		restarts          int
	}{
		"nothing lost":         {[]answer{{1, 1, 1, false, false}, {2, 2, 2, false, false}}, true, 0, 0, 0},
		"there and back":       {[]answer{{1, 1, 1, false, false}, {9, 6, 6, false, false}}, true, 3, 4, 0},
		"copies on the way":    {[]answer{{1, 1, 1, false, false}, {2, 2, 2, false, false}, {2, 2, 2, true, false}, {5, 5, 5, false, false}}, true, 0, 2, 0},
		"it began anew":        {[]answer{{1, 1, 1, false, false}, {100, 99, 99, false, false}, {150, 1, 1, false, false}, {152, 2, 2, false, false}}, true, 2, 97, 1},
		"it counts others too": {[]answer{{1, 501, 501, false, false}, {3, 502, 502, false, false}}, true, 1, 0, 0},
		"the table is full":    {[]answer{{1, 1, 1, false, false}, {2, 0, 0, false, true}}, false, 0, 0, 0},
		"and is not any more":  {[]answer{{1, 1, 1, false, false}, {2, 0, 0, false, true}, {900, 1, 1, false, false}}, true, 0, 0, 1},
	} {
		s := newTestSession(20 * time.Millisecond)
		for _, a := range tt.answers {
			if !a.copied {
				s.unique++
			}
			s.heard(Heard{HasDirect: !a.silent, Direct: stamp.Direct{SenderTx: a.sent, ReflectorRx: a.rx, ReflectorTx: a.tx}}, 0, !a.copied)
		}
		h := s.told
		if h.HasDirect != tt.known || tt.known && (h.LostForward() != tt.forward || h.LostBackward() != tt.backward || h.Restarts != tt.restarts) {
			t.Errorf("%s: known %v, lost %d there and %d back, %d restarts", name, h.HasDirect, h.LostForward(), h.LostBackward(), h.Restarts)
		}
	}
}

// A wall clock that is set while packets are in flight makes no sample of an
// impossible length: those packets were received and say nothing, the ones after
// them measure as before.
func TestClockStepInFlight(t *testing.T) {
	const rtt = int64(300_000)
	for name, step := range map[string]int64{"forward": int64(time.Hour), "back": -int64(time.Hour)} {
		s := newTestSession(20 * time.Millisecond)
		offset := int64(1_800_000_000_000_000_000) // CLOCK_REALTIME minus the monotonic clock
		for i := range 3 {
			sent := int64(i+1) * int64(20*time.Millisecond)
			p := s.take(sent)
			p.left = sent + offset
			if i == 1 {
				offset += step
			}
			if s.answer(p.seq, p.seq, sent+rtt) != p {
				t.Fatalf("%s: answer %d is not taken", name, i)
			}
			p.back = sent + rtt + offset
			s.complete(sent+rtt, offset)
		}
		got := s.drained()
		if len(got) != 2 || s.totals.Received != 3 {
			t.Fatalf("%s: %+v, %+v; want the first and the third", name, got, s.totals)
		}
		for _, each := range got {
			if each.Lost || each.Number == 1 || each.RTT != time.Duration(rtt) {
				t.Errorf("%s: %+v", name, each)
			}
		}
	}
}

// What corrects a loss comes behind it, also where both are collected at once
// and among many.
func TestCorrectionsComeLast(t *testing.T) {
	s := newSession(Session{ID: "x", Interval: time.Millisecond, Timeout: time.Second}, 1, 0, 0)
	const packets = 400
	for _, corrected := range []bool{false, true} {
		for n := range int64(packets) {
			s.keep(n/50, Sample{Number: uint32(n), Lost: !corrected, Corrected: corrected}) // fifty leave together
		}
	}
	samples, _ := s.drain(0, nil, nil)
	lost := map[uint32]bool{}
	for _, each := range samples {
		lost[each.Number] = each.Lost
	}
	if len(samples) != 2*packets || len(lost) != packets {
		t.Fatalf("%d samples of %d packets", len(samples), len(lost))
	}
	for n, isLost := range lost {
		if isLost {
			t.Fatalf("packet %d is lost although a later sample corrects it", n)
		}
	}
}
