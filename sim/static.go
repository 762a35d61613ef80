package sim

import (
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// static gives each sender a fixed limit at its first step: by weight of a
// total on each node. A total of 0 leaves everything alone.
type static struct {
	name  string
	total bitrate.Rate
}

func (s static) Name() string { return s.name }

func (s static) Step(state law.State, o sense.View) (law.State, plan.Plan) {
	p := plan.Plan{At: o.At}
	if s.total == 0 || !state.At.IsZero() {
		return law.State{At: o.At}, p
	}
	weights := map[string]int{}
	for _, x := range o.Senders {
		weights[x.Node] += x.Weight
	}
	for _, x := range o.Senders {
		to := s.total * bitrate.Rate(x.Weight) / bitrate.Rate(weights[x.Node])
		p.Limits = append(p.Limits, plan.Limit{Pod: x.Pod, From: x.Limit, To: max(to, x.Min)})
	}
	return law.State{At: o.At}, p
}

// Nothing is the world without detnet.
func Nothing() law.Law { return static{name: "nothing"} }

// Oracle plays a scenario with the best static limit: the one with the highest
// goodput among those with at most 1 % of violations; nil if there is none. It
// knows the future; a law that adapts can still beat it where the world changes.
func Oracle(s Scenario, seed uint64) *Record {
	var most bitrate.Rate
	for _, n := range s.Nodes {
		most = max(most, n.Up, n.Down)
	}
	low, high := bitrate.Rate(0), most*105/100
	var best *Record
	for range 8 {
		total := (low + high) / 2
		r := Run(s, static{name: "oracle", total: total}, seed)
		if r.Score().Violation <= 0.01 {
			best, low = r, total
		} else {
			high = total
		}
	}
	return best
}
