package stats

import "time"

// Segment is where packets wait.
type Segment string

// The segments, seen from the host that probes.
const (
	Nowhere   Segment = "none"
	OwnHost   Segment = "own-host"   // this host's own queue, before the packet left
	OwnEgress Segment = "own-egress" // behind this host: its node's uplink
	FarEgress Segment = "far-egress" // behind the reflector: the far node's uplink
	Elsewhere Segment = "elsewhere"  // in both directions, or on the way to one target only
	Unknown   Segment = "unknown"    // the reflector gives no timestamps
)

// View is one session's summary and the node that it reaches.
type View struct {
	Node string // of the reflector; "" for none of the cluster's
	Summary
}

// share is the part of the delay that one direction must have to be the one.
const share = 0.7

// Direction tells where the packets of one session wait, where that is more
// than threshold at the median. A wait towards the far node may be behind this
// one or before that one: Congested tells them apart.
func Direction(s Summary, threshold time.Duration) Segment {
	if s.Samples == s.Lost || s.PDV.P50 < threshold {
		return Nowhere
	}
	if s.HasQueue && float64(s.Queue.P50) >= share*float64(s.PDV.P50) {
		return OwnHost
	}
	if !s.HasOneWay {
		return Unknown
	}
	both := float64(s.Forward.P50 + s.Backward.P50)
	switch {
	case float64(s.Forward.P50) >= share*both:
		return OwnEgress
	case float64(s.Backward.P50) >= share*both:
		return FarEgress
	}
	return Elsewhere
}

// Congested names the segment of each session, all together: packets that wait
// on the way to one node, while those to another node do not, have this node's
// uplink behind them already, and wait elsewhere.
func Congested(views []View, threshold time.Duration) []Segment {
	out := make([]Segment, len(views))
	calm := map[string]bool{} // nodes that are reached without a wait
	for i, v := range views {
		out[i] = Direction(v.Summary, threshold)
		if out[i] == Nowhere && v.Samples > v.Lost {
			calm[v.Node] = true
		}
	}
	for i, v := range views {
		if out[i] == OwnEgress && (len(calm) > 1 || len(calm) == 1 && !calm[v.Node]) {
			out[i] = Elsewhere
		}
	}
	return out
}
