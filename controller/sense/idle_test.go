package sense

import (
	"testing"
	"time"
)

// What a path shows while nobody sends is told where it is more than the target. While
// somebody sends, or a queue stands, nothing of it is learned; once it shows less than
// that it is forgotten.
func TestATargetBelowTheIdlePath(t *testing.T) {
	spread := func(p *probed) time.Duration {
		p.run(10 * time.Second)
		v := DefaultConfig().Judge(&p.o.Apps[0], time.Time{}, p.o.At)
		return v.Paths.Unmet
	}
	p := newProbed(false, false)
	p.o.Apps[0].SLO.Jitter, p.noise = 200*us, 40*us // up to 400 µs
	p.sends = 50 * mbit
	if got := spread(p); got != 0 {
		t.Errorf("while somebody sends, %v is taken for what the idle path shows", got)
	}
	p.sends = 0
	if got := spread(p); got < 320*us || got > 440*us {
		t.Errorf("the idle path shows %v, want about 0.36ms", got)
	}
	v := DefaultConfig().Judge(&p.o.Apps[0], time.Time{}, p.o.At)
	if v.Trouble() || !v.Violated() || v.Allow != 2*v.Paths.Unmet {
		t.Errorf("trouble %v, violated %v, %v are allowed; want a violation that nobody is cut for", v.Trouble(), v.Violated(), v.Allow)
	}
	p.back = 5 * ms
	p.run(time.Second)
	if v = DefaultConfig().Judge(&p.o.Apps[0], time.Time{}, p.o.At); !v.Standing {
		t.Error("a queue is not seen any more")
	}
	if got := p.o.Apps[0].Sessions[0].Base.Idle; got > 500*us {
		t.Errorf("of a queue %v was learned as what the idle path shows", got)
	}
	p.back = 0
	p.o.Apps[0].SLO.Jitter = ms
	if got := spread(p); got != 0 {
		t.Errorf("%v is beyond a target of 1ms", got)
	}
}

// Who sends on a node that is at neither end of a path may fill its way down, so while
// somebody does, nothing is learned of the idle path.
func TestOthersMayFillTheWayDown(t *testing.T) {
	p := newProbed(false, false)
	p.o.Apps[0].SLO.Jitter, p.noise = 200*us, 40*us
	p.o.Senders[0].Node, p.sends = "n3", 50*mbit
	p.run(10 * time.Second)
	if got := p.o.Apps[0].Sessions[0].Base.Idle; got != 0 {
		t.Errorf("while somebody sends elsewhere, %v is taken for what the idle path shows", got)
	}
}

// What an app's own host adds is not what the path shows: a node session that is on time says
// that its target can be met, and by whom it is not.
func TestAHostIsNotTheIdlePath(t *testing.T) {
	p := newProbed(false, true)
	p.o.Apps[0].SLO.Jitter, p.noise, p.host = 200*us, 5*us, 40*us
	p.run(10 * time.Second)
	v := DefaultConfig().Judge(&p.o.Apps[0], time.Time{}, p.o.At)
	if v.Paths.Unmet != 0 || v.Elsewhere == nil {
		t.Errorf("%v is taken for what the idle path shows, late elsewhere %v", v.Paths.Unmet, v.Elsewhere != nil)
	}
	p.back = ms // of a queue
	p.run(time.Second)
	if v = DefaultConfig().Judge(&p.o.Apps[0], time.Time{}, p.o.At); !v.Standing {
		t.Error("a queue is not seen for what the host adds")
	}
}
