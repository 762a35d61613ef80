package agents

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

var errMalformed = errors.New("arrays of unequal length")

// Bounds of what one report says of a session: an agent keeps 4,096 samples at most,
// and its errors are shorter.
const (
	mostSamples = 8192
	longestWhy  = 500 // octets

	// Times that differences of can be taken of: no probe waits for longer, and clocks are not
	// farther apart.
	longestTrip = time.Hour
	farthest    = time.Duration(math.MaxInt64 / 4)
)

// bounded is an error for more samples than any agent has.
func bounded(session string, samples int) error {
	if samples > mostSamples {
		return fmt.Errorf("session %.64s: %d samples in a report: %d at most are taken", session, samples, mostSamples)
	}
	return nil
}

// samples converts one session's report, dated now, into the observer's clock: ages are
// the agent's. The room is used again.
func samples(room []plan.Sample, r *api.SessionReport, now time.Time) ([]plan.Sample, error) {
	n := len(r.GetAgeNs())
	if err := bounded(r.GetId(), n); err != nil {
		return nil, err
	}
	oneWay := len(r.GetForwardNs()) > 0
	if len(r.GetRttNs()) != n || (oneWay && (len(r.GetForwardNs()) != n || len(r.GetBackwardNs()) != n)) {
		return nil, fmt.Errorf("session %q: %w", r.GetId(), errMalformed)
	}
	out := slices.Grow(room, n)[:n]
	for i := range out {
		out[i] = plan.Sample{At: plan.At(past(now, r.GetAgeNs()[i]))}
		if rtt := r.GetRttNs()[i]; rtt < 0 {
			out[i].Lost = true
			continue
		} else {
			out[i].RTT = min(time.Duration(rtt), longestTrip)
		}
		if oneWay {
			out[i].HasOneWay = true
			out[i].Forward = min(max(time.Duration(r.GetForwardNs()[i]), -farthest), farthest)
		}
	}
	return out, nil
}

func unpacked(room []plan.Sample, r *api.PackedSession, now time.Time) ([]plan.Sample, error) {
	n := len(r.GetGap())
	if n > mostSamples {
		return nil, bounded(fmt.Sprint(r.GetNumber()), n)
	}
	out := slices.Grow(room, n)[:n]
	err := wire.Samples(r, func(i int, s wire.Sample) {
		out[i] = plan.Sample{At: plan.At(now.Add(-s.Age)), RTT: s.RTT, Lost: s.Lost, HasOneWay: s.HasOneWay, Forward: s.Forward}
	})
	return out, err
}

func windowOf(r *api.PodRate, now time.Time) plan.TxRate {
	return plan.TxRate{At: plan.At(past(now, r.GetAgeNs())), Tx: rateOf(r.GetTxBps())}
}

// past is now − age; an age that can't be is the present. Older than longestAge is what nobody
// looks at: no Instant is as old as that an age can be.
func past(now time.Time, ageNs int64) time.Time {
	return now.Add(-min(max(time.Duration(ageNs), 0), longestAge))
}

// longestAge is far beyond what is kept.
const longestAge = time.Hour

// Bounds of what is kept of an agent's uplinks: the kernel's names are shorter.
const (
	mostUplinks = 16
	longestName = 32
)

// uplinks converts what a node agent says of its uplinks; where that is what is
// known already, known. What no kernel would say is left out.
func uplinks(said []*api.Uplink, known []status.Uplink) []status.Uplink {
	said = said[:min(len(said), mostUplinks)]
	same := len(said) == len(known)
	for i := 0; same && i < len(said); i++ {
		same = uplink(said[i]) == known[i]
	}
	if same {
		return known
	}
	var out []status.Uplink
	for _, u := range said {
		if len(u.GetInterface()) <= longestName && len(u.GetQueue()) <= longestName {
			out = append(out, uplink(u))
		}
	}
	return out
}

// limiterOf says how pods are held to their limits on a node whose agent enforces, or
// whose packets leave by such uplinks: an fq that is not the agent's is Cilium's, or
// what a distribution has anyway, where the law is slower than it need be.
func limiterOf(enforces bool, uplinks []status.Uplink) plan.Limiter {
	switch {
	case enforces:
		return plan.TokenBucket
	case slices.ContainsFunc(uplinks, func(u status.Uplink) bool { return u.Queue == "fq" || u.Queue == "mq/fq" }):
		return plan.EDT
	}
	return ""
}

func uplink(u *api.Uplink) status.Uplink {
	return status.Uplink{Interface: u.GetInterface(), Queue: u.GetQueue(), SpeedBps: bitrate.Rate(min(u.GetSpeedBps(), uint64(bitrate.Max)))}
}
