package probe

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe/stamp"
)

// clockQuality is what is announced of this host's clock: what the kernel's
// clock discipline says of it. Nothing that is measured here depends on it.
type clockQuality struct {
	error        uint64 // in 2^-32 s
	synchronised bool
	lookAt       time.Time
}

const (
	lookAtClock = 10 * time.Second
	staUnsync   = 0x40    // STA_UNSYNC of linux/timex.h
	unknownTime = 1 << 32 // 1 s: nobody says how good the clock is
)

// estimate is the error estimate, at most ten seconds old.
func (c *clockQuality) estimate(now time.Time, ptp bool) stamp.ErrorEstimate {
	if c.error == 0 || now.After(c.lookAt) {
		c.lookAt = now.Add(lookAtClock)
		c.look()
	}
	return stamp.Estimate(c.error, c.synchronised, ptp)
}

func (c *clockQuality) look() {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil || t.Maxerror < 0 {
		c.error, c.synchronised = unknownTime, false
		return
	}
	c.error = max(uint64(t.Maxerror)<<32/1e6, 1)
	c.synchronised = t.Status&staUnsync == 0
}
