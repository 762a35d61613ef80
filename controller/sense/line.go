package sense

import "time"

// Line is the least-squares line of delays against the time of sending.
type Line struct{ n, st, sd, stt, std, sdd float64 }

// Add takes in a packet that was sent after a time, and its delay.
func (l *Line) Add(after, delay time.Duration) {
	t, d := after.Seconds(), delay.Seconds()
	l.n, l.st, l.sd, l.stt, l.std, l.sdd = l.n+1, l.st+t, l.sd+d, l.stt+t*t, l.std+t*d, l.sdd+d*d
}

// Fit is the slope, in seconds a second, and the share of the variance that it explains; both
// are 0 where all were sent at one time, or are as late.
func (l *Line) Fit() (slope, explained float64) {
	tt, dd, td := l.n*l.stt-l.st*l.st, l.n*l.sdd-l.sd*l.sd, l.n*l.std-l.st*l.sd
	if tt <= 0 || dd <= 0 {
		return 0, 0
	}
	return td / tt, td * td / (tt * dd)
}
