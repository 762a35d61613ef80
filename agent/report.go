package agent

import (
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/agent/wire"
)

var sources = map[probe.Source]api.TimestampSource{
	probe.SourceUser:     api.TimestampSource_TIMESTAMP_SOURCE_USER,
	probe.SourceKernel:   api.TimestampSource_TIMESTAMP_SOURCE_KERNEL,
	probe.SourceHardware: api.TimestampSource_TIMESTAMP_SOURCE_HARDWARE,
}

// packedReport is r as it goes over the wire packed; nil where it can't be.
func packedReport(r probe.Result) *api.PackedSession {
	if r.Session.Number == 0 {
		return nil
	}
	out := &api.PackedSession{Number: r.Session.Number}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	samples := make([]wire.Sample, len(r.Samples))
	for i, s := range r.Samples {
		samples[i] = wire.Sample{Age: s.Age, RTT: s.RTT, Forward: s.Forward, Backward: s.Backward, Lost: s.Lost, HasOneWay: s.HasOneWay}
	}
	if !wire.Pack(out, samples) {
		return nil
	}
	return out
}

// sessionReport is r as it goes over the wire in full.
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

func wireRates(rates []usage.Rate) []wire.Rate {
	out := make([]wire.Rate, len(rates))
	for i, r := range rates {
		out[i] = wire.Rate{
			Pod: wire.Pod{
				Namespace: r.Namespace, Name: r.Name, UID: r.UID,
				Limit: uint64(max(r.Enforced.Egress, 0)), Term: r.Enforced.Newest.Term, Sequence: r.Enforced.Newest.Sequence,
			},
			At: r.At, Tx: uint64(max(r.Tx, 0)), Out: uint64(max(r.Out, 0)),
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
