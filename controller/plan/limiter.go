package plan

import "time"

// Limiter is how a sender is held to its limit.
type Limiter string

// The limiters.
const (
	// TokenBucket has packets wait at the rate that is in force: the agents' own,
	// and that of most CNIs. It is what an unknown one, "", is taken for.
	TokenBucket Limiter = "tbf"
	// EDT gives each packet a time of departure as it comes, for which fq keeps it
	// (Cilium's bandwidth manager, docs/cilium.md): what waits as a limit changes
	// leaves at the old rate, beside what comes at the new one.
	EDT Limiter = "edt"
	// EDTHostRouting is the same under Cilium's BPF host routing, where a packet is its
	// socket's until it leaves the node: a sender notices the queue at its own limit, so
	// that TCP, and UDP of few flows, have next to nothing waiting there.
	EDTHostRouting Limiter = "edt-host-routing"
)

// Departures reports whether packets have their times of departure from a limiter, so
// that what waits as a limit changes goes on at the old rate, however little that is.
func (l Limiter) Departures() bool { return l == EDT || l == EDTHostRouting }

// Horizon is how far ahead a packet may have its time of departure (EDT), so how long
// the old rate may go on after a change (pkg/maps/bwmap/bwmap.go of Cilium).
const Horizon = 2 * time.Second
