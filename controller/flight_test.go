package controller

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/flight"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// crowded measures a queue that stands for a while, loses probes that it knows
// of late, and senders that send.
type crowded struct {
	stage
	began time.Time
}

func (s *crowded) Look(l *agents.Look, now time.Time) { look(s, l, now) }

func (s *crowded) Session(_ string, now time.Time) agents.Measurement {
	var m agents.Measurement
	for at := s.began.Add(10 * time.Millisecond); at.Before(now); at = at.Add(20 * time.Millisecond) {
		age := now.Sub(at)
		lost := at.Sub(s.began)%(700*time.Millisecond) < 20*time.Millisecond
		if age > 5*time.Second || lost && age < time.Second {
			continue
		}
		p := plan.Sample{At: plan.At(at), Lost: lost}
		if !lost {
			p.RTT = 200 * time.Microsecond
			if phase := at.Sub(s.began) % (10 * time.Second); phase > 6*time.Second {
				p.RTT += min(8*time.Millisecond, (phase-6*time.Second)/50)
			}
		}
		m.Samples = append(m.Samples, p)
	}
	return m
}

func (s *crowded) Rates(_ plan.PodID, now time.Time) (rates []plan.TxRate) {
	for at := now.Truncate(100 * time.Millisecond).Add(-2 * time.Second); at.Before(now); at = at.Add(100 * time.Millisecond) {
		if at.After(s.began) {
			rates = append(rates, plan.TxRate{At: plan.At(at), Tx: 90 * mbit})
		}
	}
	return rates
}

// Both runs of a loop are recorded, across a change of constants, and replayed
// they decide the same.
func TestFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &crowded{began: time.Now(), stage: stage{snapshot: &inventory.Snapshot{
			Apps:    []*inventory.App{app("robot", workload.Enforce), app("scanner", workload.Observe)},
			Senders: []*inventory.Sender{sender("a", workload.Enforce), sender("b", workload.Observe)},
			Agents:  []inventory.Agent{{UID: "2", Role: api.Role_ROLE_PROBE, Node: "worker-2"}},
		}}}
		settings := func(soft float64) Settings {
			c := law.DefaultConfig()
			c.Adaptive.Sense.Soft = soft
			l, err := law.New(law.Adaptive, c)
			if err != nil {
				t.Fatal(err)
			}
			return Settings{Law: l, Config: c, Mode: workload.Enforce, Vantages: 1}
		}
		l := s.loop(settings(0.5))
		l.Version = "v1"
		l.Measurements = s
		change := time.AfterFunc(12*time.Second, func() { l.Set(settings(0.4)) })
		defer change.Stop()
		run(t, l, 25*time.Second)

		var file bytes.Buffer
		if _, err := l.Flight.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		var recorded []float64
		var news flight.News
		steps, cuts := map[workload.ControlMode]int{}, map[workload.ControlMode]int{}
		err := flight.Replay(&file, func(h flight.Header) (law.Law, error) {
			recorded = append(recorded, h.Config.Adaptive.Sense.Soft)
			return law.New(h.Law, h.Config)
		}, func(r flight.Replayed) error {
			steps[r.Mode]++
			cuts[r.Mode] += len(r.Plan.Limits)
			for _, d := range news.Of(r, false) {
				if d.Differs {
					t.Errorf("%+v, recorded %+v", d.Decision, d.Recorded)
				}
			}
			return nil
		})
		if err != nil || steps[workload.Enforce] < 90 || steps[workload.Enforce] != steps[workload.Observe] || len(recorded) != 2 || recorded[0] != 0.5 || recorded[1] != 0.4 {
			t.Errorf("%v steps by laws with soft %v: %v", steps, recorded, err)
		}
		if cuts[workload.Enforce] == 0 || cuts[workload.Observe] == 0 {
			t.Errorf("%v cuts: this world does not test anything", cuts)
		}
	})
}
