// Package contender has the public rules for the job that adaptive does, written anew
// from what was published, so that the simulator compares with the best there is. Each
// rule decides what the senders of one node may use together; who gets how much of it
// is decided as adaptive decides it, so that only the rules differ.
package contender

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/law/share"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Names of the contenders.
const (
	Cake         = "cake-autorate"
	CakeLAN      = "cake-autorate-lan"
	Heracles     = "heracles"
	HeraclesHigh = "heracles+20"
	Hyperpilot   = "hyperpilot"
	Swift        = "swift"
	BBR          = "bbr"
)

// Names lists them.
func Names() []string {
	return []string{Cake, CakeLAN, Heracles, HeraclesHigh, Hyperpilot, Swift, BBR}
}

// Told is what a contender is told of the world and could not know by itself.
type Told interface {
	// Uplink is the capacity of a node's uplink at a time since the start, and what
	// critical apps send over it themselves.
	Uplink(node string, at time.Duration) (rate, critical bitrate.Rate)
}

// New makes a contender for one run, which begins at a time.
func New(name string, told Told, begin time.Time) (law.Law, error) {
	var fresh func(node string) rule
	switch name {
	case Cake:
		fresh = func(string) rule { return newCake(false) }
	case CakeLAN:
		fresh = func(string) rule { return newCake(true) }
	case Heracles, HeraclesHigh:
		factor := 1.0
		if name == HeraclesHigh {
			factor = 1.2
		}
		fresh = func(node string) rule {
			return &heracles{told: func(now time.Time) (link, critical bitrate.Rate) {
				link, critical = told.Uplink(node, now.Sub(begin))
				return bitrate.Rate(float64(link) * factor), critical
			}}
		}
	case Hyperpilot:
		fresh = func(string) rule { return &hyperpilot{} }
	case Swift:
		fresh = func(string) rule { return &swift{} }
	case BBR:
		fresh = func(string) rule { return &bbr{} }
	default:
		return nil, fmt.Errorf("no contender is named %q: want one of %s", name, strings.Join(Names(), ", "))
	}
	return &contender{name: name, fresh: fresh}, nil
}

// rule says, each step, what the senders of a node may use together.
type rule interface {
	total(s sight) bitrate.Rate
}

// sight is what is seen of one node at a step.
type sight struct {
	now    time.Time
	was    bitrate.Rate // the total so far; at first the sum of the limits
	floor  bitrate.Rate // sum of the floors
	used   bitrate.Rate // the highest sum of the last sub-windows
	probes []probe      // answered since the last step, in the order of sending
	target time.Duration
}

// probe is one round trip.
type probe struct {
	session int
	at      time.Time
	rtt     time.Duration
	above   time.Duration // the least of the session so far
}

// feedback is how long a limit takes to show: the round trip of these rules.
const feedback = 300 * time.Millisecond

type contender struct {
	name  string
	fresh func(node string) rule
	nodes map[string]*node
}

// node is what is remembered of one.
type node struct {
	rule  rule
	total bitrate.Rate
	paths map[string]*path
}

type path struct {
	number int
	seen   time.Time
	least  time.Duration
}

func (c *contender) Name() string { return c.name }

// Step keeps its memory to itself: a state without a time is a new controller's.
func (c *contender) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	if s.At.IsZero() || c.nodes == nil {
		c.nodes = map[string]*node{}
	}
	p := plan.Plan{At: v.At}
	for _, name := range nodesOf(v.Senders) {
		c.decide(name, v, &p)
	}
	plan.Sort(p.Limits)
	return law.State{At: v.At}, p
}

func nodesOf(all []plan.Sender) []string {
	var names []string
	for i := range all {
		names = append(names, all[i].Node)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (c *contender) decide(name string, v sense.View, p *plan.Plan) {
	var own []*plan.Sender
	var floors bitrate.Rate
	for i := range v.Senders {
		if s := &v.Senders[i]; s.Node == name {
			own = append(own, s)
			floor, _ := senders.Bounds(s)
			floors += floor
		}
	}
	n := c.nodes[name]
	if n == nil {
		n = &node{rule: c.fresh(name), total: senders.SumLimits(own), paths: map[string]*path{}}
		c.nodes[name] = n
	}
	s := sight{now: v.At, was: n.total, floor: floors, used: senders.PeakSum(own)}
	s.probes, s.target = n.look(name, v.Apps)
	if s.target == 0 {
		return // nobody to protect here
	}
	n.total = max(n.rule.total(s), floors)
	reason := plan.Reason{Bottleneck: plan.Uplink(name), Action: plan.Hold, Cause: plan.Calm, Usage: s.used, From: s.was, To: n.total}
	switch {
	case n.total < s.was:
		reason.Action, reason.Cause = plan.Cut, plan.Violation
	case n.total > s.was:
		reason.Action = plan.Grow
	}
	p.Reasons = append(p.Reasons, reason)
	claims := make([]share.Claim, len(own))
	for i, x := range own {
		claims[i] = share.ClaimOf(x, senders.Peak(x, v.At))
	}
	for i, to := range share.Of(n.total, claims) {
		from := senders.LimitOf(own[i])
		to = min(max(to.Quantise(), claims[i].Floor), claims[i].Ceiling)
		if change := max(to-from, from-to); change >= bitrate.Mbit && change >= from/100 {
			p.Limits = append(p.Limits, plan.Limit{Pod: own[i].Pod, From: own[i].Limit, To: to, Reason: len(p.Reasons) - 1})
		}
	}
}

// look takes in what is new on the paths that cross the node's uplink, and the
// strictest target of the apps at their ends.
func (n *node) look(name string, apps []plan.App) (probes []probe, target time.Duration) {
	for i := range apps {
		app := &apps[i]
		for k := range app.Sessions {
			session := &app.Sessions[k]
			if session.Vantage == app.Node || app.Node != name && session.Vantage != name {
				continue
			}
			if allow := sense.Allowance(app.SLO, session.Base.Delay); allow > 0 && (target == 0 || allow < target) {
				target = allow
			}
			probes = append(probes, n.take(app.Pod.String()+" "+session.ID, session.Samples)...)
		}
	}
	slices.SortStableFunc(probes, func(a, b probe) int { return a.at.Compare(b.at) })
	return probes, target
}

func (n *node) take(id string, samples []plan.Sample) (probes []probe) {
	p := n.paths[id]
	if p == nil {
		p = &path{number: len(n.paths)}
		n.paths[id] = p
	}
	for _, s := range samples {
		if s.Lost || !s.At.After(p.seen) {
			continue
		}
		p.seen = s.At.Time()
		if p.least == 0 || s.RTT < p.least {
			p.least = s.RTT
		}
		probes = append(probes, probe{p.number, p.seen, s.RTT, s.RTT - p.least})
	}
	return probes
}
