package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/workload"
)

// prober sends and collects the packets of every session of one protocol and
// address family. The Sender's loop alone calls it, with the Sender's lock held.
type prober interface {
	// queue prepares the session's next packet; it may send it.
	queue(s *session, now int64)
	// flush sends what was queued.
	flush()
	// collect hands what the kernel has gathered to the sessions' slots and
	// reports how many answers there were. It does not wait.
	collect(now int64) int
	// forget releases what the prober holds for a session that ends.
	forget(s *session)
	// full reports whether collect must come before more is sent.
	full() bool
	// awaits reports whether answers must be read as they come, because the time
	// of reading is the measurement. The kernel's timestamps make it immaterial.
	awaits() bool
	close()
}

// kind is what sessions must have in common to share a prober.
type kind struct {
	protocol workload.Protocol
	ipv6     bool
	signed   bool // with what was handed over
	path     path
}

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Sender runs sessions. Make it with NewSender; Run serves it.
type Sender struct {
	base    time.Time
	opts    Options
	user    bool           // timestamps by this process
	waiting sync.WaitGroup // lookups and sockets that are awaited
	urgent  chan struct{}

	mu       sync.Mutex
	ctx      context.Context // of Run
	alarm    *alarm          // of Run; nil outside
	stamping *stamping       // of Run; nil outside, and where timestamps are this process's
	sessions []*session
	rejected []Result // sessions of the assignment that cannot run
	numbers  map[uint16]*session
	finished bool // nothing more is to be sent
	probers  map[kind]prober
	drops    Drops
	collects int64 // monotonic time of the next collect
	unread   int   // packets sent since the last collect
	hurrying bool  // a session is
	closer   int64 // monotonic time until which answers are read sooner
	scratch  []completed
}

// Options are what the sessions of a Sender share. The zero value is usable.
type Options struct {
	Resolver Resolver // nil: the system's
	Keys     *Keyring // of STAMP's authenticated mode; nil: unauthenticated
	// Handed are the secrets of the sessions that are Authenticated, where Keys is
	// nil: the newest signs.
	Handed *Secrets
	// UserTimestamps leaves the kernel's timestamps unused, to show what they
	// are worth.
	UserTimestamps bool
	Extensions     Extensions // of STAMP
	PTP            bool       // STAMP's timestamps are sent in the PTPv2 format, not in NTP's
	// FirstNumber is the sequence number of each session's first packet; nil means
	// one drawn at random, which nobody off the path knows.
	FirstNumber *uint32
	HopLimits   bool // Result is to have the TTLs
	FIN         bool // TCP's connections end with a FIN, not with a reset
	// Turns is told of each turn of the loop, to notice one that hangs.
	Turns *alive.Part
}

// NewSender returns a Sender without sessions.
func NewSender(o Options) *Sender {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &Sender{
		base:    time.Now(),
		opts:    o,
		user:    o.UserTimestamps,
		numbers: map[uint16]*session{},
		probers: map[kind]prober{},
		urgent:  make(chan struct{}, 1),
	}
}

func (s *Sender) now() int64 { return int64(time.Since(s.base)) }

// Assign replaces the set of sessions. One that is already running with the
// same parameters goes on undisturbed. A session that cannot run says why in the
// returned error and in its Result; the others run.
func (s *Sender) Assign(specs []Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	running := make(map[string]*session, len(s.sessions))
	for _, old := range s.sessions {
		running[old.ID] = old
	}
	var errs []error
	s.rejected = nil
	reject := func(spec Session, err error) {
		errs = append(errs, err)
		s.rejected = append(s.rejected, Result{Session: spec, Err: err})
	}
	now := s.now()
	s.finished = false
	next := make([]*session, 0, len(specs))
	seen := make(map[string]*session, len(specs)) // nil: rejected
	for _, spec := range specs {
		spec = spec.withDefaults()
		if err := spec.Validate(); err != nil {
			reject(spec, err)
			continue
		}
		if _, twice := seen[spec.ID]; twice {
			errs = append(errs, fmt.Errorf("session %s: assigned twice", spec.ID))
			continue
		}
		seen[spec.ID] = nil
		if old := running[spec.ID]; old != nil && old.same(spec) {
			old.Late, old.NodeSession = spec.Late, spec.NodeSession
			delete(running, spec.ID)
			next, seen[spec.ID] = append(next, old), old
			continue
		}
		if len(s.numbers) == maxSessions {
			reject(spec, fmt.Errorf("session %s: more than %d sessions", spec.ID, maxSessions))
			continue
		}
		begun := s.begin(spec, now)
		next, seen[spec.ID] = append(next, begun), begun
	}
	for _, each := range next {
		each.beside = seen[each.NodeSession]
	}
	for _, gone := range running {
		s.end(gone)
	}
	s.sessions = next
	if s.alarm != nil {
		s.alarm.ring()
	}
	return errors.Join(errs...)
}

// same reports whether spec asks for the packets that are sent already.
func (s Session) same(spec Session) bool {
	s.Late, s.NodeSession, spec.Late, spec.NodeSession = Late{}, "", Late{}, ""
	return s == spec
}

// maxSessions leaves room for numbers to rest before they are used again.
const maxSessions = 16384

func (s *Sender) begin(spec Session, now int64) *session {
	number := spec.SSID
	for number == 0 || s.numbers[number] != nil {
		if number++; spec.SSID == 0 {
			number = uint16(rand.Uint32())
		}
	}
	first := rand.Uint32()
	if s.opts.FirstNumber != nil {
		first = *s.opts.FirstNumber
	}
	started := newSession(spec, number, first, now)
	s.numbers[number] = started
	return started
}

func (s *Sender) end(old *session) {
	if old.prober != nil {
		old.prober.forget(old)
	}
	delete(s.numbers, old.number)
}

// Collect visits every session with what it gained since the last Collect, in
// the order of their assignment. The visitor may call the Sender.
func (s *Sender) Collect(visit func(Result)) {
	for _, r := range s.gather() {
		visit(r)
	}
}

func (s *Sender) gather() []Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	results := make([]Result, 0, len(s.sessions)+len(s.rejected))
	gained := 0
	for _, each := range s.sessions {
		gained += each.count
	}
	samples := make([]Sample, 0, gained)
	for _, each := range s.sessions {
		from := len(samples)
		samples, s.scratch = each.drain(now, samples, s.scratch)
		results = append(results, each.result(samples[from:len(samples):len(samples)], now))
	}
	return append(results, s.rejected...)
}

// Finish sends nothing more. Collect goes on to give what comes back, until the
// last Result has no packet Open; Assign begins anew.
func (s *Sender) Finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finished = true
}

// Drops returns how many received packets were dropped, by reason.
func (s *Sender) Drops() Drops {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops
}

// How often the loop works. Of many sessions, packets due within one tick leave
// together, about together of them, so that waking up is not what costs most;
// more would queue behind each other. Ticks are of random length like the gaps,
// and short beside the gaps of the fastest session. Answers are read when
// collectEvery has passed or maxUnread packets were sent, before the socket's
// buffer could fill.
const (
	together        = 8
	minTick         = time.Millisecond
	maxTick         = 8 * time.Millisecond
	tickOfGap       = 0.4
	collectEvery    = 8 * time.Millisecond
	maxUnread       = 48
	maxUnreadOctets = 64 << 10
	maxWait         = 20 * time.Millisecond
	idle            = time.Second
)

// Run sends and collects until ctx ends, and then closes every socket.
func (s *Sender) Run(ctx context.Context) error {
	alarm, err := newAlarm()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, alarm.ring)
	s.mu.Lock()
	s.ctx, s.alarm = ctx, alarm
	if !s.user {
		s.stamping = newStamping(s.now())
	}
	s.mu.Unlock()
	defer func() {
		cancel()
		stop()
		s.closeProbers()
		s.waiting.Wait()
		alarm.close()
	}()
	readable := false
	for ctx.Err() == nil {
		readable = alarm.wait(s.turn(readable))
	}
	return nil
}

// turn does what is due, and says how long to wait then.
func (s *Sender) turn(readable bool) time.Duration {
	s.opts.Turns.Begin()
	defer s.opts.Turns.End()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if readable {
		s.collects = now
	}
	return time.Duration(s.step(now) - now)
}

// closeProbers ends what Run began; another Run may follow.
func (s *Sender) closeProbers() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, p := range s.probers {
		p.close()
		delete(s.probers, k)
	}
	for _, each := range s.sessions {
		each.prober = nil
	}
	s.stamping.close()
	s.alarm, s.stamping = nil, nil
}

// step does what is due and returns when to come again.
func (s *Sender) step(now int64) int64 {
	next := now + int64(maxWait)
	if len(s.sessions) == 0 {
		next = now + int64(idle)
	}
	waiting := false
	for _, each := range s.sessions {
		if s.finished || each.Count > 0 && each.totals.Sent >= each.Count {
			each.due = now + int64(idle)
		}
		if each.due <= now {
			each.due = each.after(now)
			if s.ready(each, now) {
				each.prober.queue(each, now)
				s.unread++
			}
		}
		next = min(next, each.due)
		waiting = waiting || each.waiting()
	}
	full := s.unread >= maxUnread
	for _, p := range s.probers {
		p.flush()
		full = full || p.full()
	}
	if full || now >= s.collects {
		s.collect(now)
	}
	if waiting {
		next = min(next, s.collects)
	}
	if now < s.closer {
		for _, each := range s.sessions {
			next = min(next, each.due)
		}
	}
	return max(next, now+s.tick(now))
}

// tick draws the least time until the next step. One session alone is served
// when it is due.
func (s *Sender) tick(now int64) int64 {
	if len(s.sessions) == 1 {
		return 0
	}
	perSecond, shortest := 0.0, float64(time.Hour)
	for _, each := range s.sessions {
		gap := float64(each.Interval)
		if now < s.closer {
			gap = float64(each.hasty())
		}
		perSecond += float64(time.Second) / gap
		shortest = min(shortest, gap)
	}
	mean := int64(min(max(together/perSecond*float64(time.Second), float64(minTick)), float64(maxTick), tickOfGap*shortest))
	return mean/2 + rand.Int64N(mean+1)
}

func (s *Sender) collect(now int64) {
	s.collects, s.unread = now+int64(collectEvery), 0
	answers := 0
	for _, p := range s.probers {
		answers += p.collect(now)
	}
	offset := time.Now().UnixNano() - s.now()
	var late []*session
	for _, each := range s.sessions {
		if answers > 0 && each.complete(now, offset) {
			late = append(late, each)
		}
		each.expire(now)
	}
	if s.hurrying || now < s.closer || len(late) > 0 {
		s.hurried(late, now)
	}
}

// ready makes sure that the session has an address and a prober; what is
// missing is asked for, and the session comes again after its back-off.
func (s *Sender) ready(each *session, now int64) bool {
	if each.prober != nil {
		return true
	}
	if !each.addr.IsValid() {
		s.resolve(each)
		return false
	}
	k := kind{each.Protocol, each.addr.Addr().Is6(), each.Authenticated, each.path()}
	p := s.probers[k]
	if p == nil {
		var err error
		if p, err = s.open(k); err != nil {
			each.fail(&OpenError{k.protocol, err}, now, now, lastBackoff)
			return false
		}
		s.probers[k] = p
	}
	if !s.stamping.ready(now) {
		each.due = now + int64(time.Millisecond)
		return false
	}
	each.target = targetOf(each.addr, each.DSCP)
	each.prober = p
	return true
}

func (s *Sender) open(k kind) (prober, error) {
	switch k.protocol {
	case workload.UDP, workload.ICMP:
		return s.newEcho(k)
	case workload.STAMP:
		return s.newSTAMP(k)
	case workload.TCP:
		return newHandshake(s, k.ipv6)
	}
	return nil, fmt.Errorf("protocol %q cannot be probed by this agent", k.protocol)
}
