package contender

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/quantile"
)

// heracles is the network controller of Heracles (Lo et al., ISCA 2015, algorithm 4):
// each second best effort gets the link's rate less what is critical and a reserve of
// 5 % of the link or 10 % of what is critical. It has to be told the rate, and is told
// that of now.
type heracles struct {
	acted time.Time
	told  func(now time.Time) (link, critical bitrate.Rate)
}

func (h *heracles) total(s sight) bitrate.Rate {
	if s.now.Sub(h.acted) < time.Second {
		return s.was
	}
	h.acted = s.now
	link, critical := h.told(s.now)
	return link - critical - max(link/20, critical/10)
}

// hyperpilot is the rule of Hyperpilot's controller for best effort
// (github.com/Hyperpilotio/be-controller, README.md): each 5 s the slack, the share of
// the target that is left, decides: below −0.2 best effort is disabled, below 0.05 it
// shrinks to 0.8, above 0.2 it grows to 1.1 of what it was.
type hyperpilot struct {
	acted  time.Time
	delays []time.Duration
}

const (
	hyperpilotPeriod                                          = 5 * time.Second
	hyperpilotDisable, hyperpilotShrink, hyperpilotGrow       = -0.2, 0.05, 0.2
	hyperpilotShrinkRate, hyperpilotGrowthRate, hyperpilotSLO = 0.8, 1.1, 0.95
)

func (h *hyperpilot) total(s sight) bitrate.Rate {
	for _, p := range s.probes {
		h.delays = append(h.delays, p.above)
	}
	if s.now.Sub(h.acted) < hyperpilotPeriod || len(h.delays) == 0 {
		return s.was
	}
	slices.Sort(h.delays)
	slack := 1 - quantile.Of(h.delays, hyperpilotSLO).Seconds()/s.target.Seconds()
	h.acted, h.delays = s.now, h.delays[:0]
	switch {
	case slack < hyperpilotDisable:
		return s.floor
	case slack < hyperpilotShrink:
		return bitrate.Rate(float64(s.was) * hyperpilotShrinkRate)
	case slack > hyperpilotGrow:
		return min(bitrate.Rate(float64(s.was)*hyperpilotGrowthRate), cakeMost)
	}
	return s.was
}
