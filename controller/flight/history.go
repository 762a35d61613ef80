package flight

import (
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// cast is who is in an observation, without what was measured.
type cast struct {
	Apps    []plan.App    `json:"apps"`
	Senders []plan.Sender `json:"senders"` // with the limits of that time
	Told    []plan.Told   `json:"told,omitempty"`
}

func castOf(o plan.Observation) cast {
	bare := func(paths []plan.Session) []plan.Session {
		out := slices.Clone(paths)
		for i := range out {
			out[i].Samples, out[i].Base = nil, plan.Base{}
		}
		return out
	}
	c := cast{slices.Clone(o.Apps), slices.Clone(o.Senders), slices.Clone(o.Told)}
	for i := range c.Apps {
		c.Apps[i].Sessions, c.Apps[i].NodeSessions = bare(c.Apps[i].Sessions), bare(c.Apps[i].NodeSessions)
	}
	for i := range c.Senders {
		c.Senders[i].Rates = nil
	}
	return c
}

// shows reports whether c is the cast of o, limits apart.
func (c *cast) shows(o plan.Observation) bool {
	return c != nil && slices.EqualFunc(c.Apps, o.Apps, sameApp) && slices.EqualFunc(c.Senders, o.Senders, sameSender) && slices.Equal(c.Told, o.Told)
}

func sameApp(a, b plan.App) bool {
	return a.Pod == b.Pod && a.Node == b.Node && a.Rank == b.Rank && a.Protocol == b.Protocol && a.SLO == b.SLO && a.NodeReflects == b.NodeReflects &&
		slices.EqualFunc(a.Sessions, b.Sessions, samePath) && slices.EqualFunc(a.NodeSessions, b.NodeSessions, samePath)
}

func samePath(a, b plan.Session) bool {
	return a.ID == b.ID && a.Vantage == b.Vantage && a.Lag == b.Lag
}

func sameSender(a, b plan.Sender) bool {
	return a.Pod == b.Pod && a.Node == b.Node && a.Rank == b.Rank && a.Weight == b.Weight && a.Min == b.Min && a.Max == b.Max && a.Limiter == b.Limiter
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

// pathKey names a path in any cast.
type pathKey struct {
	app         plan.PodID
	id          string
	nodeSession bool
}

// paths are the keys of all paths, in their order.
func (c *cast) paths() []pathKey {
	var keys []pathKey
	for _, a := range c.Apps {
		for _, s := range a.Sessions {
			keys = append(keys, pathKey{a.Pod, s.ID, false})
		}
		for _, s := range a.NodeSessions {
			keys = append(keys, pathKey{a.Pod, s.ID, true})
		}
	}
	return keys
}

// recast changes who is seen. Who stays keeps what was seen of it.
func (h *history) recast(next *cast) {
	samples, rates := map[pathKey][]plan.Sample{}, map[plan.PodID][]plan.TxRate{}
	bases := map[pathKey]plan.Base{}
	if h.cast != nil {
		for i, key := range h.paths() {
			samples[key], bases[key] = h.samples[i], h.bases[i]
		}
		for i, s := range h.Senders {
			rates[s.Pod] = h.rates[i]
		}
	}
	*h = history{cast: next}
	for _, key := range next.paths() {
		h.samples = append(h.samples, samples[key])
		h.bases = append(h.bases, bases[key])
	}
	for _, s := range next.Senders {
		h.rates = append(h.rates, rates[s.Pod])
		h.limits = append(h.limits, s.Limit)
	}
}

// observation is what the law saw.
func (h *history) observation() plan.Observation {
	o := plan.Observation{Apps: slices.Clone(h.Apps), Senders: slices.Clone(h.Senders), Told: h.Told}
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
		o.Apps[i].Sessions = measured(o.Apps[i].Sessions)
		o.Apps[i].NodeSessions = measured(o.Apps[i].NodeSessions)
	}
	for i := range o.Senders {
		o.Senders[i].Rates, o.Senders[i].Limit = h.rates[i], h.limits[i]
	}
	return o
}
