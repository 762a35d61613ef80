package sim

import (
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/detnet/detnet/controller/plan"
)

// session is one path being probed, at 50 Hz with randomised spacing.
type session struct {
	w     *world
	app   AppSpec
	from  string
	id    string
	agent bool // a node session: the agent beside the app answers
	rng   *rand.Rand
	phase time.Duration // of the agent's reports

	samples []done // in the order of sending
	highest [3]int // newest ones that were answered, plus one; ascending
	sure    int    // all before were looked at: answered, or said to be lost
}

// done is one probe and when its fate was known.
type done struct {
	sent    time.Duration
	known   time.Duration
	sample  plan.Sample
	forward time.Duration
	noise   time.Duration // of the hosts at both ends
	route   time.Duration // how much longer the path was than at the start
	lie     time.Duration // of the vantage's host or clock, of its report alone
}

// Kinds of event that a session handles: a probe passes four queues.
const (
	probeSend = iota
	probeAtApp
	probeAtReflector
	probeAtVantage
	probeBack
)

func (s *session) fire(now time.Duration, e event) {
	i := e.arg >> 3
	prop := s.w.scenario.Propagation
	switch e.arg & 7 {
	case probeSend:
		s.w.schedule(now+time.Duration((0.5+s.rng.Float64())*float64(probeEvery)), s, probeSend, 0)
		if s.w.probing {
			route := s.w.route
			s.samples = append(s.samples, done{sent: now, known: now + probeTimeout, route: route[0] + route[1], sample: plan.Sample{At: plan.At(Epoch.Add(now)), Lost: true}})
			s.hop(now, s.w.up[s.from], prop+route[0], len(s.samples)-1, probeAtApp, now)
		}
	case probeAtApp:
		s.hop(now, s.w.down[s.app.Node], 0, i, probeAtReflector, e.sent)
	case probeAtReflector:
		s.samples[i].forward = now - e.sent
		s.hop(now, s.w.up[s.app.Node], prop+s.w.route[1], i, probeAtVantage, e.sent)
	case probeAtVantage:
		s.hop(now, s.w.down[s.from], 0, i, probeBack, e.sent)
	case probeBack:
		s.back(now, i, e.sent)
	}
}

// hop queues a probe; a lost one stays marked as lost.
func (s *session) hop(now time.Duration, l *link, prop time.Duration, i, then int, sent time.Duration) {
	if s.w.scenario.ProbeLoss > 0 && s.rng.Float64() < s.w.scenario.ProbeLoss/4 {
		return
	}
	if out, ok := l.push(now, probeSize); ok {
		s.w.schedule(out+prop, s, then|i<<3, sent)
	}
}

// clockOffset is how far the reflector's clock is off.
const clockOffset = 1700 * time.Microsecond

func (s *session) back(now time.Duration, i int, sent time.Duration) {
	d := &s.samples[i]
	there, here := s.noise(), s.noise()
	if s.w.cpu > 0 && s.rng.Float64() < s.w.cpu {
		there += time.Duration((1 + 6*s.rng.Float64()) * float64(time.Millisecond))
	}
	if s.agent {
		there = 0 // the agent says how long it held the packet
	}
	d.noise = there + here
	if s.w.scenario.Reorder > 0 && s.rng.Float64() < s.w.scenario.Reorder {
		here += reordered
	}
	d.lie = s.w.lies[s.from]
	rtt := now - sent + there + here + d.lie
	if rtt > probeTimeout {
		return
	}
	s.overtook(now, i)
	d.known = sent + rtt
	d.sample = plan.Sample{At: plan.At(Epoch.Add(sent)), RTT: rtt}
	if !s.w.scenario.Echo || s.agent {
		d.sample.HasOneWay = true
		d.sample.Forward = d.forward + there + clockOffset
	}
}

// overtook says that packets are lost as soon as three later ones were answered, as
// the session-sender does; an answer that comes all the same corrects it.
func (s *session) overtook(now time.Duration, answered int) {
	if answered+1 > s.highest[0] {
		s.highest[0] = answered + 1
		slices.Sort(s.highest[:])
	}
	for ; s.sure < s.highest[0]-1; s.sure++ {
		if d := &s.samples[s.sure]; d.sample.Lost {
			d.known = min(d.known, now)
		}
	}
}

// reordered is how late a packet is that others overtook.
const reordered = 500 * time.Microsecond

func (s *session) noise() time.Duration {
	n := s.w.scenario.Noise
	d := s.rng.ExpFloat64() * float64(n.Body) / 2
	if s.rng.Float64() < n.Rare/2 {
		d += s.rng.ExpFloat64() * float64(n.Tail)
	}
	return time.Duration(d)
}

// observed is what the controller knows: probes whose fate was in a report
// that has arrived.
func (s *session) observed(now, known time.Duration) []plan.Sample {
	reported := known - (known-s.phase)%reportEvery
	first := sort.Search(len(s.samples), func(i int) bool { return s.samples[i].sent >= now-history })
	var out []plan.Sample
	for _, d := range s.samples[first:] {
		if d.known <= reported {
			out = append(out, d.sample)
		}
	}
	return out
}
