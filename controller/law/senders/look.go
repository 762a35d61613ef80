package senders

import (
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// Look is what the senders do at one step, and what is remembered of them after it.
type Look struct {
	At       time.Time
	All      []plan.Sender // in the order of their PodID, as are
	Uses     []Use
	Flushes  []Flush
	Feedback Feedback
	Usual    time.Duration // from patch to effect, 95th percentile
	counts   []count       // by sender, as is
	awaited  []bool        // it has yet to obey
	changed  bool          // Uses are not those of before any more
}

// Observe takes in what the senders of o did since the step that remembered the rest. Where o
// is a part of a cluster, elsewhere is what counts of the rest; else it is nil. The feedback
// is assumed until it has been measured.
func Observe(uses []Use, flushes []Flush, f Feedback, o plan.Observation, elsewhere *plan.Elsewhere, assumed time.Duration) Look {
	l := Look{At: o.At, All: o.Senders, Feedback: f.Observe(o.Senders, o.At)}
	if elsewhere != nil {
		l.Feedback.Delays = elsewhere.Delays
	}
	l.Uses, l.counts = observeUse(uses, o.Senders, o.At, l.Feedback.P95(minFeedback))
	l.Flushes = l.Feedback.flushed(flushes, o.Senders, l.Uses, o.At)
	l.Uses = hold(l.Uses, uses, l.Flushes, o.At)
	l.Usual = l.Feedback.P95(assumed)
	l.awaited = make([]bool, len(l.All))
	for _, p := range l.Feedback.Pending {
		i, _ := plan.Find(l.All, p.Pod)
		l.awaited[i] = l.At.Sub(p.At) <= 3*l.Usual // where counters sit before the limiter it may never show
	}
	return l
}

// Flush finds what is known of a sender whose limit is low for a while; nil: it is not.
func (l *Look) Flush(pod plan.PodID) *Flush {
	if i, found := plan.Find(l.Flushes, pod); found {
		return &l.Flushes[i]
	}
	return nil
}

// Meant is the limit of a sender, or what it was where it is low for a while.
func (l *Look) Meant(s *plan.Sender) bitrate.Rate {
	if f := l.Flush(s.Pod); f != nil {
		return max(f.Was, s.Limit)
	}
	return LimitOf(s)
}

// goesOn is what a sender sends at a low limit: where one before left something waiting that goes on as well, but far more
// than that is of before.
func goesOn(s *plan.Sender) bitrate.Rate {
	if sent := newest(s.Rates); sent <= 3*s.Limit {
		return sent
	}
	return s.Limit
}

// Most is the most of what a sender's limit is, was before it was low for a while, and is to be after that.
func (l *Look) Most(s *plan.Sender) bitrate.Rate {
	most := LimitOf(s)
	if f := l.Flush(s.Pod); f != nil {
		most = max(most, f.Was, f.To)
	}
	return most
}

// Group is the senders behind a bottleneck, and what they do together.
type Group struct {
	Members []int32 // in Look.All
	Senders []*plan.Sender
	Load    Load
	Unused  []bitrate.Rate // of each one's limit. No sum has it
	Pending bool           // one of them has yet to obey
	Held    bool           // the limit of one is low until what waits behind it is gone
	Old     bitrate.Rate   // what may go on meanwhile beyond the limits in force
}

// Load is what the senders behind a bottleneck do.
type Load struct {
	Peak   bitrate.Rate // of their sum
	Limits bitrate.Rate // sum of the limits in force, but for what is Unused
	Unused bitrate.Rate // of the limits of those who send nothing
	// The newest sub-window began at SeenFrom and ended at Seen.
	SeenFrom, Seen time.Time
	Pause          time.Duration // by how much longer than else nothing newer may come

	Bound    bool         // somebody is held back by a limit
	InVain   bool         // and gets next to nothing of it, as all do who are
	Floors   bitrate.Rate // sum of the floors
	Sending  int          // senders that send anything
	Room     bool         // somebody is above the floor
	More     bool         // somebody is below the ceiling
	Paced    bool         // what waits behind a limit leaves at the old rate as it is changed
	Over     bool         // before Cilium all who are held back by a limit send more than that
	Drops    bool         // somebody sends more than its limit before Cilium, of which less than that may pass
	Resuming bool         // of somebody who does not slow down packets of before a change wait among those that come after it
	// Sockets says that so does what sockets have waiting there: of TCP next to nothing,
	// of UDP that sends all it can a buffer for each flow.
	Sockets bool
	// Streams says that agents hold all of them to their limits, which they are told on streams.
	Streams bool
	// Lacks is how much more would have one more of those get all that it offers that do not
	// slow down, and get next to nothing; 0: there is none.
	Lacks bitrate.Rate
	// Out is what left their node in the newest sub-window, and Others the most that did lately besides what they sent: others'
	// traffic. Before Cilium's limiter, and 0 where nobody tells.
	Out, Others bitrate.Rate
	Goes        bitrate.Rate // what sockets have waiting at low limits goes on at, beside what they are to have
	Whole       bitrate.Rate // the least that leaves one of them all that it offers, of which less would leave next to nothing; 0: nobody
}

// Costly reports whether each change of a limit costs what is let through for a while.
func (l *Load) Costly() bool { return l.Paced && !l.Sockets }

const (
	small  = 0.5                    // of the mean offer: who offers less has a fair share of its own
	looked = 300 * time.Millisecond // how long what is late is looked at, and a little more
)

// Worth is the share of a limit of which a change is worth a write.
const Worth = 0.01

// Group finds what the members do, each by its place in All.
func (l *Look) Group(members []int32) Group {
	over := true
	g := Group{Members: members, Senders: make([]*plan.Sender, len(members)), Unused: make([]bitrate.Rate, len(members))}
	load, heeds := &g.Load, false
	presumed, served := false, false // of some that they get nothing; and somebody gets all that it offers
	var least bitrate.Rate           // that can be written
	var counted sums
	var spare, want bitrate.Rate // of those that do not slow down: limits above floors, and the least that one needs beside all that
	for k, i := range members {
		s, use := &l.All[i], &l.Uses[i]
		g.Senders[k] = s
		floor, ceiling := Bounds(s)
		limit := LimitOf(s)
		bound := Bound(s, use.Recent()) && !use.Offer.Through(limit)
		load.Bound, over = load.Bound || bound, over && !(bound && use.Offer.Above.IsZero())
		if !use.Idle(l.At) {
			load.Sending++
		}
		g.Unused[k] = use.Unused(s, l.At)
		promised := floor - min(floor, g.Unused[k])
		load.Floors += promised
		least += min(promised, bitrate.Min)
		load.Limits += limit - g.Unused[k]
		load.Unused += g.Unused[k]
		if c := &l.counts[i]; counted.add(c) {
			load.SeenFrom, load.Seen, load.Pause = c.from.Time(), c.to.Time(), s.Pause
		}
		presumed = presumed || use.Offer.Presumed && use.Offer.Lost()
		served = served || use.Offer.Rate() > 0 && use.Offer.Through(limit)
		load.Drops = load.Drops || !use.Offer.Above.IsZero()
		load.Resuming = load.Resuming || use.Offer.Steady && l.At.Before(use.Offer.Ahead.Gone.Add(looked))
		if offer := &use.Offer; !offer.Lost() {
			heeds = heeds || bound
		} else {
			spare += limit - min(floor, limit)
			if need := Enough(offer.Rate()) - min(floor, limit); want == 0 || need < want {
				want = need
			}
		}
		load.Room = load.Room || l.Meant(s) > bitrate.Scale(floor, 1+Worth)
		load.More = load.More || limit < ceiling
		g.Pending = g.Pending || l.awaited[i]
		f := l.Flush(s.Pod)
		if f != nil && f.Over && s.Limiter == plan.EDTHostRouting {
			load.Goes += goesOn(s)
		}
		g.wait(s, f)
	}
	load.Over = load.Bound && over
	load.Peak = counted.peak(g.Senders)
	if load.InVain = load.Bound && !heeds && (served || !presumed); load.InVain { // many flows that do not slow down get all of a limit
		load.Lacks = max(want-spare, 0)
		l.passed(&g)
		load.Peak = PeakSum(g.Senders)
	}
	if load.Costly() {
		load.Whole = l.whole(members)
	}
	if load.Paced || load.Sockets {
		load.Out, load.Others = l.left(&g)
	}
	// What is promised to all may be more than there is.
	shrunk := max(load.Peak/2, least)
	if much := shrunk + shrunk/8; load.Bound && load.Floors > much {
		load.Floors, load.Room = shrunk, load.Room || load.Limits > much
	}
	return g
}

// whole is the least that some may have together for one of those that get all that they offer, if that
// is no small part of it, to do so still: the highest class is served first. 0: there is none, or one of them slows down.
func (l *Look) whole(members []int32) bitrate.Rate {
	var sum bitrate.Rate
	sending := 0
	for _, i := range members {
		if use := &l.Uses[i]; !use.Idle(l.At) { // who is lends what it was promised
			sum += use.Offer.Rate()
			sending++
		}
	}
	if sum == 0 || heeds(l.Uses, members, l.At) {
		return 0
	}
	var all, least bitrate.Rate
	rank := 0
	for _, i := range members {
		s, offer := &l.All[i], l.Uses[i].Offer.Rate()
		floor, _ := Bounds(s)
		floor -= min(floor, l.Uses[i].Unused(s, l.At))
		more := max(Enough(offer)-floor, 0)
		all += floor
		switch {
		case more == 0, float64(offer) < small*float64(sum)/float64(sending):
			all += more
		case l.Most(s) >= offer && (least == 0 || s.Rank > rank || s.Rank == rank && more < least):
			least, rank = more, s.Rank
		}
	}
	if least == 0 {
		return 0
	}
	return Enough(all + least) // not all may be seen yet of what it offers
}

// left is what left a node in the newest sub-window, and the most that did in any of those that are new besides what its senders were let send.
func (l *Look) left(g *Group) (out, others bitrate.Rate) {
	first := g.Members[0]
	node, rates := l.All[first].Node, l.All[first].Rates
	if len(rates) == 0 || slices.ContainsFunc(g.Senders, func(s *plan.Sender) bool { return s.Node != node }) {
		return 0, 0
	}
	out = rates[len(rates)-1].Out
	for n := range windows {
		if rates = until(rates, l.counts[first].to.Add(-time.Duration(n)*Window)); len(rates) == 0 {
			break
		}
		rest := rates[len(rates)-1].Out
		for _, i := range g.Members {
			if !l.Uses[i].Offer.Lost() {
				rest -= l.counts[i].sent[n]
			}
		}
		others = max(others, rest)
	}
	return out, others
}

// wait counts a sender in whose limiter packets may wait.
func (g *Group) wait(s *plan.Sender, f *Flush) {
	g.Load.Paced = g.Load.Paced || s.Limiter == plan.EDT
	g.Load.Streams = s.Limiter == plan.TokenBucket && (g.Load.Streams || s == g.Senders[0])
	g.Load.Sockets = g.Load.Sockets || s.Limiter == plan.EDTHostRouting
	if f != nil && !f.Over {
		g.Held, g.Old = true, g.Old+max(f.Was-s.Limit, 0)
	}
}
