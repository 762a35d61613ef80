package sim

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/law/share"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// informed is told all that is so at the moment, and nothing of what comes: what waits before each
// link and in each limiter, what everybody offers, and what each link carries, but where it carries
// more than before: that nothing tells before more is sent, so informed tries as well. It decides
// when a law decides, and its limits take as long to be in force, so that what it cannot keep
// no law can that waits for something to happen.
type informed struct {
	w     *world
	spare float64 // share of each link that is left free
	flush bool    // a pod with packets waiting is changed by way of little
	low   map[plan.PodID]*lowered
	quiet map[*source]time.Duration // since when a source offers nothing
	tries Tries
	links map[*link]*carried
}

// lowered is a pod whose limit is low until its old packets have left.
type lowered struct {
	gone time.Duration // when the last of them leaves
	wait bool          // the low limit is not in force yet: more may come at the old rate
}

const (
	idleAfter = 10 * time.Second      // of offering nothing a floor is lent, as adaptive has it
	draining  = 60 * time.Millisecond // in which a queue is to leave, as adaptive has it
	// standing is what waits before a link that is not too full.
	standing = 250 * time.Microsecond
)

func (*informed) Name() string { return "bound" }

func (x *informed) Step(state law.State, o sense.View) (law.State, plan.Plan) {
	p := plan.Plan{At: o.At}
	to := make([]bitrate.Rate, len(o.Senders))
	for i := range o.Senders {
		_, to[i] = senders.Bounds(&o.Senders[i])
	}
	for _, side := range []func(*source) *link{func(s *source) *link { return s.up }, func(s *source) *link { return s.down }} {
		x.divide(o.Senders, side, to)
	}
	for i := range o.Senders {
		s := &o.Senders[i]
		if x.idle(x.source(s.Pod)) {
			floor, _ := senders.Bounds(s)
			to[i] = max(to[i], floor)
		}
		if limit := x.next(s, to[i].Quantise()); limit != s.Limit {
			p.Limits = append(p.Limits, plan.Limit{Pod: s.Pod, From: s.Limit, To: limit})
		}
	}
	return law.State{At: o.At}, p
}

// divide lowers what senders are to have to their share of the links on one side of the network.
func (x *informed) divide(all []plan.Sender, side func(*source) *link, to []bitrate.Rate) {
	behind := map[*link][]int{}
	for i := range all {
		if l := side(x.source(all[i].Pod)); l != nil && l.rate > 0 {
			behind[l] = append(behind[l], i)
		}
	}
	for l, own := range behind {
		claims := make([]share.Claim, len(own))
		for k, i := range own {
			src := x.source(all[i].Pod)
			c := share.ClaimOf(&all[i], 0)
			switch c.Demand = src.offers(); {
			case x.idle(src): // a floor is a promise for when it is used
				c.Floor = 0
			case !src.wants():
			case src.spec.Kind == TCP:
				c.Demand = c.Ceiling
			case x.w.scenario.Limiter == plan.EDT:
				c.Steady(c.Demand, senders.LimitOf(&all[i]))
			}
			claims[k] = c
		}
		room := x.room(l, side)
		share.Shrink(room, claims)
		for k, got := range share.Of(room, claims) {
			to[own[k]] = min(to[own[k]], got)
		}
	}
}

// room is what fits through a link beside those that nobody limits, less what a queue needs
// to leave by.
func (x *informed) room(l *link, side func(*source) *link) bitrate.Rate {
	room := float64(x.carries(l)) * (1 - x.spare)
	for _, s := range x.w.sources {
		if s.spec.Uncontrolled && side(s) == l {
			room -= float64(s.offers())
		}
	}
	if wait := l.free - x.w.now; wait > standing && l.discipline != Policer {
		room -= float64(l.rate) * min(wait.Seconds()/draining.Seconds(), 1)
	}
	return bitrate.Rate(max(room, 0) / x.w.scenario.Headroom)
}

func (x *informed) source(pod plan.PodID) *source {
	for _, s := range x.w.sources {
		if !s.spec.Uncontrolled && podID(s.spec.Name) == pod {
			return s
		}
	}
	return nil
}

// idle reports whether a source has offered nothing for so long that a law lends its floor.
func (x *informed) idle(s *source) bool {
	if s.wants() {
		delete(x.quiet, s)
		return false
	}
	if _, known := x.quiet[s]; !known {
		x.quiet[s] = x.w.now
	}
	return x.w.now-x.quiet[s] >= idleAfter
}

// next is the limit that a sender is to have now.
func (x *informed) next(s *plan.Sender, to bitrate.Rate) bitrate.Rate {
	src := x.source(s.Pod)
	limiter, paced := src.limiter.(*edt)
	now := x.w.now
	if low := x.low[s.Pod]; low != nil {
		if low.wait && limiter.limit() > x.w.passes(s.Limit) {
			low.gone = max(low.gone, limiter.last)
			return s.Limit
		}
		low.wait = false
		if low.gone > now+x.w.scenario.PatchDelay[0] {
			return s.Limit
		}
		delete(x.low, s.Pod)
		return to
	}
	if x.flush && paced && limiter.waiting() > 2*limiter.segment && max(to-s.Limit, s.Limit-to) > s.Limit/100 && senders.Low(s, to) < min(to, s.Limit) {
		x.low[s.Pod] = &lowered{wait: true, gone: limiter.last}
		return senders.Low(s, to)
	}
	return to
}

// spares are the shares of a link that a Way may leave free.
var spares = []float64{0.005, 0.015, 0.03, 0.06, 0.12}

// Way is how one who is told all that is so at each moment sets limits: the share of a link that
// is left free, whether limits are changed by way of little where packets wait, and how capacity that
// a link has lost is tried for. What it does is a bound for laws, which are not told.
type Way struct {
	Spare float64
	Flush bool
	Tries Tries
}

// Run plays a scenario with these limits.
func (y Way) Run(s Scenario, seed uint64) *Record {
	return Run(s, &informed{
		spare: y.Spare, flush: y.Flush, low: map[plan.PodID]*lowered{}, quiet: map[*source]time.Duration{},
		tries: y.Tries, links: map[*link]*carried{},
	}, seed)
}

// Bound plays a scenario with every seed by one Way: of those with about the fewest violations, the one with the most
// best effort. Both are means of all seeds, so that a queue that a way leaves standing by any of them counts.
func Bound(ctx context.Context, s Scenario, seeds []uint64) ([]*Record, error) {
	best, err := told(ctx, s, seeds)
	if err != nil || !s.rises() {
		return best.records, err
	}
	var all outcomes
	for _, tries := range allTries {
		if err := all.play(ctx, s, Way{best.way.Spare, best.way.Flush, tries}, seeds); err != nil {
			return nil, err
		}
	}
	return all.best().records, nil
}

// told is the best of the ways of one who is told what links carry more as well.
func told(ctx context.Context, s Scenario, seeds []uint64) (outcome, error) {
	flushes := []bool{false}
	if s.Limiter.Departures() {
		flushes = append(flushes, true)
	}
	var all outcomes
	for _, spare := range spares {
		for _, flush := range flushes {
			if err := all.play(ctx, s, Way{spare, flush, Tries{told: s.rises()}}, seeds); err != nil {
				return outcome{}, err
			}
			if last := all[len(all)-1]; last.late <= alike {
				return last, nil // whoever leaves more free has less, and is late as seldom
			}
		}
	}
	return all.best(), nil
}

// outcomes are those of ways that may yet be the best.
type outcomes []outcome

// outcome is what came of a way.
type outcome struct {
	way        Way
	records    []*Record // one a seed
	late, sent float64   // the means of violations and of best effort
}

// play adds a way, unless it is late too often to be the best, and drops those that are so beside it. The
// first seeds may tell: then the others are not played.
func (o *outcomes) play(ctx context.Context, s Scenario, y Way, seeds []uint64) error {
	x := outcome{way: y}
	for _, seed := range seeds {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r := y.Run(s, seed)
		score := r.Score()
		x.records = append(x.records, r)
		x.late += score.Violation / float64(len(seeds))
		x.sent += float64(score.Goodput) / float64(len(seeds))
		if x.late > o.least()+alike {
			return nil
		}
	}
	*o = slices.DeleteFunc(*o, func(other outcome) bool { return other.late > x.late+alike })
	*o = append(*o, x)
	return nil
}

// least is the fewest violations of any.
func (o outcomes) least() float64 {
	least := 1.0
	for _, x := range o {
		least = min(least, x.late)
	}
	return least
}

// best is the one with the most best effort.
func (o outcomes) best() outcome {
	return slices.MaxFunc(o, func(a, b outcome) int { return cmp.Compare(a.sent, b.sent) })
}

// alike is by how much two shares of violations may differ that are as good.
const alike = 0.0025
