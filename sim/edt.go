package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// limiter holds a pod's packets to its limit.
type limiter interface {
	// push takes one packet of size segment, which its tag names; false if it is
	// dropped.
	push(now, tag time.Duration) bool
	// setRate puts a new limit in force; 0 is none.
	setRate(now time.Duration, rate bitrate.Rate)
	limit() bitrate.Rate
	// waiting is the bytes that are held back.
	waiting() int
	// room reports whether a flow that waits for room would send now.
	room(flow int) bool
}

// edt is a pod's limiter as Cilium's bandwidth manager has it before a Linux fq
// (bpf/lib/edt.h and pkg/maps/bwmap/table.go of Cilium 1.19 and 1.20): a packet
// that is over the rate gets a time of departure, and fq keeps it until then.
// What it is checked against is a real fq ("make bench-fq", docs/cilium.md).
//
// Where it differs from a token bucket: nothing may pass at once after a pause;
// a new rate forgets when the last packet leaves, so that what waits goes on at
// the old rate beside what is new; and a packet that fq has no place for has
// used up its time all the same, so that a flow which does not slow down gets
// what fq keeps of it in the time of the horizon.
//
// Under BPF host routing a packet is its socket's until it leaves: TCP waits until few
// of its packets do (TCP Small Queues), UDP for room in its socket's buffer.
type edt struct {
	clock   *clock
	segment int // bytes of a packet
	rate    bitrate.Rate
	keep    int                               // packets of a flow that fq keeps, or its socket
	sockets bool                              // a flow waits for room
	holds   bool                              // what waits of a flow holds back what comes later and is to leave sooner
	freed   func(now time.Duration, flow int) // tells a flow that there is some; nil: nobody waits
	last    time.Duration                     // when the newest packet leaves
	flows   [maxFlows][]packet                // that wait, by when they leave
	due     [maxFlows]bool                    // fq is to come back to it
	held    int
	out     func(now, tag time.Duration)
}

// packet is one that fq keeps until its time of departure.
type packet struct{ leaves, tag time.Duration }

const (
	edtHorizon = 2 * time.Second // beyond it packets are dropped (pkg/maps/bwmap/bwmap.go)
	// maxFlows is how many flows of a sender a packet's tag can tell apart.
	flowBits = 5
	maxFlows = 1 << flowBits
)

// flowLimit is how many segments of a flow fq keeps: 100 packets (flow_limit in
// net/sched/sch_fq.c), which Cilium leaves as it is. A segment of the default size
// is two packets; a larger one is what segmentation offload makes, and counts as one.
func flowLimit(segment int) int {
	if segment > defaultSegment {
		return 100
	}
	return 100 * 1500 / segment
}

// socketLimit is how many segments a socket has on their way to the link at the most: of
// UDP what is in its buffer (net.core.wmem_default, of which a full packet takes 2,304
// bytes), of TCP two segments and the one that was begun before that (tcp_small_queue_check).
func socketLimit(kind SenderKind, segment int) int {
	if kind == TCP {
		return 3
	}
	return max(93*1500/segment, 1)
}

func (l *edt) room(flow int) bool { return !l.sockets || len(l.flows[flow]) < l.keep }

func (l *edt) push(now, tag time.Duration) bool {
	if l.rate == 0 {
		l.out(now, tag)
		return true
	}
	next := max(l.last+airtime(l.segment, l.rate), now)
	if next-now >= edtHorizon {
		return false
	}
	l.last = next
	flow := int(tag & (maxFlows - 1))
	waiting := l.flows[flow]
	switch {
	case len(waiting) == 0 && next == now:
		l.out(now, tag)
		return true
	case len(waiting) >= l.keep:
		return false
	case !l.holds || !l.due[flow]:
		l.come(flow, next)
	}
	// fq comes back to a flow when the packet leaves that was its next one as it did so before, also
	// where another one has come since that is to leave sooner, as after a change of the rate.
	i, _ := slices.BinarySearchFunc(waiting, next, func(p packet, at time.Duration) int {
		return cmp.Or(cmp.Compare(p.leaves, at), -1)
	})
	l.flows[flow] = slices.Insert(waiting, i, packet{next, tag})
	l.held++
	return true
}

func (l *edt) fire(now time.Duration, e event) {
	flow := e.arg
	for len(l.flows[flow]) > 0 && l.flows[flow][0].leaves <= now {
		p := l.flows[flow][0]
		l.flows[flow] = l.flows[flow][1:]
		l.held--
		l.out(now, p.tag)
		if l.freed != nil {
			l.freed(now, flow)
		}
	}
	if l.due[flow] = len(l.flows[flow]) > 0; l.holds && l.due[flow] {
		l.come(flow, l.flows[flow][0].leaves)
	}
}

func (l *edt) come(flow int, at time.Duration) {
	l.due[flow] = true
	l.clock.schedule(at, l, flow, 0)
}

func (l *edt) setRate(_ time.Duration, rate bitrate.Rate) { l.rate, l.last = rate, 0 }

func (l *edt) limit() bitrate.Rate { return l.rate }

func (l *edt) waiting() int { return l.held * l.segment }
