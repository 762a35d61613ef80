// Package usage measures what each pod of the node sends and receives, from the
// counters of its host-side interface, or of its own end where that alone has them. Headers that segmentation offload adds
// on the wire are not in these counters: a pod that sends large segments is
// read up to 4 % low.
package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/workload"
)

// Window is the length of one measurement: half of it where what is sent changes, so that
// it is soon known, a quarter where it does after a second without a change, and up to three
// times as much where the host stands still.
const Window = 100 * time.Millisecond

// Rate is what one pod sent and received over one window.
type Rate struct {
	Namespace, Name, UID string
	At                   time.Time // end of the window
	Length               time.Duration
	Tx, Rx               bitrate.Rate // from the pod, to the pod
	Out                  bitrate.Rate // from the node, by its uplinks; 0: not known
	Enforced             Enforced
}

// Enforced is what limits a pod on this node, zero where nothing does.
type Enforced struct {
	Egress, Ingress bitrate.Rate
	// Behind is the interface that the pod's traffic leaves through once it has
	// passed the egress limiter: its sent octets are what the pod may be charged
	// with. 0 where there is no limiter.
	Behind int
	// Newest is the decision that Egress came from, or came after; zero for none.
	Newest workload.Order
}

// Limiter tells what is enforced on a pod.
type Limiter interface {
	Enforced(uid string) Enforced
}

// Lister lists the pods of the node.
type Lister interface {
	List() []pods.Pod
}

// Meter measures every Window, or sooner. Make it with New, serve it with Run.
type Meter struct {
	// Turns is told of each measurement, to notice one that hangs. Set before
	// Run; nil: nobody is.
	Turns *alive.Part
	// Uplinks are the interfaces that the node's packets leave by. Set before Run; nil:
	// nobody knows.
	Uplinks *uplink.Watch

	pods    Lister
	limiter Limiter // may be nil
	log     *slog.Logger
	find    *finder
	stats   reader

	known  map[string]*known // by UID
	now    map[int]counters
	before map[int]counters // those of last
	at     time.Time        // end of the newest window
	last   reading          // the newest of all
	turn   time.Time        // when what is sent last changed
	onset  time.Time        // and when it last did after a second without a change: the quarter after it is a window, too
	out    []sent           // by the uplinks, until the newest window's end
	denied bool             // it was said that pods' own ends may not be read

	mu   sync.Mutex
	next chan struct{} // closed as the next window is there; nil: nobody waits
	seq  uint64
	kept [keep][]Rate // ring of the newest windows, by sequence number
}

// reader reads the counters of all interfaces of the host, and of a pod's own end. statsSocket is one.
type reader interface {
	read(into map[int]counters) error
	inner(of inner) (counters, error)
	close()
}

// keep is how many windows a slow reader may fall behind: as many halves as there are
// in the second between two reports while all is calm, the quarters after an onset, and some more.
const keep = 24

// known is what the meter remembers of a pod.
type known struct {
	addresses []netip.Addr // by which it was looked for
	index     int          // host-side interface
	inner     *inner       // the pod's own end, where that counts; nil: the host's does
	since     time.Time    // when that was first read, of those readings that followed each other
	failures  int          // of reading it since then
	last      counters
	at        time.Time
	behind    int
	search    search // for the interface
}

// New returns a Meter of the network namespace that the calling thread is in.
func New(list Lister, endpoints Endpoints, limiter Limiter, log *slog.Logger) (*Meter, error) {
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open a netlink handle: %w", err)
	}
	stats, err := openStats()
	if err != nil {
		handle.Close()
		return nil, err
	}
	return &Meter{
		pods: list, limiter: limiter, log: log, stats: stats,
		find:  newFinder(handle, endpoints, log),
		known: map[string]*known{}, now: map[int]counters{}, before: map[int]counters{},
	}, nil
}

// Run measures until ctx ends.
func (m *Meter) Run(ctx context.Context) error {
	defer m.close()
	ticker := time.NewTicker(Window / 4)
	defer ticker.Stop()
	failing := false
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		if n%2 != 0 && !m.fine(now) || now.Sub(m.last.at) < Window/8 { // the turn before was late
			continue
		}
		m.Turns.Begin()
		err := m.measure(ctx)
		m.Turns.End()
		if err != nil && !failing {
			m.log.Warn("cannot read interface counters; rates are missing until it works again", "err", err)
		}
		failing = err != nil
	}
}

// Since returns the rates of the windows after cursor, and the cursor for the
// next call. Zero asks for the newest window only.
func (m *Meter) Since(cursor uint64) ([]Rate, uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cursor == 0 && m.seq > 0 || cursor > m.seq {
		cursor = m.seq - 1
	}
	if m.seq > keep && cursor < m.seq-keep {
		cursor = m.seq - keep
	}
	var rates []Rate
	for i := cursor; i < m.seq; i++ {
		rates = append(rates, m.kept[i%keep]...)
	}
	return rates, m.seq
}

func (m *Meter) close() {
	m.find.close()
	m.stats.close()
}

// Next is closed when the next window has been measured.
func (m *Meter) Next() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next == nil {
		m.next = make(chan struct{})
	}
	return m.next
}

func (m *Meter) measure(ctx context.Context) error {
	at, exact, err := m.read()
	if err != nil || !exact && at.Sub(m.at) < longest {
		return err
	}
	last, before := m.reading(at), m.last
	turned := last.turned(before)
	if turned {
		if at.Sub(m.turn) >= steady {
			m.onset = at
		}
		m.turn = at
	}
	if turned && before.at.After(m.at) { // what was sent until it changed is a window of its own
		m.now, m.before = m.before, m.now
		m.window(ctx, before.at)
		m.now, m.before = m.before, m.now
	}
	if turned || m.fine(at) && at.Sub(m.onset) < Window*3/8 || at.Sub(m.at) >= Window*7/8 {
		m.window(ctx, at)
		m.wake()
	}
	m.last, m.now, m.before = last, m.before, m.now // the next reading takes the place of the one before
	return nil
}

// window ends one with the counters of now.
func (m *Meter) window(ctx context.Context, at time.Time) {
	out := m.left(at.Sub(m.at))
	m.at = at
	rates := m.rates(ctx, at)
	for i := range rates {
		rates[i].Out = out
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[m.seq%keep] = rates
	m.seq++
}

// wake tells who waits for the next window.
func (m *Meter) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next != nil {
		close(m.next)
		m.next = nil
	}
}

// reading is what all pods have sent by a time, and how fast since the one before.
type reading struct {
	at   time.Time
	sent uint64 // octets
	rate bitrate.Rate
}

func (m *Meter) reading(at time.Time) reading {
	r := reading{at: at}
	for _, k := range m.known {
		r.sent += m.now[k.index].rx
	}
	if r.sent >= m.last.sent {
		r.rate = perSecond(r.sent-m.last.sent, at.Sub(m.last.at))
	}
	return r
}

// sent is what an interface had sent by a time.
type sent struct {
	index  int
	octets uint64
}

// left is what the uplinks sent over a window that ends now; 0 where one is another, or
// has begun anew.
func (m *Meter) left(window time.Duration) bitrate.Rate {
	var now []sent
	octets, known := uint64(0), true
	for _, u := range m.Uplinks.Current() {
		is, there := m.now[u.Index]
		i := slices.IndexFunc(m.out, func(s sent) bool { return s.index == u.Index })
		if !there || i < 0 || is.tx < m.out[i].octets {
			known = false
		} else {
			octets += is.tx - m.out[i].octets
		}
		if there { // else it begins anew: nobody knows from what
			now = append(now, sent{u.Index, is.tx})
		}
	}
	if m.out = now; !known {
		return 0
	}
	return perSecond(octets, window)
}

// turned reports whether so much more or less is sent than before that it is to be known
// at once: a window of which less than three fifths are of what is sent now says too little.
func (r reading) turned(before reading) bool {
	less, more := min(r.rate, before.rate), max(r.rate, before.rate)
	return more > leastTurn && less < more*3/5
}

// fine reports whether the counters are to be read each quarter of a window, and not each half: a
// change after some time without one is an onset, and what is sent after it is to be known at
// once; of who changes again and again a quarter would be a peak that says little. So it would
// where others limit: what is sent is counted before it waits there.
func (m *Meter) fine(now time.Time) bool {
	return m.limiter != nil && (now.Sub(m.turn) >= steady || now.Sub(m.onset) < Window)
}

// steady is without a change for so long that the next one is an onset.
const steady = time.Second

// leastTurn is less than what anybody would be limited for.
const leastTurn = 10 * bitrate.Mbit

// read reads the counters, and says when that was, to within slack unless the process
// was held each time that it tried.
func (m *Meter) read() (at time.Time, exact bool, err error) {
	for range tries {
		before := time.Now()
		if err := m.stats.read(m.now); err != nil {
			return at, false, err
		}
		took := time.Since(before)
		if at, exact = before.Add(took/2), took <= slack; exact {
			break
		}
	}
	return at, m.readInner(at) && exact, nil
}

// readInner has pods' own ends count in place of the host's, in a reading of a time, and reports whether
// that was soon done.
func (m *Meter) readInner(at time.Time) (exact bool) {
	began := time.Now()
	for _, k := range m.known {
		if _, there := m.now[k.index]; !there || k.inner == nil || m.denied {
			continue
		}
		pod, err := m.stats.inner(*k.inner)
		if err != nil {
			m.failed(k, err)
			continue
		}
		m.now[k.index] = counters{rx: pod.tx, tx: pod.rx}
		if k.failures = 0; k.since.IsZero() {
			k.since = at
		}
	}
	return time.Since(began) <= slack
}

// failed notes that a pod's own end could not be read, and looks for it anew now and then.
func (m *Meter) failed(k *known, err error) {
	k.since = time.Time{}
	if m.denied = errors.Is(err, errDenied); m.denied {
		m.log.Warn("what pods send over netkit is counted in the pods alone: their rates are missing; install with agent.netkit=true", "err", err)
		return
	}
	k.failures++
	if k.failures == reportAfter {
		m.log.Warn("cannot read what a pod sends; its rate is unknown", "addresses", k.addresses, "err", err)
	}
	if k.failures%reportAfter != 0 {
		return
	}
	if of, known := m.find.inner(k.index); known {
		k.inner = of
	}
}

// Octets that are counted at another time than is thought make one window's rate too low
// and the next one's too high. Where the host stands still a window is longer instead,
// up to longest.
const (
	slack   = Window / 20
	tries   = 3
	longest = 3 * Window
)

// rates computes the rates of the window that ends now, and forgets the pods
// that have gone.
func (m *Meter) rates(ctx context.Context, now time.Time) []Rate {
	list := m.pods.List()
	rates := make([]Rate, 0, len(list))
	present := make(map[string]bool, len(list))
	for _, p := range list {
		present[p.UID] = true
		if rate, ok := m.rate(ctx, p, now); ok {
			rates = append(rates, rate)
		}
	}
	for uid := range m.known {
		if !present[uid] {
			delete(m.known, uid)
		}
	}
	return rates
}

// rate computes a pod's rate; false in the window in which its interface was
// found, or changed.
func (m *Meter) rate(ctx context.Context, p pods.Pod, now time.Time) (Rate, bool) {
	k := m.known[p.UID]
	if k == nil || !slices.Equal(k.addresses, p.IPs) { // at the former address may be another by now
		k = &known{addresses: p.IPs}
		m.known[p.UID] = k
	}
	host, there := m.now[k.index]
	if !there {
		index, ok := m.find.interfaceOf(ctx, p, &k.search, now)
		if !ok {
			return Rate{}, false
		}
		of, ok := m.find.inner(index)
		if !ok {
			return Rate{}, false
		}
		k.index, k.inner, k.since, k.at = index, of, time.Time{}, time.Time{}
		if host, there = m.now[index]; !there {
			return Rate{}, false // made since the dump
		}
	}
	if k.inner != nil && (k.since.IsZero() || now.Before(k.since)) {
		k.at = time.Time{}
		return Rate{}, false
	}
	var limits Enforced
	if m.limiter != nil {
		limits = m.limiter.Enforced(p.UID)
	}
	// Seen from the host, what the pod sends is received.
	current := counters{rx: host.tx, tx: host.rx}
	if behind, ok := m.now[limits.Behind]; ok {
		current.tx = behind.tx
	} else {
		limits.Behind = 0
	}
	last, at, comparable := k.last, k.at, !k.at.IsZero() && k.behind == limits.Behind
	k.last, k.at, k.behind = current, now, limits.Behind
	if !comparable || current.tx < last.tx || current.rx < last.rx {
		return Rate{}, false
	}
	length := now.Sub(at)
	return Rate{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID,
		At: now, Length: length,
		Tx:       perSecond(current.tx-last.tx, length),
		Rx:       perSecond(current.rx-last.rx, length),
		Enforced: limits,
	}, true
}

func perSecond(octets uint64, d time.Duration) bitrate.Rate {
	if d <= 0 {
		return 0
	}
	return bitrate.Rate(float64(octets) * 8 / d.Seconds())
}
