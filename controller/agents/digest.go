package agents

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// speech is what one stream has said so far that later reports refer to. It is for
// the goroutine that receives.
type speech struct {
	from  inventory.Agent
	named wire.Named
	clock clock
}

// digest is a report taken apart and put in order: all that can be done with it
// without the pool's lock, which the other streams and the loop wait for.
type digest struct {
	sessions []measured
	pods     []sent
	places   map[podName]int // in pods
}

// measured is what a report says of one session.
type measured struct {
	id     string // or
	number uint32
	batch  []plan.Sample // in order
	why    string        // it can't be measured
}

// podName is what a report calls a pod.
type podName struct {
	plan.PodID
	uid types.UID // "" of an agent that does not say
}

// sent is what a report says of one pod.
type sent struct {
	podName
	batch []plan.TxRate // in order
	held  Held
}

// digests are used again, by all streams.
var digests = sync.Pool{New: func() any { return &digest{places: map[podName]int{}} }}

// mostKept is the size of a digest that is used again, sessions and pods: a larger one
// would stay as large as the largest report.
const mostKept = 1024

func (d *digest) release() {
	if cap(d.sessions) > mostKept || cap(d.pods) > mostKept {
		return
	}
	for i := range d.sessions {
		d.sessions[i] = measured{batch: emptied(d.sessions[i].batch)}
	}
	for i := range d.pods {
		d.pods[i] = sent{batch: emptied(d.pods[i].batch)}
	}
	d.sessions, d.pods = d.sessions[:0], d.pods[:0]
	clear(d.places)
	digests.Put(d)
}

func emptied[T any](batch []T) []T {
	if cap(batch) > mostKept {
		return nil
	}
	return batch[:0]
}

// extend makes s one longer, with what was there before.
func extend[T any](s []T) []T {
	if len(s) < cap(s) {
		return s[:len(s)+1]
	}
	var zero T
	return append(s, zero)
}

// digest takes apart a report that is dated now. What no agent writes is an error.
// What it costs is in proportion to the report's size.
func (s *speech) digest(r *api.Report, now time.Time) (*digest, error) {
	d := digests.Get().(*digest)
	err := d.measured(r, now)
	if err == nil {
		err = d.used(&s.named, r, now)
	}
	if err != nil {
		d.release()
		return nil, err
	}
	return d, nil
}

func (d *digest) measured(r *api.Report, now time.Time) (err error) {
	for _, sr := range r.GetSessions() {
		m := d.session(sr.GetId(), 0, sr.GetError())
		if m.batch, err = samples(m.batch, sr, now); err != nil {
			return err
		}
		order(m.batch, sampledAt)
	}
	for _, sr := range r.GetPacked() {
		m := d.session("", sr.GetNumber(), sr.GetError())
		if m.batch, err = unpacked(m.batch, sr, now); err != nil {
			return err
		}
		order(m.batch, sampledAt)
	}
	return nil
}

func (d *digest) session(id string, number uint32, why string) *measured {
	d.sessions = extend(d.sessions)
	m := &d.sessions[len(d.sessions)-1]
	m.id, m.number, m.why = id, number, strings.ToValidUTF8(why[:min(len(why), longestWhy)], "")
	return m
}

func (d *digest) used(named *wire.Named, r *api.Report, now time.Time) error {
	for _, pr := range r.GetPods() {
		of := podName{plan.PodID{Namespace: pr.GetNamespace(), Name: pr.GetName()}, types.UID(pr.GetUid())}
		if err := d.tell(of, windowOf(pr, now), heldOf(pr, now)); err != nil {
			return err
		}
	}
	var refused error
	err := named.Rates(r, now, func(u wire.Rate) {
		if refused == nil {
			of := podName{plan.PodID{Namespace: u.Namespace, Name: u.Name}, types.UID(u.UID)}
			held := Held{rateOf(u.Limit), workload.Order{Term: u.Term, Sequence: u.Sequence}, now}
			refused = d.tell(of, plan.TxRate{At: plan.At(u.At), Tx: rateOf(u.Tx), Out: rateOf(u.Out)}, held)
		}
	})
	if err == nil {
		err = refused
	}
	for i := range d.pods {
		order(d.pods[i].batch, ratedAt)
	}
	return err
}

// tell notes one window of a pod's usage, and the newest that is said to be in force.
func (d *digest) tell(of podName, rate plan.TxRate, held Held) error {
	i, known := d.places[of]
	if !known {
		i = len(d.pods)
		d.places[of], d.pods = i, extend(d.pods)
		d.pods[i].podName = of
	}
	p := &d.pods[i]
	if len(p.batch) == wire.MaxWindows {
		return fmt.Errorf("usage of pod %s, UID %.64s, in more than %d windows in a report", of.PodID, of.uid, wire.MaxWindows)
	}
	p.batch, p.held = append(p.batch, rate), held
	return nil
}

// rateOf is a rate that an agent told, in bit/s.
func rateOf(bps uint64) bitrate.Rate { return bitrate.Rate(min(bps, uint64(bitrate.Max))) }

func sampledAt(s plan.Sample) plan.Instant { return s.At }
func ratedAt(r plan.TxRate) plan.Instant   { return r.At }

// order puts a batch in the order of time: samples of lost packets come after younger
// ones.
func order[T any](batch []T, at func(T) plan.Instant) {
	byTime := func(a, b T) int { return at(a).Compare(at(b)) }
	if !slices.IsSortedFunc(batch, byTime) {
		slices.SortStableFunc(batch, byTime)
	}
}
