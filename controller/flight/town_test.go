package flight

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

const (
	townPace = 100 * time.Millisecond
	townLink = 200 * bitrate.Mbit
	perNode  = 10 // senders
)

// town is a cluster of nodes with an uplink, a critical app and ten senders each. The app
// is measured from the two next nodes, beside a node session each. What the law says is in
// force two rounds later.
type town struct {
	now     time.Time
	seen    plan.Observation
	queue   []float64 // octets, by node
	busy    []bool    // whose senders offer more than fits
	others  []float64 // bit/s of those that nobody may limit
	limits  map[plan.PodID]bitrate.Rate
	asked   [2][]plan.Limit
	chance  *rand.Rand
	run     law.Run
	decided plan.Plan
	took    time.Duration // to record
}

func newTown(nodes int, limiter plan.Limiter, seed uint64) *town {
	l, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		panic(err)
	}
	t := &town{
		now: t0, queue: make([]float64, nodes), busy: make([]bool, nodes), others: make([]float64, nodes), limits: map[plan.PodID]bitrate.Rate{},
		chance: rand.New(rand.NewPCG(seed, 1)), run: law.Run{Law: l},
	}
	node := func(i int) string { return fmt.Sprintf("node-%04d", i%nodes) }
	for i := range nodes {
		app := plan.App{Pod: plan.PodID{Namespace: "factory", Name: fmt.Sprintf("app-%04d", i)}, Node: node(i), Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond}}
		for k := 1; k <= 2; k++ {
			app.Sessions = append(app.Sessions, plan.Session{ID: fmt.Sprint(k), Vantage: node(i + k)})
			app.NodeSessions = append(app.NodeSessions, plan.Session{ID: fmt.Sprint("node ", k), Vantage: node(i + k)})
		}
		t.seen.Apps = append(t.seen.Apps, app)
		for k := range perNode {
			s := plan.Sender{
				Pod: plan.PodID{Namespace: "office", Name: fmt.Sprintf("pod-%05d", perNode*i+k)}, Node: node(i),
				Weight: 1, Min: bitrate.Mbit, Max: bitrate.Gbit, Limit: 100 * bitrate.Mbit, Limiter: limiter,
			}
			t.limits[s.Pod] = s.Limit
			t.seen.Senders = append(t.seen.Senders, s)
		}
	}
	return t
}

// settled is a town that has been watched for as long as agents remember.
func settled(nodes int, limiter plan.Limiter, seed uint64) *town {
	t := newTown(nodes, limiter, seed)
	for range 60 {
		t.step(nil)
	}
	t.took = 0
	return t
}

// step goes on for one round, and records it where there is a recorder.
func (t *town) step(r *Recorder) {
	t.now = t.now.Add(townPace)
	for _, l := range t.asked[0] {
		t.limits[l.Pod] = l.To
	}
	delay := make([]time.Duration, len(t.queue))
	sums := make([]float64, len(t.queue))
	for i := range t.seen.Senders {
		s, node := &t.seen.Senders[i], i/perNode
		offer := 5 * bitrate.Mbit
		if t.busy[node] {
			offer = 60 * bitrate.Mbit
		}
		s.Limit = t.limits[s.Pod]
		tx := min(offer, s.Limit) - bitrate.Rate(t.chance.Int64N(100)*1000)
		sums[node] += float64(tx)
		s.Rates = push(s.Rates, 20, plan.TxRate{At: plan.At(t.now), Tx: tx})
	}
	for i, sum := range sums {
		more := (sum + t.others[i] - float64(townLink)) * townPace.Seconds() / 8
		t.queue[i] = min(max(t.queue[i]+more, 0), 1e6)
		delay[i] = time.Duration(t.queue[i] * 8 / float64(townLink) * 1e9).Round(time.Microsecond)
	}
	for i := range t.seen.Apps {
		a := &t.seen.Apps[i]
		for k := range a.Sessions {
			there := delay[(i+k+1)%len(delay)]
			t.probe(&a.Sessions[k], there, delay[i])
			t.probe(&a.NodeSessions[k], there, delay[i])
		}
	}
	t.seen.At = t.now
	o := t.seen
	o.Apps, o.Senders = slices.Clone(o.Apps), slices.Clone(o.Senders)
	view := t.run.Sense.Observe(law.SenseOf(t.run.Law), o)
	before := t.run.State
	t.run.State, t.decided = t.run.Law.Step(before, view)
	t.run.Sense.Learn(t.decided)
	t.asked = [2][]plan.Limit{t.asked[1], t.decided.Limits}
	if r == nil {
		return
	}
	start := cpu()
	r.Record(workload.Enforce, before, t.run.State, view.Observation, t.decided)
	t.took += cpu() - start
}

func (t *town) probe(s *plan.Session, there, back time.Duration) {
	for k := range 5 {
		noise := time.Duration(t.chance.Int64N(80)) * time.Microsecond
		late := time.Duration(t.chance.Int64N(8)) * 250 * time.Microsecond
		p := plan.Sample{At: plan.At(t.now.Add(time.Duration(k-6)*20*time.Millisecond + late)), HasOneWay: true} // as agents round it
		p.Forward = 150*time.Microsecond + there + noise
		p.RTT = p.Forward + 150*time.Microsecond + back
		p.Forward += time.Hour
		s.Samples = push(s.Samples, 250, p)
	}
}

// cpu is what this process has used so far.
func cpu() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// push makes a new list where the old one is full: what was seen does not change.
func push[T any](all []T, most int, next T) []T {
	if len(all) >= most {
		all = all[1:]
	}
	return append(all, next)
}
