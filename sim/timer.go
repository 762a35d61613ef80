package sim

import "time"

// arm sets the timer anew: for what was overtaken but for too little yet, else for a probe
// (RFC 8985 §7.2), else for the retransmission timeout (RFC 6298 §2.3, with Linux' least).
func (f *tcpFlow) arm() {
	switch {
	case f.inflight == 0:
		f.due = 0
		return
	case f.una < f.newest:
		f.due = max(f.segment(f.una).at+f.trip+f.patience(), f.held) + timerTick
	case f.probing():
		f.due = f.since + min(2*f.srtt+timerTick, f.timeout())
	default:
		f.due = f.since + f.timeout()
	}
	f.watch()
}

// probing reports whether a probe is what comes next.
func (f *tcpFlow) probing() bool { return f.phase == open && f.probe == 0 && f.backoff == 0 }

func (f *tcpFlow) timeout() time.Duration {
	return min((f.srtt+max(4*f.rttvar, leastRTO))<<f.backoff, mostRTO)
}

// watch has the timer looked at when it runs out, if it is not looked at before.
func (f *tcpFlow) watch() {
	if f.wake == 0 || f.due < f.wake {
		f.wake = f.due
		f.s.w.schedule(f.due, f.s, timer|f.id<<3, 0)
	}
}

func (f *tcpFlow) ranOut(now time.Duration) {
	if now >= f.wake { // what was due before now is looked at now
		f.wake = 0
	}
	switch {
	case f.due == 0:
		return
	case now < f.due:
		f.watch()
		return
	case !f.s.limiter.room(f.id): // what has not left yet is not lost
		f.since, f.held = now, now
	case f.una < f.newest:
		if f.find(now) > 0 {
			if f.phase != recovering {
				f.recover()
			}
			f.proportion(1, false)
		}
	case f.probing():
		f.sendProbe(now)
	default:
		f.restart()
	}
	f.push(now)
}

// sendProbe sends something, so that what comes of it tells of what was lost before:
// what is new, else the last segment again (RFC 8985 §7.3).
func (f *tcpFlow) sendProbe(now time.Duration) {
	f.probe = f.next() + 1
	if f.repairs = !f.s.wants(); f.repairs {
		f.suspect()
		f.first = f.next() - 1
		f.lose(f.first)
	}
	f.transmit(now)
}

// probed is told what came: if the probe did, and nothing else was missing than what it
// repaired, that was a loss all the same (RFC 8985 §7.4).
func (f *tcpFlow) probed(n int) {
	if f.probe == 0 || n < f.probe-1 {
		return
	}
	if f.repairs && f.phase == open && f.again == 0 {
		f.decrease()
		f.cwnd = f.ssthresh
	}
	f.probe, f.repairs = 0, false
}

// restart takes all for lost and begins with one segment. The window to come back to is
// made smaller once for what is lost at a time, and again if something came since.
func (f *tcpFlow) restart() {
	if f.phase == open || f.phase == restarting && f.backoff == 0 {
		f.suspect()
		f.decrease()
	}
	f.suspects, f.first = 0, f.una
	for n := f.una; n < f.next(); n++ {
		if f.segment(n).fate == inFlight {
			f.lose(n)
		}
	}
	f.una = f.next()
	f.begin(restarting)
	f.cwnd, f.wmax, f.probe, f.repairs = 1, 0, 0, false
	f.backoff = min(f.backoff+1, 8)
}
