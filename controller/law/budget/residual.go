package budget

import "time"

// Residual is the small delay of a link that is nearly full: the packets of others
// that happen to be in the way. When it falls while the senders send as much
// as before, there is room again, although no queue says so.
type Residual struct {
	Since      time.Time
	At         time.Time
	Slow, Fast float64 // seconds
}

const (
	residualSlow  = 12 * time.Second
	residualFast  = 1200 * time.Millisecond
	residualLearn = 4 * time.Second
	residualLeast = 12e-6 // s; less is within the noise of any clock
)

// Fell takes in the residual delay of now and reports a lasting fall.
func (r *Residual) Fell(now time.Time, d time.Duration) bool {
	if r.Since.IsZero() || now.Sub(r.At) > residualLearn {
		*r = Residual{Since: now, At: now, Slow: d.Seconds(), Fast: d.Seconds()}
		return false
	}
	dt := min(now.Sub(r.At), residualFast) // more is near the target, and not taken in
	r.At = now
	learning := now.Sub(r.Since)
	slow := min(residualSlow, learning)
	r.Slow += (d.Seconds() - r.Slow) * min(1, float64(dt)/float64(slow))
	r.Fast += (d.Seconds() - r.Fast) * min(1, float64(dt)/float64(min(residualFast, learning)))
	if learning < residualLearn || r.Fast > 0.5*r.Slow || r.Slow-r.Fast < residualLeast {
		return false
	}
	*r = Residual{}
	return true
}
