package limits

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// MaxPods is how many pods of a node one message may speak of.
const MaxPods = 4096

// longUID is longer than any pod's.
const longUID = 64

// deposedFor is how long after the last word of a leader an older term is refused:
// longer than any lease, so that who was deposed can't speak, and short enough that
// a cluster whose lease was made anew is not locked out.
const deposedFor = time.Minute

// ErrDeposed is the answer to a leader that is none any more.
var ErrDeposed = errors.New("a newer leader has spoken")

// Decision is what the leader decided about one pod. A zero Order: nothing in its
// term.
type Decision struct {
	Order workload.Order
	Rate  bitrate.Rate
}

// Ledger holds what the leader said last. Its zero value is ready, and safe for
// concurrent use.
type Ledger struct {
	mu      sync.Mutex
	term    uint64
	heard   time.Time // the last word of term
	pods    map[string]Decision
	changed chan struct{}
}

// Take replaces what was said before by the pods of l. A message out of bounds is
// refused whole.
func (l *Ledger) Take(said *api.Limits, now time.Time) error {
	if n := len(said.GetPods()); n > MaxPods {
		return fmt.Errorf("limits of %d pods: at most %d are on a node", n, MaxPods)
	}
	if said.GetTerm() == 0 {
		return errors.New("limits without a term: it must be 1 or more")
	}
	pods := make(map[string]Decision, len(said.GetPods()))
	for _, p := range said.GetPods() {
		d := Decision{workload.Order{Term: said.GetTerm(), Sequence: p.GetSequence()}, 0}
		switch uid, bps := p.GetUid(), p.GetEgressBps(); {
		case uid == "" || len(uid) > longUID:
			return fmt.Errorf("limit of pod %.64q: a UID has 1 to %d characters", uid, longUID)
		case bps == 0:
			d = Decision{}
		case bps < uint64(bitrate.Min) || bps > uint64(bitrate.Max):
			return fmt.Errorf("limit of pod %s: %d bit/s must be from %d to %d", uid, bps, bitrate.Min, bitrate.Max)
		case p.GetSequence() == 0:
			return fmt.Errorf("limit of pod %s: its number must be 1 or more", uid)
		default:
			d.Rate = bitrate.Rate(bps)
		}
		pods[p.GetUid()] = d
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.admit(said.GetTerm(), now); err != nil {
		return err
	}
	l.pods = pods
	l.notify()
	return nil
}

// Alive says that the leader of term still holds its stream; the error says that
// it leads no more.
func (l *Ledger) Alive(term uint64, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.admit(term, now)
}

func (l *Ledger) admit(term uint64, now time.Time) error {
	if term < l.term && now.Sub(l.heard) < deposedFor {
		return fmt.Errorf("term %d after %d: %w", term, l.term, ErrDeposed)
	}
	l.term, l.heard = term, now
	return nil
}

// Of returns what was decided about a pod. Not listed: nobody decides about it,
// and its annotation counts. Not known: no leader has spoken since this agent
// began.
func (l *Ledger) Of(uid string) (d Decision, listed, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, listed = l.pods[uid]
	return d, listed, l.pods != nil
}

// Strangers counts the pods that were spoken of and are not on this node.
func (l *Ledger) Strangers(present func(uid string) bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for uid := range l.pods {
		if !present(uid) {
			n++
		}
	}
	return n
}

// Changed receives after Take; several may come as one.
func (l *Ledger) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.channel()
}

func (l *Ledger) channel() chan struct{} {
	if l.changed == nil {
		l.changed = make(chan struct{}, 1)
	}
	return l.changed
}

func (l *Ledger) notify() {
	select {
	case l.channel() <- struct{}{}:
	default:
	}
}
