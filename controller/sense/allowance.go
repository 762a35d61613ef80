package sense

import (
	"time"

	"github.com/detnet/detnet/workload"
)

// Allowance turns targets into one bound on the delay above base: jitter is
// that bound, and a latency target leaves what the empty path does not use. A
// latency target at or below the base cannot be met; a twentieth of it is kept
// as a bound so that the law still reacts to what it can change.
func Allowance(slo workload.SLO, base time.Duration) time.Duration {
	if slo.Latency == 0 {
		return slo.Jitter
	}
	room := max(slo.Latency-base, slo.Latency/20)
	if slo.Jitter == 0 {
		return room
	}
	return min(slo.Jitter, room)
}
