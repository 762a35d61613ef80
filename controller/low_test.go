package controller

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// throng is many pods of one node before Cilium, and an API server that takes a while.
type throng struct {
	mu     sync.Mutex
	limits map[plan.PodID]bitrate.Rate
	low    map[plan.PodID]time.Time // since when they are below their floor
	first  []plan.PodID             // in the order in which they were that
	most   int                      // at once
	worst  time.Duration
}

const throngFloor = 2 * bitrate.Mbit

func (c *throng) Annotate(_ context.Context, pod plan.PodID, _ types.UID, annotations map[string]string) error {
	time.Sleep(20 * time.Millisecond)
	limit, err := bitrate.Parse(annotations[workload.AnnotationEgressBandwidth])
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits[pod] = limit
	since, was := c.low[pod]
	switch below := limit < throngFloor; {
	case below && !was:
		c.low[pod], c.first = time.Now(), append(c.first, pod)
		c.most = max(c.most, len(c.low))
	case !below && was:
		c.worst = max(c.worst, time.Since(since))
		delete(c.low, pod)
	}
	return nil
}

func (c *throng) Try(context.Context, plan.PodID, types.UID, map[string]string) error { return nil }

// observe adds what was seen in the last tenth of a second, over a link of some capacity.
func (c *throng) observe(o *plan.Observation, capacity bitrate.Rate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := o.At
	o.At = time.Now()
	var sum bitrate.Rate
	for i := range o.Senders {
		s := &o.Senders[i]
		s.Limit = c.limits[s.Pod]
		sum += s.Limit
		s.Rates = append(s.Rates[max(0, len(s.Rates)-20):], plan.TxRate{At: plan.At(o.At), Tx: s.Limit})
	}
	late := time.Duration(0)
	if sum > capacity {
		late = 40 * time.Millisecond
	}
	session := &o.Apps[0].Sessions[0]
	session.Samples = session.Samples[max(0, len(session.Samples)-300):]
	for k := range 5 {
		session.Samples = append(session.Samples, plan.Sample{
			At: plan.At(from.Add(time.Duration(k+1) * 20 * time.Millisecond)), RTT: 300*time.Microsecond + late + time.Duration(k)*10*time.Microsecond,
		})
	}
}

// A change of the limits of 300 pods, of which 20 can be written in a second, leaves none
// at next to nothing for long: no more are low at a time than can be written in a second,
// those that send most, and their raises wait for a second behind cuts at most. The law
// waits for five at the most, and two steps pass until all is seen.
func TestNobodyStaysLowBeforeCiliumForTheSakeOfWrites(t *testing.T) {
	const most, bound = 20, 7*time.Second + 200*time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		c := &throng{limits: map[plan.PodID]bitrate.Rate{}, low: map[plan.PodID]time.Time{}}
		o := plan.Observation{At: time.Now(), Apps: []plan.App{{
			Pod: plan.PodID{Namespace: "factory", Name: "robot"}, Node: "n1", Protocol: workload.UDP, SLO: workload.SLO{Jitter: time.Millisecond},
			Sessions: []plan.Session{{ID: "a", Vantage: "n2"}},
		}}}
		elephant := func(i int) bool { return i%10 == 5 }
		for i := range 300 {
			pod, limit := plan.PodID{Namespace: "office", Name: fmt.Sprintf("%03d", i)}, 5*bitrate.Mbit
			if elephant(i) {
				limit = 55 * bitrate.Mbit
			}
			c.limits[pod] = limit
			o.Senders = append(o.Senders, plan.Sender{Pod: pod, Node: "n1", Weight: 1, Min: throngFloor, Max: 100 * bitrate.Mbit, Limiter: plan.EDT})
		}
		l, err := law.New(law.Adaptive, law.DefaultConfig())
		if err != nil {
			t.Fatal(err)
		}
		a := actuate.New(c, actuate.Config{Budget: write.NewBudget(most, 100), Workers: 4}, slog.New(slog.DiscardHandler), nil)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { a.Run(ctx) })
		run := law.Run{Law: l}
		for step := range 900 {
			time.Sleep(100 * time.Millisecond)
			capacity := 4 * bitrate.Gbit
			if step > 30 {
				capacity = 2 * bitrate.Gbit
			}
			c.observe(&o, capacity)
			var changes []actuate.Change
			for _, limit := range run.Step(o).Limits {
				change := actuate.Change{Limit: limit, UID: types.UID(limit.Pod.Name), Max: 100 * bitrate.Mbit}
				change.Takes = max(0, limit.From-limit.To)
				changes = append(changes, change)
			}
			a.Submit(changes)
		}
		cancel()
		running.Wait()
		if len(c.first) == 0 || c.most > most || c.worst > bound {
			t.Errorf("%d times low, %d at once, for %v: want %d at once, for %v at most", len(c.first), c.most, c.worst, most, bound)
		}
		for pod, since := range c.low {
			if low := time.Since(since); low > bound {
				t.Errorf("%v is low for %v", pod, low)
			}
		}
		for _, pod := range c.first[:min(len(c.first), most)] {
			if pod.Name[2] != '5' {
				t.Errorf("%v is low before those that send most", pod)
			}
		}
		t.Logf("%d times low, %d at once, for %v", len(c.first), c.most, c.worst)
	})
}
