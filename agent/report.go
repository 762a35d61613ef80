package agent

import (
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/usage"
)

var sources = map[probe.Source]api.TimestampSource{
	probe.SourceUser:     api.TimestampSource_TIMESTAMP_SOURCE_USER,
	probe.SourceKernel:   api.TimestampSource_TIMESTAMP_SOURCE_KERNEL,
	probe.SourceHardware: api.TimestampSource_TIMESTAMP_SOURCE_HARDWARE,
}

// sessionReport is r as it goes over the wire.
func sessionReport(r probe.Result) *api.SessionReport {
	out := &api.SessionReport{
		Id:         r.Session.ID,
		Timestamps: sources[r.Timestamps],
		Sent:       r.Totals.Sent,
		Received:   r.Totals.Received,
		Lost:       r.Totals.Lost,
		Duplicated: r.Totals.Duplicated,
		Reordered:  r.Totals.Reordered,
		Late:       r.Totals.Late,
	}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	n := len(r.Samples)
	if n == 0 {
		return out
	}
	oneWay, queue := false, false
	for _, s := range r.Samples {
		oneWay = oneWay || s.HasOneWay
		queue = queue || s.HasQueue
	}
	values := make([]int64, 5*n) // one allocation for the parallel arrays
	take := func(wanted bool) []int64 {
		if !wanted {
			return nil
		}
		taken := values[:n:n]
		values = values[n:]
		return taken
	}
	out.AgeNs, out.RttNs = take(true), take(true)
	out.ForwardNs, out.BackwardNs, out.QueueNs = take(oneWay), take(oneWay), take(queue)
	for i, s := range r.Samples {
		out.AgeNs[i] = int64(s.Age)
		out.RttNs[i] = int64(s.RTT)
		if s.Lost {
			out.RttNs[i] = -1
		}
		if oneWay {
			out.ForwardNs[i], out.BackwardNs[i] = int64(s.Forward), int64(s.Backward)
		}
		if queue {
			out.QueueNs[i] = int64(s.Queue)
		}
	}
	return out
}

func podRates(rates []usage.Rate, now time.Time) []*api.PodRate {
	out := make([]*api.PodRate, len(rates))
	for i, r := range rates {
		out[i] = &api.PodRate{
			Namespace:       r.Namespace,
			Name:            r.Name,
			Uid:             r.UID,
			AgeNs:           int64(now.Sub(r.At)),
			WindowNs:        int64(r.Length),
			TxBps:           uint64(max(r.Tx, 0)),
			RxBps:           uint64(max(r.Rx, 0)),
			EgressLimitBps:  uint64(max(r.Enforced.Egress, 0)),
			IngressLimitBps: uint64(max(r.Enforced.Ingress, 0)),
			LimitTerm:       r.Enforced.Newest.Term,
			LimitSequence:   r.Enforced.Newest.Sequence,
		}
	}
	return out
}
