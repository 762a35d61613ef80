package sense

import (
	"testing"
	"time"
)

// Which of the uplinks on a path is full is known by the way across it alone, while another is full as
// well, and without the clocks of the two nodes agreeing.
func TestAnUplinkIsJudgedByTheWayAcrossIt(t *testing.T) {
	for _, stamped := range []bool{true, false} { // else the node session tells
		for _, tt := range []struct {
			forward, back time.Duration
			drift         time.Duration // of the clocks, a second
			own, far      bool
		}{
			{40 * ms, 40 * ms, 0, true, true},
			{40 * ms, 100 * us, 0, false, true},
			{100 * us, 40 * ms, 0, true, false},
			{40 * ms, 0, 50 * us, false, true},
			{0, 40 * ms, 50 * us, true, false},
			{40 * ms, 0, -50 * us, false, true},
			{0, 40 * ms, -50 * us, true, false},
		} {
			p := newProbed(stamped, true)
			for range 12 {
				p.offset += tt.drift
				p.run(time.Second)
			}
			p.forward, p.back = tt.forward, tt.back
			p.run(time.Second)
			c, app := DefaultConfig(), &p.o.Apps[0]
			v := c.Judge(app, time.Time{}, p.o.At)
			own, far := c.Across(app, "n1", time.Time{}, p.o.At), c.Across(app, "n2", time.Time{}, p.o.At)
			if !v.Standing || own.Standing != tt.own || far.Standing != tt.far {
				t.Errorf("stamped %v, %+v: own %v, far %v, together %v", stamped, tt, own.Standing, far.Standing, v.Standing)
			}
			if bits := v.Paths; (bits.LateThere == 1) != tt.far || (bits.LateBack == 1) != tt.own || (bits.ClearBack == 1) == tt.own {
				t.Errorf("stamped %v, %+v: %+v", stamped, tt, bits)
			}
			if other := c.Across(app, "n3", time.Time{}, p.o.At); !other.Blind {
				t.Errorf("an uplink that it does not cross is judged: %+v", other.Worst)
			}
		}
	}
}

// A leg's queue is dated by when packets came to it: what waited before came to it later.
func TestAWayBackBeginsAfterTheWayThere(t *testing.T) {
	p := newProbed(true, false)
	p.run(2 * time.Second)
	p.forward, p.back = 30*ms, 10*ms
	p.run(200 * ms)
	s := &p.o.Apps[0].Sessions[0]
	sent := s.Samples[len(s.Samples)-1]
	for leg, want := range map[Leg]struct{ above, later time.Duration }{RoundTrip: {40 * ms, 0}, There: {30 * ms, 0}, Back: {10 * ms, 30 * ms}} {
		above, later := leg.Above(&sent, &s.Base), leg.Begins(&sent, &s.Base).Sub(sent.At)
		if (above-want.above).Abs() > ms/10 || (later-want.later).Abs() > ms/10 { // noise
			t.Errorf("leg %d: %v above the base, %v later", leg, above, later)
		}
	}
}
