package agents

import (
	"errors"
	"fmt"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

var errMalformed = errors.New("arrays of unequal length")

// samples converts one session's report, received at now, into the observer's
// clock. Ages are the agent's; nothing of its clock is used.
func samples(r *api.SessionReport, now time.Time) ([]plan.Sample, error) {
	n := len(r.GetAgeNs())
	oneWay := len(r.GetForwardNs()) > 0
	if len(r.GetRttNs()) != n || (oneWay && (len(r.GetForwardNs()) != n || len(r.GetBackwardNs()) != n)) {
		return nil, fmt.Errorf("session %q: %w", r.GetId(), errMalformed)
	}
	out := make([]plan.Sample, n)
	for i := range out {
		out[i].At = past(now, r.GetAgeNs()[i])
		if rtt := r.GetRttNs()[i]; rtt < 0 {
			out[i].Lost = true
			continue
		} else {
			out[i].RTT = time.Duration(rtt)
		}
		if oneWay {
			out[i].HasOneWay = true
			out[i].Forward = time.Duration(r.GetForwardNs()[i])
			out[i].Backward = time.Duration(r.GetBackwardNs()[i])
		}
	}
	return out, nil
}

func rate(r *api.PodRate, now time.Time) plan.TxRate {
	return plan.TxRate{At: past(now, r.GetAgeNs()), Tx: bitrate.Rate(min(r.GetTxBps(), uint64(bitrate.Max)))}
}

// past is now − age; an age that can't be is the present.
func past(now time.Time, ageNs int64) time.Time {
	return now.Add(-time.Duration(max(ageNs, 0)))
}
