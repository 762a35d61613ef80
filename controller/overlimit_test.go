package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
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
		{"without a limit", plan.EDT, 0, func(time.Duration) bitrate.Rate { return 150 * mbit }, 5 * time.Second, false},
		{"nothing measured", plan.EDT, 97 * mbit, nil, 0, false},
		{"measured for half a second", plan.EDT, 97 * mbit, func(time.Duration) bitrate.Rate { return 150 * mbit }, 500 * time.Millisecond, false},
	} {
		s := plan.Sender{Limiter: tt.limiter, Limit: tt.limit}
		for ago := tt.lasts; ago > 0; ago -= 100 * time.Millisecond {
			s.Rates = append(s.Rates, plan.TxRate{At: now.Add(-ago), Tx: tt.sends(ago)})
		}
		if said := overLimit(&s, now); (said != "") != tt.said || tt.said && !(strings.Contains(said, "its limit of 97M") && strings.Contains(said, "slow down")) {
			t.Errorf("%s: said %q", tt.name, said)
		}
	}
}
