package sim

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Tries is how capacity that a link has lost is tried for: so long after it fell, and again after
// twice as long each time that this was in vain. The zero value is never.
type Tries struct {
	After time.Duration
	Step  float64 // more than the link is known to carry; 0: all that it ever carried
	told  bool    // all that a link carries is known at once, and nothing need be tried for
}

// allTries are those that a Way may have: none, or for all or for a little, as soon or as
// seldom as the law tries for what a link has lost.
var allTries = []Tries{
	{}, {After: 10 * time.Second}, {After: 30 * time.Second}, {After: 2 * time.Minute},
	{After: 10 * time.Second, Step: 0.04}, {After: 30 * time.Second, Step: 0.04}, {After: 2 * time.Minute, Step: 0.04},
}

// rises reports whether a link comes to carry more than before.
func (s Scenario) rises() bool {
	up, down := map[string]bitrate.Rate{}, map[string]bitrate.Rate{}
	for _, n := range s.Nodes {
		up[n.Name], down[n.Name] = n.Up, n.Down
	}
	for _, e := range s.Events {
		if e.Capacity > up[e.Node] || e.Down > down[e.Node] {
			return true
		}
		up[e.Node], down[e.Node] = cmp.Or(e.Capacity, up[e.Node]), cmp.Or(e.Down, down[e.Node])
	}
	return false
}

// carried is what is known of a link by somebody who sees all that passes it, waits before it and is
// lost there: a fall at once, but what it carries more only by sending more.
type carried struct {
	rate, most bitrate.Rate  // at last, and ever
	at         time.Duration // when it was last looked at, and
	left, lost int           // the octets that had left and been lost by then
	trying     bool          // more is tried for
	next, wait time.Duration // when it is to be, and for how long that is waited
}

// carries is what informed takes a link to carry.
func (x *informed) carries(l *link) bitrate.Rate {
	k, now := x.links[l], x.w.now
	if x.tries.told {
		return l.rate
	}
	if k == nil {
		k = &carried{rate: l.rate, most: l.rate}
		x.links[l] = k
	}
	full := k.full(l, now)
	switch {
	case l.rate < k.rate, full && l.rate > k.rate:
		k.rate, k.most, k.trying = l.rate, max(k.most, l.rate), false
		k.wait = x.tries.After
		k.next = now + k.wait
	case full && k.trying:
		k.trying, k.wait = false, 2*k.wait
		k.next = now + k.wait
	case x.tries.After > 0 && k.rate < k.most && now >= k.next:
		k.trying = true
	}
	switch {
	case !k.trying:
		return k.rate
	case x.tries.Step > 0:
		return min(bitrate.Scale(k.rate, 1+x.tries.Step), k.most)
	}
	return k.most
}

// full reports whether a queue stands before a link, or it has lost something or passed more than it
// was known to carry since the last look.
func (k *carried) full(l *link, now time.Duration) bool {
	left, lost, fits := l.left(now, true), l.lost, int(float64(k.rate)/8*(now-k.at).Seconds())+l.burst
	full := l.free-now > 4*standing || lost > k.lost || left-k.left > fits
	k.at, k.left, k.lost = now, left, lost
	return full
}
