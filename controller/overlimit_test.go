package controller

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// A pod that sends more than its limit before Cilium, and goes on, gets next to nothing
// through, although it looks busy: that is said, with what helps.
func TestWhoDoesNotSlowDownBeforeCiliumIsToldOf(t *testing.T) {
	now := time.Now()
	const mbit = bitrate.Mbit
	for _, tt := range []struct {
		name    string
		limiter plan.Limiter
		limit   bitrate.Rate
		sends   func(ago time.Duration) bitrate.Rate
		lasts   time.Duration
		said    bool
	}{
		{"UDP that goes on", plan.EDT, 97 * mbit, func(time.Duration) bitrate.Rate { return 150 * mbit }, 5 * time.Second, true},
		{"TCP at its limit", plan.EDT, 97 * mbit, func(time.Duration) bitrate.Rate { return 99 * mbit }, 5 * time.Second, false},
		{"TCP just after a cut", plan.EDT, 97 * mbit, func(ago time.Duration) bitrate.Rate {
			if ago > 500*time.Millisecond {
				return 190 * mbit
			}
			return 97 * mbit
		}, 5 * time.Second, false},
		{"UDP before a token bucket", plan.TokenBucket, 97 * mbit, func(time.Duration) bitrate.Rate { return 150 * mbit }, 5 * time.Second, false},
		{"UDP whose socket waits for room", plan.EDTHostRouting, 97 * mbit, func(time.Duration) bitrate.Rate { return 150 * mbit }, 5 * time.Second, false},
		{"without a limit", plan.EDT, 0, func(time.Duration) bitrate.Rate { return 150 * mbit }, 5 * time.Second, false},
		{"nothing measured", plan.EDT, 97 * mbit, nil, 0, false},
		{"measured for half a second", plan.EDT, 97 * mbit, func(time.Duration) bitrate.Rate { return 150 * mbit }, 500 * time.Millisecond, false},
	} {
		s := plan.Sender{Limiter: tt.limiter, Limit: tt.limit}
		for ago := tt.lasts; ago > 0; ago -= 100 * time.Millisecond {
			s.Rates = append(s.Rates, plan.TxRate{At: plan.At(now.Add(-ago)), Tx: tt.sends(ago)})
		}
		if said := overLimit(&s, now); (said != "") != tt.said || tt.said && !(strings.Contains(said, "its limit of 97M") && strings.Contains(said, "slow down")) {
			t.Errorf("%s: said %q", tt.name, said)
		}
	}
}

// What a pod sent before it was cut is no word on whether it slows down.
func TestACutIsGivenTimeBeforeCilium(t *testing.T) {
	for after, said := range map[time.Duration]bool{Period: false, overFor: false, 2 * overFor: true} {
		synctest.Test(t, func(t *testing.T) {
			s := &floodStage{stage{snapshot: &inventory.Snapshot{Senders: []*inventory.Sender{sender("flood", workload.Enforce)}}}}
			l := s.loop(Settings{Law: constant{plan.Violation, 50 * bitrate.Mbit}, Vantages: 2})
			l.Measurements = s
			if got := run(t, l, after).Senders[0].OverLimit; (got != "") != said {
				t.Errorf("%v after a cut: %q", after, got)
			}
		})
	}
}

// What sockets wait for is not lost, and the law is told so: by what is known of Cilium's
// routing, which says nothing of other limiters.
func TestHostRoutingIsOfCiliumsLimiterAlone(t *testing.T) {
	for _, tt := range []struct {
		on         bool
		said, want plan.Limiter
	}{{true, plan.EDT, plan.EDTHostRouting}, {false, plan.EDT, plan.EDT}, {true, plan.TokenBucket, plan.TokenBucket}, {true, "", ""}} {
		l := Loop{HostRouting: func() bool { return tt.on }}
		if got := l.limiter(tt.said); got != tt.want {
			t.Errorf("host routing %v, of %q: %q, want %q", tt.on, tt.said, got, tt.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := &floodStage{stage{snapshot: &inventory.Snapshot{Senders: []*inventory.Sender{sender("flood", workload.Enforce)}}}}
		l := s.loop(Settings{Law: constant{plan.Violation, 50 * bitrate.Mbit}, Vantages: 2})
		l.Measurements, l.HostRouting = s, func() bool { return true }
		if got := run(t, l, 2*overFor).Senders[0].OverLimit; got != "" {
			t.Errorf("under host routing: %q", got)
		}
	})
}

// floodStage has each pod send much, before Cilium.
type floodStage struct{ stage }

func (s *floodStage) Look(l *agents.Look, now time.Time) { look(s, l, now) }
func (*floodStage) Limiter(string) plan.Limiter          { return plan.EDT }
func (*floodStage) Rates(_ plan.PodID, now time.Time) (rates []plan.TxRate) {
	for ago := 3 * time.Second; ago > 0; ago -= 100 * time.Millisecond {
		rates = append(rates, plan.TxRate{At: plan.At(now.Add(-ago)), Tx: 300 * bitrate.Mbit})
	}
	return rates
}
