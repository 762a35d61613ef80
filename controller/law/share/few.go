package share

import (
	"slices"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// uneven is by how much of its fair share a sender may have more or less than that where each change of a
// limit costs what it lets through for a while.
const uneven = 0.08

// pool is those of one rank whose limits hold them back, and slow them down.
type pool struct {
	*Division
	of     []*plan.Sender
	claims []Claim
	all    []int
	kept   []int        // those whose limits stay as they are
	fair   bitrate.Rate // share of the others
	rest   bitrate.Rate // what the kept leave of the shares of all
}

// few has as few limits change as will do, where each change costs: who has about its fair share keeps
// it, and what there is more or less goes to those that change anyhow, or are furthest from theirs.
func (d *Division) few(g *senders.Group, l *senders.Look, claims []Claim) {
	pools := map[int]*pool{}
	for k, i := range g.Members {
		s, use := g.Senders[k], &l.Uses[i]
		if !s.Limiter.Departures() || use.Offer.Steady || g.Unused[k] > 0 || !senders.Bound(s, use.Recent()) {
			continue
		}
		p := pools[claims[k].Rank]
		if p == nil {
			p = &pool{Division: d, of: g.Senders, claims: claims}
			pools[claims[k].Rank] = p
		}
		p.all = append(p.all, k)
		promised := claims[k].Floor <= s.Limit && s.Limit <= claims[k].Ceiling
		if promised && l.Flush(s.Pod) == nil && near(s.Limit, d.To[k]) {
			p.kept = append(p.kept, k)
			p.rest += d.To[k] - s.Limit
		} else {
			p.fair += d.To[k]
			p.rest += d.To[k]
		}
	}
	for _, p := range pools {
		for len(p.kept) > 0 && !p.will() {
			p.release()
		}
		p.share()
	}
}

// release has one more limit change: that which is furthest from its fair share to the side that is called for.
func (p *pool) release() {
	next, most := 0, 0.0
	for n, k := range p.kept {
		off := float64(p.of[k].Limit)/float64(p.To[k]) - 1
		if p.rest > p.fair {
			off = -off
		}
		if n == 0 || off > most {
			next, most = n, off
		}
	}
	k := p.kept[next]
	p.kept = append(p.kept[:next], p.kept[next+1:]...)
	p.rest += p.of[k].Limit
	p.fair += p.To[k]
}

// will reports whether what the kept leave is about the fair share of the others, and no less than they were promised.
func (p *pool) will() bool {
	if p.fair == 0 { // all keep theirs
		var all bitrate.Rate
		for _, k := range p.all {
			all += p.To[k]
		}
		return p.rest >= 0 && p.rest < bitrate.Scale(all, senders.Worth)
	}
	if !near(p.rest, p.fair) {
		return false
	}
	for _, k := range p.all {
		if to := p.part(k); !slices.Contains(p.kept, k) && (to < p.claims[k].Floor || to > p.claims[k].Ceiling) {
			return false
		}
	}
	return true
}

// part is what one has of what the kept leave.
func (p *pool) part(k int) bitrate.Rate {
	return bitrate.Scale(p.To[k], float64(p.rest)/float64(p.fair))
}

func (p *pool) share() {
	if len(p.kept) == 0 {
		return
	}
	for _, k := range p.all {
		if p.fair > 0 {
			p.To[k] = p.part(k)
		}
	}
	for _, k := range p.kept {
		p.To[k] = p.of[k].Limit
	}
}

func near(a, b bitrate.Rate) bool { return max(a-b, b-a) <= bitrate.Scale(b, uneven) }
