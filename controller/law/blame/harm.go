package blame

import (
	"time"
)

// Charge counts for how long others were harmed on account of the app. Once that is
// as long as it may be the app is let be, for longer each time, however late it is;
// Charge then reports true. In t it comes to no more than Harm × (1 + t/HarmWindow).
func (s *Diagnosis) Charge(c Config, cost time.Duration, now time.Time) (spent bool) {
	earned := time.Duration(float64(now.Sub(s.Seen)) * float64(c.Harm) / float64(c.HarmWindow))
	s.Harm, s.Seen = max(s.Harm-max(earned, 0), 0)+cost, now
	switch {
	case s.Spent && now.Before(s.RetryAt): // as another bottleneck has found
		return true
	case s.Harm < c.Harm:
		return false
	}
	s.Backoff = min(max(2*s.Backoff, c.Backoff), c.MaxBackoff)
	s.RetryAt, s.Spent = now.Add(s.Backoff), true
	s.Tried, s.InVain = nil, false
	return true
}
