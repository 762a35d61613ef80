package law

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// Floor is a windowed minimum: at least one epoch and at most two of memory in
// two numbers.
type Floor struct {
	Since     time.Time
	Now, Last time.Duration
}

// add takes in d, seen at a time, with epochs of the given length.
func (f *Floor) add(at time.Time, d, epoch time.Duration) {
	switch {
	case f.Since.IsZero():
		*f = Floor{Since: at, Now: d, Last: d}
	case at.Sub(f.Since) >= epoch:
		*f = Floor{Since: at, Now: d, Last: f.Now}
	default:
		f.Now = min(f.Now, d)
	}
}

func (f Floor) value() time.Duration { return min(f.Now, f.Last) }

// The epochs of the minima. The round trip's is long, so that congestion does
// not become the new normal, and longer where it takes long to be seen; the one-way delays' is short, because clocks of
// two machines drift apart by up to 50 µs a second.
const (
	tripEpoch   = 2 * time.Minute
	oneWayEpoch = 15 * time.Second
)

// pathIndex finds the memory of a session.
type pathIndex map[pathKey]*Path

type pathKey struct {
	app plan.PodID
	id  string
}

func indexPaths(paths []Path) pathIndex {
	index := make(pathIndex, len(paths))
	for i := range paths {
		index[pathKey{paths[i].App, paths[i].ID}] = &paths[i]
	}
	return index
}

// observePaths brings the long memory of every session up to date.
func observePaths(known []Path, apps []plan.App) []Path {
	index := indexPaths(known)
	paths := make([]Path, 0, len(known))
	for _, app := range apps {
		for i := range len(app.Sessions) + len(app.Witnesses) {
			session := sessionOf(&app, i)
			if i >= len(app.Sessions) && slices.ContainsFunc(app.Sessions, func(x plan.Session) bool { return x.ID == session.ID }) {
				continue // the agent answers for the app: they are the same
			}
			key := pathKey{app.Pod, session.ID}
			p := Path{App: app.Pod, ID: session.ID}
			if old := index[key]; old != nil {
				p = *old
			}
			p.observe(session.Samples, tripEpoch+20*session.Lag)
			p.Sure = p.Sure || !p.Seen.IsZero() && p.RTT.value() < suspicious*allowance(app.SLO, 0)
			paths = append(paths, p)
		}
	}
	return paths
}

// suspicious is how many times its allowance the first base of a path must be
// for it to be doubted: a queue may have stood there since before the law
// began to look. One cut then tells.
const suspicious = 4

// base is the delay of the empty path; 0 while that is in doubt.
func (p *Path) base() time.Duration {
	if !p.Sure {
		return 0
	}
	return p.RTT.value()
}

func (p *Path) observe(samples []plan.Sample, epoch time.Duration) {
	for _, s := range samples {
		if s.Lost || !s.At.After(p.Seen) {
			continue
		}
		p.Seen = s.At
		p.RTT.add(s.At, s.RTT, epoch)
		if s.HasOneWay {
			p.Forward.add(s.At, s.Forward, oneWayEpoch)
			p.Back.add(s.At, s.Backward, oneWayEpoch)
		}
	}
}
