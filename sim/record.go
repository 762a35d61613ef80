package sim

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/sim/score"
)

// Record is everything that happened in a run.
type Record struct {
	Scenario  Scenario
	Law       string
	Seed      uint64
	Senders   []string
	Probes    []Probe // in the order of sending, session by session
	Points    []Point // every 100 ms
	Decisions []Decision
	Patches   int

	tried map[plan.PodID]bitrate.Rate // limits that are recorded, of pods that others are tried for
}

// Probe is one probe packet as the app would have felt it.
type Probe struct {
	Session string
	App     string
	At      time.Duration
	Delay   time.Duration // above the least round trip of its session
	Lost    bool
	Late    bool // beyond the app's target, or lost
	Queued  bool // late, and would not have been without queues
}

// Point is one sub-window of every sender; the room is that of the first node's
// uplink, a greedy sender offers as much.
type Point struct {
	score.Point
	Usage []bitrate.Rate // sent
}

// Decision is a plan that did something, or decided differently than before.
type Decision struct {
	At     time.Duration
	Plan   plan.Plan
	Writes int
}

// sample records a sub-window.
func (r *Record) sample(w *world, now time.Duration, usage []bitrate.Rate) {
	p := Point{Point: score.Point{At: now, Room: w.up[w.scenario.Nodes[0].Name].rate}, Usage: usage}
	for _, s := range w.sources {
		p.Limits = append(p.Limits, s.limiter.limit())
		p.Offered = append(p.Offered, s.offers())
		p.Waiting = append(p.Waiting, bitrate.Rate(float64(s.waiting)*8/reportEvery.Seconds()))
		s.waiting = s.limiter.waiting()
		p.Goodput = append(p.Goodput, bitrate.Rate(float64(s.arrived-s.seen)*8/reportEvery.Seconds()))
		s.seen = s.arrived
	}
	r.Points = append(r.Points, p)
}

func (r *Record) decided(now time.Duration, p plan.Plan) {
	writes := r.writes(p)
	r.Patches += writes
	if len(p.Limits) > 0 || len(r.Decisions) == 0 || !sameReasons(r.Decisions[len(r.Decisions)-1].Plan, p) {
		r.Decisions = append(r.Decisions, Decision{At: now, Plan: p, Writes: writes})
	}
}

// writes is how many limits of a plan are to be recorded: not those that are tried, nor those
// that go back from there to what is recorded.
func (r *Record) writes(p plan.Plan) (n int) {
	for _, l := range p.Limits {
		if _, tried := r.tried[l.Pod]; l.Tried && !tried {
			r.tried[l.Pod] = l.From
		}
		if recorded, tried := r.tried[l.Pod]; !l.Tried {
			delete(r.tried, l.Pod)
			if !tried || l.To != recorded {
				n++
			}
		}
	}
	return n
}

func sameReasons(a, b plan.Plan) bool {
	if len(a.Reasons) != len(b.Reasons) {
		return false
	}
	for i := range a.Reasons {
		if a.Reasons[i].Action != b.Reasons[i].Action || a.Reasons[i].Cause != b.Reasons[i].Cause {
			return false
		}
	}
	return true
}

// finish turns the probes into what the apps felt.
func (r *Record) finish(w *world) *Record {
	for _, s := range w.sources {
		r.Senders = append(r.Senders, s.spec.Name)
	}
	for _, s := range w.sessions {
		if s.agent {
			continue
		}
		least := 2 * w.scenario.Propagation // the empty path
		for _, d := range s.samples {
			p := Probe{Session: s.id, App: s.app.Name, At: d.sent, Lost: d.sample.Lost}
			if !p.Lost {
				p.Delay = d.sample.RTT - d.lie - d.route - least
			}
			slo := s.app.SLO
			p.Late = p.Lost || slo.Late(p.Delay, d.sample.RTT-d.lie)
			p.Queued = p.Late && !slo.Late(d.noise, least+d.noise)
			r.Probes = append(r.Probes, p)
		}
	}
	return r
}
