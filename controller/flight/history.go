package flight

import (
	"reflect"
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// cast is who is in an observation, without what was measured. Who stays as they were is
// one object in the casts of a segment.
type cast struct {
	Apps    []*plan.App    `json:"apps"`
	Senders []*plan.Sender `json:"senders"` // with a limit of that time or before
	Told    []plan.Told    `json:"told,omitempty"`
}

// cast is that of o, which shares with the one before who is in both, and the octets of
// the rest.
func (r *Recorder) cast(o plan.Observation, before *cast) (is *cast, octets int) {
	if before == nil {
		before = &cast{}
	}
	is = &cast{Apps: make([]*plan.App, len(o.Apps)), Senders: make([]*plan.Sender, len(o.Senders)), Told: slices.Clone(o.Told)}
	for i := range o.Apps {
		is.Apps[i] = &o.Apps[i]
	}
	for i, from := range whence(before.Apps, is.Apps, podOfApp) {
		if from >= 0 && sameApp(before.Apps[from], is.Apps[i]) {
			is.Apps[i] = before.Apps[from]
			continue
		}
		kept, n := keep(r, bareApp(o.Apps[i]))
		is.Apps[i], octets = &kept, octets+n
	}
	for i := range o.Senders {
		is.Senders[i] = &o.Senders[i]
	}
	for i, from := range whence(before.Senders, is.Senders, podOfSender) {
		if from >= 0 && sameSender(before.Senders[from], is.Senders[i]) {
			is.Senders[i] = before.Senders[from]
			continue
		}
		bare := o.Senders[i]
		bare.Rates = nil
		kept, n := keep(r, bare)
		is.Senders[i], octets = &kept, octets+n
	}
	const pointer = 8
	return is, octets + pointer*(len(is.Apps)+len(is.Senders)) + len(is.Told)*int(reflect.TypeFor[plan.Told]().Size())
}

func bareApp(a plan.App) plan.App {
	bare := func(paths []plan.Session) []plan.Session {
		out := slices.Clone(paths)
		for i := range out {
			out[i].Samples, out[i].Base = nil, plan.Base{}
		}
		return out
	}
	a.Sessions, a.NodeSessions = bare(a.Sessions), bare(a.NodeSessions)
	return a
}

func podOfApp(a *plan.App) plan.PodID       { return a.Pod }
func podOfSender(s *plan.Sender) plan.PodID { return s.Pod }

// whence says of each of next where the pod of its name was in old; -1: nowhere.
func whence[T any](old, next []*T, pod func(*T) plan.PodID) []int {
	from := make([]int, len(next))
	inOrder := func(a, b *T) int { return pod(a).Compare(pod(b)) }
	if !slices.IsSortedFunc(old, inOrder) || !slices.IsSortedFunc(next, inOrder) { // not a controller's
		places := make(map[plan.PodID]int, len(old))
		for i, x := range old {
			places[pod(x)] = i
		}
		for i, x := range next {
			at, known := places[pod(x)]
			if from[i] = at; !known {
				from[i] = -1
			}
		}
		return from
	}
	at := 0
	for i, x := range next {
		for at < len(old) && old[at] != x && inOrder(old[at], x) < 0 {
			at++
		}
		if from[i] = at; at == len(old) || old[at] != x && inOrder(old[at], x) != 0 {
			from[i] = -1
		}
	}
	return from
}

// shows reports whether c is the cast of o, limits apart.
func (c *cast) shows(o plan.Observation) bool {
	return c != nil && len(c.Apps) == len(o.Apps) && len(c.Senders) == len(o.Senders) && slices.Equal(c.Told, o.Told) && c.showsEach(o)
}

func (c *cast) showsEach(o plan.Observation) bool {
	for i := range o.Apps {
		if !sameApp(c.Apps[i], &o.Apps[i]) {
			return false
		}
	}
	for i := range o.Senders {
		if !sameSender(c.Senders[i], &o.Senders[i]) {
			return false
		}
	}
	return true
}

func sameApp(a, b *plan.App) bool {
	return a.Pod == b.Pod && a.Node == b.Node && a.Rank == b.Rank && a.Protocol == b.Protocol && a.SLO == b.SLO && a.NodeReflects == b.NodeReflects &&
		slices.EqualFunc(a.Sessions, b.Sessions, samePath) && slices.EqualFunc(a.NodeSessions, b.NodeSessions, samePath)
}

func samePath(a, b plan.Session) bool {
	return a.ID == b.ID && a.Vantage == b.Vantage && a.Lag == b.Lag && a.Pause == b.Pause
}

func sameSender(a, b *plan.Sender) bool {
	return a.Pod == b.Pod && a.Node == b.Node && a.Rank == b.Rank && a.Weight == b.Weight && a.Min == b.Min && a.Max == b.Max && a.Limiter == b.Limiter && a.Pause == b.Pause
}

// history is a cast with what was last seen of each: the same on both sides of
// a recording.
type history struct {
	*cast
	samples [][]plan.Sample // by path
	bases   []plan.Base     // by path
	rates   [][]plan.TxRate // by sender
	limits  []bitrate.Rate  // by sender
}

// recast changes who is seen. Who stays keeps what was seen of it.
func (h *history) recast(next *cast) {
	was := *h
	if was.cast == nil {
		was.cast = &cast{}
	}
	*h = history{cast: next, rates: make([][]plan.TxRate, len(next.Senders)), limits: make([]bitrate.Rate, len(next.Senders))}
	first := make([]int, len(was.Apps)) // path of each app
	for i, n := 0, 0; i < len(was.Apps); i++ {
		first[i] = n
		n += len(was.Apps[i].Sessions) + len(was.Apps[i].NodeSessions)
	}
	for i, from := range whence(was.Apps, next.Apps, podOfApp) {
		app := next.Apps[i]
		if from < 0 {
			h.take(app.Sessions, nil, nil, nil)
			h.take(app.NodeSessions, nil, nil, nil)
			continue
		}
		before, n := was.Apps[from], first[from]
		k := n + len(before.Sessions)
		h.take(app.Sessions, before.Sessions, was.samples[n:], was.bases[n:])
		h.take(app.NodeSessions, before.NodeSessions, was.samples[k:], was.bases[k:])
	}
	for i, from := range whence(was.Senders, next.Senders, podOfSender) {
		if h.limits[i] = next.Senders[i].Limit; from >= 0 {
			h.rates[i] = was.rates[from]
		}
	}
}

// take adds paths, with what was seen of those that were there before.
func (h *history) take(paths, before []plan.Session, samples [][]plan.Sample, bases []plan.Base) {
	for _, p := range paths {
		var seen []plan.Sample
		var base plan.Base
		if at := slices.IndexFunc(before, func(b plan.Session) bool { return b.ID == p.ID }); at >= 0 {
			seen, base = samples[at], bases[at]
		}
		h.samples, h.bases = append(h.samples, seen), append(h.bases, base)
	}
}

// observation is what the law saw.
func (h *history) observation() plan.Observation {
	o := plan.Observation{Apps: make([]plan.App, len(h.Apps)), Senders: make([]plan.Sender, len(h.Senders)), Told: h.Told}
	next := 0
	measured := func(paths []plan.Session) []plan.Session {
		out := slices.Clone(paths)
		for i := range out {
			out[i].Samples, out[i].Base = h.samples[next], h.bases[next]
			next++
		}
		return out
	}
	for i := range o.Apps {
		o.Apps[i] = *h.Apps[i]
		o.Apps[i].Sessions = measured(o.Apps[i].Sessions)
		o.Apps[i].NodeSessions = measured(o.Apps[i].NodeSessions)
	}
	for i := range o.Senders {
		o.Senders[i] = *h.Senders[i]
		o.Senders[i].Rates, o.Senders[i].Limit = h.rates[i], h.limits[i]
	}
	return o
}
