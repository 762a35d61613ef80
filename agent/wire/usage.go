package wire

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/detnet/detnet/agent/api"
)

// MaxWindows is how many windows may be in one report: an agent keeps fewer.
const MaxWindows = 64

// MaxPods is how many pods may have a number on one stream.
const MaxPods = 4096

// Pod is a pod of the node, and what is enforced on it.
type Pod struct {
	Namespace, Name, UID string
	Limit                uint64 // bit/s; 0: none
	Term, Sequence       uint64 // of the decision that it came from
}

// Rate is what one pod sent over the window that ended at At.
type Rate struct {
	Pod
	At  time.Time
	Tx  uint64 // bit/s
	Out uint64 // bit/s that left the node by its uplinks meanwhile; 0: not known
}

// Names gives pods numbers for the life of one stream, for who reports. The zero
// Names has given none.
type Names struct {
	given  map[string]*given // by UID
	last   uint32
	window []uint32 // numbers of the last window
	sum    uint64   // sent in it, bit/s
}

type given struct {
	Pod
	number uint32
	tx     uint64 // in the last window that was told, bit/s
}

// Pack writes rates, window by window, into r, and names what is new. False: there
// are more pods than can have numbers, and nothing was written.
func (n *Names) Pack(r *api.Report, rates []Rate, now time.Time) bool {
	if n.given == nil {
		n.given = map[string]*given{}
	}
	fresh := 0
	for _, rate := range rates {
		if n.given[rate.UID] == nil {
			fresh++
		}
	}
	if int(n.last)+fresh >= MaxPods && len(rates) > 0 {
		*n = Names{given: map[string]*given{}} // numbers begin anew
		if fresh = distinct(rates); fresh >= MaxPods {
			return false
		}
	}
	for len(rates) > 0 {
		end := 1
		for end < len(rates) && rates[end].At.Equal(rates[0].At) {
			end++
		}
		r.Usage = append(r.Usage, n.usage(r, rates[:end], now))
		rates = rates[end:]
	}
	return true
}

// usage is one window.
func (n *Names) usage(r *api.Report, rates []Rate, now time.Time) *api.Usage {
	u := &api.Usage{AgeUs: uint32(min(max(now.Sub(rates[0].At), 0), longest) / Exact), TxKbps: make([]uint32, len(rates))}
	u.OutKbps = kbps(rates[0].Out)
	numbers := make([]uint32, len(rates))
	n.sum = 0
	same := len(rates) == len(n.window)
	for i, rate := range rates {
		numbers[i] = n.number(r, rate.Pod)
		n.given[rate.UID].tx = rate.Tx
		same = same && numbers[i] == n.window[i]
		u.TxKbps[i] = kbps(rate.Tx)
		n.sum += rate.Tx
	}
	if !same {
		u.Pods, n.window = numbers, numbers
	}
	return u
}

func kbps(rate uint64) uint32 { return uint32(min((rate+kilo/2)/kilo, 1<<32-1)) }

// number is a pod's, which is named if it is new or something about it is.
func (n *Names) number(r *api.Report, p Pod) uint32 {
	g := n.given[p.UID]
	if g == nil {
		n.last++
		g = &given{number: n.last}
		n.given[p.UID] = g
	} else if g.Pod == p {
		return g.number
	}
	g.Pod = p
	r.Named = append(r.Named, &api.NamedPod{
		Number: g.number, Namespace: p.Namespace, Name: p.Name, Uid: p.UID, EgressLimitBps: p.Limit, LimitTerm: p.Term, LimitSequence: p.Sequence,
	})
	return g.number
}

func distinct(rates []Rate) int {
	seen := map[string]bool{}
	for _, r := range rates {
		seen[r.UID] = true
	}
	return len(seen)
}

// News reports whether rates have something that is to be told before its time: a
// pod or a limit that was not told, or a newest window in which the pods together, or one
// of them, sent more or less than in the last one told, by at least by.
func (n *Names) News(rates []Rate, by uint64) bool {
	var sum uint64
	var turned bool // one of them
	for i, r := range rates {
		g := n.given[r.UID]
		if g == nil || g.Pod != r.Pod {
			return true
		}
		if i > 0 && !r.At.Equal(rates[i-1].At) {
			sum, turned = 0, false
		}
		sum, turned = sum+r.Tx, turned || apart(r.Tx, g.tx) >= by
	}
	return len(rates) > 0 && (turned || apart(sum, n.sum) >= by)
}

func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// Bounds of what names a pod, in octets: those of the API server, whose UIDs have 36.
// What is named is kept for as long as the stream lasts.
const (
	longestNamespace = 63
	longestName      = 253
	longestUID       = 64
)

// bounds is an error for what no pod is called.
func bounds(p *api.NamedPod) error {
	switch {
	case p.GetNumber() == 0 || p.GetNumber() >= MaxPods:
		return fmt.Errorf("pod %.63s/%.253s has the number %d: it must be from 1 to %d", p.GetNamespace(), p.GetName(), p.GetNumber(), MaxPods-1)
	case len(p.GetNamespace()) > longestNamespace || len(p.GetName()) > longestName || len(p.GetUid()) > longestUID:
		return fmt.Errorf("pod %.63s/%.253s, number %d: namespace, name and UID must have at most %d, %d and %d octets",
			p.GetNamespace(), p.GetName(), p.GetNumber(), longestNamespace, longestName, longestUID)
	}
	return nil
}

// Named is what numbers mean on one stream, for who is told. The zero Named knows
// none.
type Named struct {
	pods   map[uint32]Pod
	window []uint32
}

var (
	errWindows = errors.New("windows of usage that no agent reports")
	errNumber  = errors.New("usage of a pod that was not named")
)

// Rates reads what Pack wrote, and calls each with every rate, the oldest window first. What
// no agent writes is an error.
func (n *Named) Rates(r *api.Report, now time.Time, each func(Rate)) error {
	if n.pods == nil {
		n.pods = map[uint32]Pod{}
	}
	for _, p := range r.GetNamed() {
		if err := bounds(p); err != nil {
			return err
		}
		n.pods[p.GetNumber()] = Pod{p.GetNamespace(), p.GetName(), p.GetUid(), p.GetEgressLimitBps(), p.GetLimitTerm(), p.GetLimitSequence()}
	}
	if len(r.GetUsage()) > MaxWindows {
		return fmt.Errorf("%d in a report: %w: at most %d", len(r.GetUsage()), errWindows, MaxWindows)
	}
	for i, u := range r.GetUsage() {
		if i > 0 && u.GetAgeUs() > r.GetUsage()[i-1].GetAgeUs() {
			return fmt.Errorf("one of %d µs ago after one of %d µs ago: %w: the oldest is first", u.GetAgeUs(), r.GetUsage()[i-1].GetAgeUs(), errWindows)
		}
		if len(u.GetPods()) >= MaxPods {
			return fmt.Errorf("usage of %d pods: %w: at most %d", len(u.GetPods()), errWindows, MaxPods-1)
		}
		if len(u.GetPods()) > 0 {
			n.window = u.GetPods()
		}
		if len(n.window) != len(u.GetTxKbps()) {
			return fmt.Errorf("usage of %d pods: %w", cmp.Or(len(u.GetPods()), len(n.window)), errColumns)
		}
		at := now.Add(-time.Duration(u.GetAgeUs()) * Exact)
		for i, number := range n.window {
			p, known := n.pods[number]
			if !known {
				return fmt.Errorf("number %d: %w", number, errNumber)
			}
			each(Rate{p, at, uint64(u.GetTxKbps()[i]) * kilo, uint64(u.GetOutKbps()) * kilo})
		}
	}
	return nil
}
