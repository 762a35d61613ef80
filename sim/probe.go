package sim

import (
	"math/rand/v2"
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
	agent bool // a witness: the agent beside the app answers
	rng   *rand.Rand
	phase time.Duration // of the agent's reports

	samples []done // in the order of sending
}

// done is one probe and when its fate was known.
type done struct {
	sent    time.Duration
	known   time.Duration
	sample  plan.Sample
	forward time.Duration
	noise   time.Duration // of the hosts at both ends
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
			s.samples = append(s.samples, done{sent: now, known: now + probeTimeout, sample: plan.Sample{At: epoch.Add(now), Lost: true}})
			s.hop(now, s.w.up[s.from], prop, len(s.samples)-1, probeAtApp, now)
		}
	case probeAtApp:
		s.hop(now, s.w.down[s.app.Node], 0, i, probeAtReflector, e.sent)
	case probeAtReflector:
		s.samples[i].forward = now - e.sent
		s.hop(now, s.w.up[s.app.Node], prop, i, probeAtVantage, e.sent)
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
	rtt := now - sent + there + here
	if rtt > probeTimeout {
		return
	}
	d.known = sent + rtt
	d.sample = plan.Sample{At: epoch.Add(sent), RTT: rtt}
	if !s.w.scenario.Echo || s.agent {
		d.sample.HasOneWay = true
		d.sample.Forward = d.forward + there + clockOffset
		d.sample.Backward = rtt - d.sample.Forward
	}
}

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
