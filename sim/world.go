// Package sim proves the control laws without a cluster: a virtual clock and
// queues at packet level drive the production law.Step with observations of
// the production shape, delays, noise and losses included. A run is decided by
// its scenario, its law and its seed alone.
package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
)

// Epoch is when every run begins.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// The production rhythm of probes and reports.
const (
	probeEvery   = 20 * time.Millisecond
	probeSize    = 100
	probeTimeout = time.Second
	reportEvery  = 100 * time.Millisecond
	history      = 3 * time.Second // of samples that an observation holds
	rateHistory  = 3 * time.Second
)

// world is one run in progress.
type world struct {
	clock
	scenario Scenario
	law      law.Run
	rng      *rand.Rand
	up, down map[string]*link
	sources  []*source
	sessions []*session
	queries  []*query
	limits   map[plan.PodID]bitrate.Rate // annotations
	rates    map[plan.PodID][]plan.TxRate
	cpu      float64
	probing  bool
	segment  int                      // bytes
	lies     map[string]time.Duration // by vantage
	route    [2]time.Duration         // longer than at the start
	stalled  time.Duration            // until when the controller does nothing
	record   *Record
}

// Run plays a scenario under a law.
func Run(s Scenario, l law.Law, seed uint64) *Record {
	s = worldDefaults(s)
	w := &world{
		scenario: s, law: law.Run{Law: l}, rng: rand.New(rand.NewPCG(seed, 0x5eed)),
		up: map[string]*link{}, down: map[string]*link{},
		limits: map[plan.PodID]bitrate.Rate{}, rates: map[plan.PodID][]plan.TxRate{},
		probing: true, segment: s.Segment, lies: map[string]time.Duration{}, record: &Record{Scenario: s, Law: l.Name(), Seed: seed, tried: map[plan.PodID]bitrate.Rate{}},
	}
	if x, ok := l.(*informed); ok {
		x.w = w
	}
	for _, n := range s.Nodes {
		w.up[n.Name] = &link{rate: n.Up, limit: n.Queue, burst: n.Burst, discipline: n.Discipline, hold: n.Hold}
		if n.Hold[1] > 0 {
			w.up[n.Name].rng = rand.New(rand.NewPCG(seed, 0xa93))
		}
		w.down[n.Name] = &link{rate: n.Down, limit: n.Queue}
	}
	for _, spec := range s.Senders {
		w.addSource(spec)
	}
	for _, a := range s.Apps {
		for _, from := range a.From {
			w.addSession(a, from, false)
			if s.NodeSessions {
				w.addSession(a, from, true)
			}
		}
	}
	for i, e := range s.Events {
		w.schedule(e.At, w, doEvent, time.Duration(i))
	}
	w.schedule(reportEvery, w, doReport, 0)
	w.schedule(s.Loop+time.Duration(w.rng.Int64N(int64(s.Loop))), w, doStep, 0)
	w.run(s.Length)
	return w.record.finish(w)
}

// Kinds of event that the world handles.
const (
	doEvent = iota
	doReport
	doStep
)

func (w *world) fire(now time.Duration, e event) {
	switch e.arg {
	case doEvent:
		w.happen(now, w.scenario.Events[int(e.sent)])
	case doReport:
		w.report(now)
		w.schedule(now+reportEvery, w, doReport, 0)
	case doStep:
		if now >= w.stalled {
			w.step(now)
		}
		w.schedule(now+w.scenario.Loop, w, doStep, 0)
	}
}

func (w *world) addSource(spec SenderSpec) {
	src := &source{w: w, spec: spec, up: w.up[spec.Node], down: w.down[spec.To], rng: rand.New(rand.NewPCG(w.rng.Uint64(), 1))}
	switch initial := w.passes(spec.Initial); w.scenario.Limiter {
	case plan.EDT:
		src.limiter = &edt{clock: &w.clock, segment: w.segment, rate: initial, keep: flowLimit(w.segment), holds: spec.Kind == UDP, out: src.leave}
	case plan.EDTHostRouting:
		src.limiter = &edt{clock: &w.clock, segment: w.segment, rate: initial, keep: socketLimit(spec.Kind, w.segment), sockets: true, out: src.leave, freed: src.freed}
	default:
		src.limiter = &shaper{clock: &w.clock, segment: w.segment, rate: initial, burst: 16 * w.segment / 3, most: max(1<<19, 64*w.segment), out: src.leave}
	}
	if spec.Kind == TCP {
		for i := range max(spec.Flows, 1) {
			src.flows = append(src.flows, newFlow(src, i))
		}
	}
	if !spec.Uncontrolled {
		w.limits[podID(spec.Name)] = spec.Initial
	}
	w.sources = append(w.sources, src)
	src.setRate(0, spec.Offered)
	if spec.Transfers.Size > 0 {
		w.schedule(time.Duration(src.rng.ExpFloat64()*float64(spec.Transfers.Every)), src, arrive, 0)
	}
}

func podID(name string) plan.PodID { return plan.PodID{Namespace: "sim", Name: name} }

func (w *world) happen(now time.Duration, e Event) {
	if e.Capacity > 0 {
		w.up[e.Node].setRate(now, e.Capacity)
	}
	if e.Down > 0 {
		w.down[e.Node].setRate(now, e.Down)
	}
	if e.LieSet {
		w.lies[e.Vantage] = e.Lie
	}
	if e.RouteSet {
		w.route = e.Route
	}
	if e.Stall > 0 {
		w.stalled = now + e.Stall
	}
	for _, s := range w.sources {
		if slices.Contains(e.Senders, s.spec.Name) {
			s.setRate(now, e.Offered)
		}
	}
	if e.CPUSet {
		w.cpu = e.CPU
	}
	if e.Noise != (Noise{}) {
		w.scenario.Noise = e.Noise
	}
	switch e.Probing {
	case On:
		w.probing = true
	case Off:
		w.probing = false
	}
	if e.Restart {
		w.law = law.Run{Law: w.law.Law}
	}
}

// report closes a sub-window of every counter.
func (w *world) report(now time.Duration) {
	usage := make([]bitrate.Rate, len(w.sources))
	out := map[*link]bitrate.Rate{}
	for _, l := range w.up {
		left := l.left(now, w.scenario.OwnQueue)
		out[l], l.told = perWindow(left-l.told), left
	}
	for i, s := range w.sources {
		rate := perWindow(s.counted)
		s.counted = 0
		usage[i] = rate
		if !s.spec.Uncontrolled {
			id := podID(s.spec.Name)
			w.rates[id] = append(w.rates[id], plan.TxRate{At: plan.At(Epoch.Add(now)), Tx: rate, Out: max(out[s.up], 0)})
		}
	}
	w.record.sample(w, now, usage)
}

// perWindow is the rate of octets in a sub-window.
func perWindow(octets int) bitrate.Rate {
	return bitrate.Rate(float64(octets) * 8 / reportEvery.Seconds())
}

// step observes, asks the law and carries out what it wants.
func (w *world) step(now time.Duration) {
	p := w.law.Step(w.observe(now))
	w.record.decided(now, p)
	for _, limit := range p.Limits {
		w.limits[limit.Pod] = limit.To
		spread := w.scenario.PatchDelay[1] - w.scenario.PatchDelay[0]
		delay := w.scenario.PatchDelay[0]
		if spread > 0 {
			delay += time.Duration(w.rng.Int64N(int64(spread)))
		}
		for _, s := range w.sources {
			if podID(s.spec.Name) == limit.Pod && !s.spec.Uncontrolled {
				s.patched = max(s.patched, now+delay) // patches do not overtake
				w.schedule(s.patched, (*patch)(s), 0, time.Duration(limit.To))
			}
		}
	}
}

// patch is a limit on its way to a source.
type patch source

func (p *patch) fire(now time.Duration, e event) {
	p.limiter.setRate(now, p.w.passes(bitrate.Rate(e.sent)))
}

// passes is what a limiter lets through under a limit.
func (w *world) passes(limit bitrate.Rate) bitrate.Rate {
	return bitrate.Rate(float64(limit) * w.scenario.Headroom)
}

func (w *world) addSession(a AppSpec, from string, agent bool) {
	to := a.Name
	if agent {
		to = "agent beside " + a.Name
	}
	s := &session{w: w, app: a, from: from, agent: agent, id: fmt.Sprintf("%s/%s", from, to), rng: rand.New(rand.NewPCG(w.rng.Uint64(), 2))}
	s.phase = time.Duration(s.rng.Int64N(int64(reportEvery)))
	w.sessions = append(w.sessions, s)
	if every := w.scenario.Query.Every; every > 0 {
		q := &query{session: s}
		w.queries = append(w.queries, q)
		w.schedule(every, q, 0, 0)
	}
	w.schedule(time.Duration(s.rng.Int64N(int64(probeEvery))), s, probeSend, 0)
}
