package budget

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// cutting: a cut was asked for. Once it may show what is to follow does.
func (t *Turn) cutting(b *Budget) (r plan.Reason, shows bool) {
	x := &b.Trouble
	switch {
	case t.unwritten(b):
		return t.insist(b), false
	case x.Unwritten: // it is in force at last
		x.Unwritten, b.Link.EffectBy = false, t.Now.Add(t.Feedback)
		return t.hold(b, plan.AwaitEffect), false
	case t.Now.Before(b.Link.EffectBy):
		return t.hold(b, plan.AwaitEffect), false
	}
	b.Phase = x.Resume
	return r, true
}

// inForce reports whether a cut is in force and the queue has left, as far as it will.
func (t *Turn) inForce(b *Budget) (r plan.Reason, yes bool) {
	switch {
	case t.unwritten(b):
		b.Phase = plan.Cutting
		return t.insist(b), false
	case t.emptying(b):
		return t.hold(b, plan.AwaitEffect), false
	}
	return r, true
}

// testing: the cut tells whether the delay that was there from the start is the
// path's, or goes with it.
func (t *Turn) testing(b *Budget) plan.Reason {
	if r, yes := t.inForce(b); !yes {
		return r
	}
	b.Phase = plan.Draining
	t.Empty = true
	if raw := t.Opinion.Worst.Base.Delay; float64(raw) > 0.8*float64(b.Trouble.Found.Queue) {
		t.giveUp(b, b.Trouble.Before)
		return t.reason(b, plan.Restore, plan.Unresponsive)
	}
	return t.hold(b, plan.AwaitEffect)
}

// draining: the cut was enough, or is not.
func (t *Turn) draining(b *Budget) plan.Reason {
	if r, yes := t.inForce(b); !yes {
		return r
	}
	v := t.Opinion
	switch {
	case t.waits(), t.unknown(b), t.mixed(b):
		return t.hold(b, plan.AwaitEffect)
	case !v.LetBe && (v.Trouble() || b.Trouble.Tried && t.touched(b)):
		return t.relieve(b)
	}
	b.clean(t.Now)
	t.settle(b)
	if v.LetBe { // who is late has another cause, and the others are well again
		return t.reason(b, plan.Grow, v.Cause())
	}
	return t.reason(b, plan.Grow, plan.Calm)
}

// mixed reports whether packets that find the path empty may have come after those that are
// late: a short queue that leaves looks like what is late by itself. Where agents report less often,
// the newest packets that are known are as much older.
func (t *Turn) mixed(b *Budget) bool {
	long := t.Sense.Window * 3 / 2
	if s := t.Opinion.Worst.Session; s != nil {
		long += s.Pause
	}
	return t.Opinion.Trouble() && t.byItself(b) && t.Now.Sub(b.Link.EffectBy) < long
}

// unwritten reports whether nothing of the last cut is in force after the time it
// takes: the writes are late or fail, or nobody carries plans out. It says nothing
// about its cause until it has been tried.
func (t *Turn) unwritten(b *Budget) bool {
	x := &b.Trouble
	return x.Takes > 0 && t.Load.Limits+t.Load.Unused >= x.InForce-x.Takes/10 && t.Now.Sub(b.Link.Cut) >= t.Feedback
}

// insist plans a cut that is not in force again, or drops it where the trouble
// went away without it.
func (t *Turn) insist(b *Budget) plan.Reason {
	x := &b.Trouble
	x.Unwritten = true
	if t.Opinion.Trouble() {
		x.CleanAt = time.Time{}
		if t.Now.Sub(b.Link.Cut) > settleTime {
			t.from = t.Load.Limits
			return t.reason(b, plan.Cut, plan.Violation)
		}
		return t.hold(b, plan.AwaitEffect)
	}
	if b.clean(t.Now); b.Trouble.Cuts > 0 {
		return t.hold(b, plan.AwaitEffect)
	}
	t.giveUp(b, x.Before)
	b.Phase = b.rest()
	return t.hold(b, plan.Calm)
}

// leaves is the time in which a queue is to be gone, at the pace at which it leaves, for it to be
// waited for: else another cut is made.
const leaves = time.Second

// shown reports whether no more leaves the node than the limits in force let through beside others: who does not slow down for
// a limit is not seen to obey it.
func (t *Turn) shown(b *Budget) bool {
	may := t.Load.Limits + t.Load.Unused + b.Link.Others
	return t.Load.Out > 0 && t.Load.Out <= bitrate.Scale(may, beyond)
}

// emptying reports whether the queue is on its way out after a cut, or may be:
// the patch has not been seen to work yet, or samples sent since are still
// late but so much less and less that it is gone soon.
func (t *Turn) emptying(b *Budget) bool {
	trouble := t.Opinion.Trouble()
	if t.Held || trouble && t.Pending && !t.shown(b) { // what waited before the cut still goes on
		b.Link.EffectBy = t.Now
		return true
	}
	r := &t.Opinion.Worst
	soon := r.Slope < -0.03 && r.Recent.Seconds() < -r.Slope*leaves.Seconds()
	return trouble && soon && t.Now.Sub(b.Link.EffectBy) < 2*time.Second
}
