package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// paced is one pod on an empty path, limited to 20 Mbit/s as Cilium does it, and
// what of it came through.
type paced struct {
	world
	source *source
	at     []time.Duration // of each segment
}

func newPaced(by plan.Limiter, kind SenderKind, flows int) *paced {
	return pacedOf(by, kind, flows, 28*bitrate.Mbit)
}

func pacedOf(by plan.Limiter, kind SenderKind, flows int, offered bitrate.Rate) *paced {
	p := &paced{world: world{scenario: worldDefaults(Scenario{Propagation: 10 * time.Microsecond, Limiter: by}), segment: defaultSegment, rng: rand.New(rand.NewPCG(1, 1)), up: map[string]*link{"n1": {}}, limits: map[plan.PodID]bitrate.Rate{}}}
	p.addSource(SenderSpec{Name: "pod", Node: "n1", Kind: kind, Flows: flows, Offered: offered, Initial: 20 * bitrate.Mbit})
	p.source = p.sources[0]
	limiter := p.source.limiter.(*edt)
	limiter.out = func(now, tag time.Duration) {
		p.at = append(p.at, now)
		p.source.leave(now, tag)
	}
	return p
}

// rate is what came between two times, in Mbit/s.
func (p *paced) rate(from, to time.Duration) float64 {
	octets := 0
	for _, at := range p.at {
		if at >= from && at < to {
			octets += defaultSegment
		}
	}
	return float64(octets) * 8 / 1e6 / (to - from).Seconds()
}

// changed puts another limit in force after half of d and describes what follows
// as the guest of the fq tests does (test/fq/guest/scenarios.go).
func (p *paced) changed(d time.Duration, to bitrate.Rate) (before, after float64, effect time.Duration, surplus float64) {
	const resolution, window = 20 * time.Millisecond, 100 * time.Millisecond
	half := d / 2
	p.run(half)
	p.source.limiter.setRate(p.now, to)
	p.run(d)
	before, after = p.rate(500*time.Millisecond, half), p.rate(half+half/2, d)
	for t := resolution; t <= half; t += resolution {
		if t >= window && p.rate(half+t-window, half+t) > 1.2*to.Mbit() {
			effect = t
		}
		surplus = max(surplus, (p.rate(half, half+t)-to.Mbit())*t.Seconds()*1e3/8)
	}
	return before, after, effect, surplus
}

// The limiter does what a real fq of Linux 6.12 did behind the same computation
// (make bench-fq ARGS="-play throughput,change -seconds 6", docs/cilium.md): in Mbit/s
// on the wire, milliseconds and kilobytes.
func TestEDTIsAsBeforeFQ(t *testing.T) {
	const fewOfAFlow, manyOfAFlow = 100, 4000
	near := nearFQ(t)
	for _, m := range []struct {
		kind  SenderKind
		flows int
		rate  float64
	}{{TCP, 1, 20.02}, {TCP, 4, 19.98}, {TCP, 30, 20.03}, {UDP, 1, 1.59}, {UDP, 4, 6.14}, {UDP, 30, 20.04}} {
		p := newPaced(plan.EDT, m.kind, m.flows)
		p.run(6 * time.Second)
		near(fmt.Sprintf("%d flows of %s", m.flows, m.kind), p.rate(500*time.Millisecond, 6*time.Second), m.rate, 0.05)
	}
	for _, m := range []struct {
		kind                     SenderKind
		flows, packets           int
		length                   time.Duration
		to                       bitrate.Rate
		before, after            float64
		effect, surplus, loosely float64
	}{
		{UDP, 30, fewOfAFlow, 6 * time.Second, 10 * bitrate.Mbit, 20, 10, 1280, 3025, 0.05},
		{UDP, 1, manyOfAFlow, 6 * time.Second, 10 * bitrate.Mbit, 20, 10, 1280, 3016, 0.05},
		{UDP, 30, fewOfAFlow, 6 * time.Second, 26 * bitrate.Mbit, 20, 26, 1280, 3009, 0.05},
		// Slow start ends early in the simulator, so that its TCP fills the queue later.
		{TCP, 4, fewOfAFlow, 12 * time.Second, 10 * bitrate.Mbit, 20, 10, 300, 547, 0.3},
		{TCP, 4, fewOfAFlow, 12 * time.Second, 30 * bitrate.Mbit, 20, 30, 280, 487, 0.3},
	} {
		name := fmt.Sprintf("%d flows of %s, from 20 to %v", m.flows, m.kind, m.to)
		p := newPaced(plan.EDT, m.kind, m.flows)
		p.source.limiter.(*edt).keep = m.packets * 1500 / defaultSegment
		before, after, effect, surplus := p.changed(m.length, m.to)
		near(name+", before", before, m.before, 0.05)
		near(name+", after", after, m.after, 0.05)
		near(name+", until it is in force", float64(effect.Milliseconds()), m.effect, m.loosely)
		near(name+", surplus", surplus, m.surplus, m.loosely)
	}
}

// What a flow has waiting at a low limit is in the way of what comes at a higher one: fq comes back to the flow when
// the next of it leaves, and lets out all that has come meanwhile and may leave, as far as it had room for that
// (make bench-fq ARGS="-play demo/udp -seconds 8 -v" at commit bf31f27, from 5.8 s on).
func TestAFlowComesBackFromALowLimitAsBeforeFQ(t *testing.T) {
	p := pacedOf(plan.EDT, UDP, 1, 150*bitrate.Mbit)
	at := time.Duration(0)
	for _, x := range []struct {
		limit   bitrate.Rate
		lasting time.Duration
	}{{77 * bitrate.Mbit, 1400 * time.Millisecond}, {2300 * bitrate.Kbit, 2200 * time.Millisecond}, {180 * bitrate.Mbit, 4 * time.Second}} {
		p.source.limiter.setRate(at, x.limit)
		at += x.lasting
		p.run(at)
	}
	raised := at - 4*time.Second
	near := nearFQ(t)
	near("in the first two seconds", p.rate(raised, raised+2*time.Second), 25, 0.4)
	near("after them", p.rate(raised+2300*time.Millisecond, at), 150, 0.03)
	most, recent := 0, 0
	for i, x := range p.at { // by the end of them most of what may wait comes at once
		if i > 0 && x == p.at[i-1] && x < raised+2*time.Second {
			recent++
		} else {
			recent = 1
		}
		most = max(most, recent)
	}
	if most < 30 || most > 50 {
		t.Errorf("%d segments come at once", most)
	}
}

// nearFQ holds a figure against that of a real fq.
func nearFQ(t *testing.T) func(what string, got, want, within float64) {
	return func(what string, got, want, within float64) {
		t.Helper()
		if math.Abs(got-want) > within*want {
			t.Errorf("%s: %.3f, before a real fq %.3f", what, got, want)
		}
	}
}

// Under BPF host routing the limiter does what Cilium's own programs did before a real
// fq (make bench-fq ARGS="-limiter cilium-host-routing -play throughput,change -seconds 6").
func TestEDTUnderHostRoutingIsAsBeforeFQ(t *testing.T) {
	near := nearFQ(t)
	for _, m := range []struct {
		kind  SenderKind
		flows int
	}{{TCP, 1}, {TCP, 4}, {TCP, 30}, {UDP, 1}, {UDP, 4}, {UDP, 30}} {
		p := newPaced(plan.EDTHostRouting, m.kind, m.flows)
		p.run(6 * time.Second)
		near(fmt.Sprintf("%d flows of %s", m.flows, m.kind), p.rate(500*time.Millisecond, 6*time.Second), 20, 0.02)
	}
	for _, m := range []struct {
		kind                    SenderKind
		flows                   int
		to                      bitrate.Rate
		effect, surplus, within float64 // an effect of 0 is one at once
	}{
		{TCP, 4, 10 * bitrate.Mbit, 0, 35, 0.3},
		{TCP, 4, 30 * bitrate.Mbit, 0, 38, 0.3},
		{UDP, 30, 10 * bitrate.Mbit, 1280, 3027, 0.05},
	} {
		name := fmt.Sprintf("%d flows of %s, from 20 to %v", m.flows, m.kind, m.to)
		p := newPaced(plan.EDTHostRouting, m.kind, m.flows)
		before, after, effect, surplus := p.changed(6*time.Second, m.to)
		near(name+", before", before, 20, 0.02)
		near(name+", after", after, m.to.Mbit(), 0.02)
		near(name+", surplus", surplus, m.surplus, m.within)
		if ms := float64(effect.Milliseconds()); m.effect > 0 {
			near(name+", until it is in force", ms, m.effect, m.within)
		} else if ms > 100 {
			t.Errorf("%s: in force after %v, before a real fq at once", name, effect)
		}
	}
}
