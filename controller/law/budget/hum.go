package budget

import "time"

// Hum is the small delay of a link that is nearly full: the packets of others
// that happen to be in the way. When it falls while the senders send as much
// as before, there is room again, although no queue says so.
type Hum struct {
	Since      time.Time
	At         time.Time
	Slow, Fast float64 // seconds
}

const (
	humSlow  = 12 * time.Second
	humFast  = 1200 * time.Millisecond
	humLearn = 4 * time.Second
	humLeast = 12e-6 // s; less is within the noise of any clock
)

// Listen takes in the median delay of now and reports a lasting fall.
func (h *Hum) Listen(now time.Time, d time.Duration) bool {
	if h.Since.IsZero() || now.Sub(h.At) > humLearn {
		*h = Hum{Since: now, At: now, Slow: d.Seconds(), Fast: d.Seconds()}
		return false
	}
	dt := min(now.Sub(h.At), humFast) // a louder hum is near the target, and not listened to
	h.At = now
	learning := now.Sub(h.Since)
	slow := min(humSlow, learning)
	h.Slow += (d.Seconds() - h.Slow) * min(1, float64(dt)/float64(slow))
	h.Fast += (d.Seconds() - h.Fast) * min(1, float64(dt)/float64(min(humFast, learning)))
	if learning < humLearn || h.Fast > 0.5*h.Slow || h.Slow-h.Fast < humLeast {
		return false
	}
	*h = Hum{}
	return true
}
