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
	// awaits reports whether answers must be read as they come, because the time
	// of reading is the measurement. The kernel's timestamps make it immaterial.
	awaits() bool
	close()
}

// kind is what sessions must have in common to share a prober.
type kind struct {
	protocol workload.Protocol
	ipv6     bool
}

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// Sender runs sessions. Make it with NewSender; Run serves it.
type Sender struct {
	base       time.Time
	resolver   Resolver
	keys       *Keyring
	user       bool // timestamps by this process
	extensions Extensions
	turns      *alive.Part
	waiting    sync.WaitGroup // lookups and sockets that are awaited

	mu       sync.Mutex
	ctx      context.Context // of Run
	alarm    *alarm          // of Run; nil outside
	sessions []*session
	rejected []Result // sessions of the assignment that cannot run
	numbers  map[uint16]*session
	number   uint16 // last one given out
	probers  map[kind]prober
	drops    Drops
	collects int64 // monotonic time of the next collect
	unread   int   // packets sent since the last collect
	scratch  []completed
}

// Options are what the sessions of a Sender share. The zero value is usable.
type Options struct {
	Resolver Resolver // nil: the system's
	Keys     *Keyring // of STAMP's authenticated mode; nil: unauthenticated
	// UserTimestamps leaves the kernel's timestamps unused, to show what they
	// are worth.
	UserTimestamps bool
	Extensions     Extensions // of STAMP
	// Turns is told of each turn of the loop, to notice one that hangs.
	Turns *alive.Part
}

// NewSender returns a Sender without sessions.
func NewSender(o Options) *Sender {
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	return &Sender{
		base:       time.Now(),
		resolver:   o.Resolver,
		keys:       o.Keys,
		user:       o.UserTimestamps,
		extensions: o.Extensions,
		turns:      o.Turns,
		numbers:    map[uint16]*session{},
		probers:    map[kind]prober{},
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
	next := make([]*session, 0, len(specs))
	seen := make(map[string]bool, len(specs))
	for _, spec := range specs {
		spec = spec.withDefaults()
		if err := spec.Validate(); err != nil {
			reject(spec, err)
			continue
		}
		if seen[spec.ID] {
			errs = append(errs, fmt.Errorf("session %s: assigned twice", spec.ID))
			continue
		}
		seen[spec.ID] = true
		if old := running[spec.ID]; old != nil && old.Session == spec {
			delete(running, spec.ID)
			next = append(next, old)
			continue
		}
		if len(s.numbers) == maxSessions {
			reject(spec, fmt.Errorf("session %s: more than %d sessions", spec.ID, maxSessions))
			continue
		}
		next = append(next, s.begin(spec, now))
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

// maxSessions leaves room for numbers to rest before they are used again.
const maxSessions = 16384

func (s *Sender) begin(spec Session, now int64) *session {
	for {
		s.number++
		if s.number != 0 && s.numbers[s.number] == nil {
			break
		}
	}
	started := newSession(spec, s.number, now)
	s.numbers[s.number] = started
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
		results = append(results, Result{
			Session:    each.Session,
			Err:        each.err,
			Failures:   each.failures,
			Samples:    samples[from:len(samples):len(samples)],
			Timestamps: each.source,
			Totals:     each.totals,
			Heard:      each.told,
		})
	}
	return append(results, s.rejected...)
}

// Drops returns how many received packets were dropped, by reason.
func (s *Sender) Drops() Drops {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops
}

// How often the loop works. Packets due within one tick leave together, about
// together of them, so that waking up is not what costs most; more would queue
// behind each other. Ticks are of random length like the gaps. Answers are read
// when collectEvery has passed or maxUnread packets were sent, before the
// socket's buffer could fill.
const (
	together     = 8
	minTick      = time.Millisecond
	maxTick      = 8 * time.Millisecond
	collectEvery = 20 * time.Millisecond
	maxUnread    = 48
	maxWait      = 20 * time.Millisecond
	idle         = time.Second
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
	s.turns.Begin()
	defer s.turns.End()
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
	s.alarm = nil
}

// step does what is due and returns when to come again.
func (s *Sender) step(now int64) int64 {
	next := now + int64(maxWait)
	if len(s.sessions) == 0 {
		next = now + int64(idle)
	}
	waiting := false
	for _, each := range s.sessions {
		if each.Count > 0 && each.totals.Sent >= each.Count {
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
	for _, p := range s.probers {
		p.flush()
	}
	if now >= s.collects || s.unread >= maxUnread {
		s.collect(now)
	}
	if waiting {
		next = min(next, s.collects)
	}
	return max(next, now+s.tick())
}

// tick draws the least time until the next step.
func (s *Sender) tick() int64 {
	perSecond := 0.0
	for _, each := range s.sessions {
		perSecond += float64(time.Second) / float64(each.Interval)
	}
	mean := int64(min(max(together/perSecond*float64(time.Second), float64(minTick)), float64(maxTick)))
	return mean/2 + rand.Int64N(mean+1)
}

func (s *Sender) collect(now int64) {
	s.collects, s.unread = now+int64(collectEvery), 0
	answers := 0
	for _, p := range s.probers {
		answers += p.collect(now)
	}
	offset := time.Now().UnixNano() - s.now()
	for _, each := range s.sessions {
		if answers > 0 {
			each.complete(now, offset)
		}
		each.expire(now)
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
	k := kind{each.Protocol, each.addr.Addr().Is6()}
	p := s.probers[k]
	if p == nil {
		var err error
		if p, err = s.open(k); err != nil {
			each.fail(fmt.Errorf("open the %s prober: %w", k.protocol, err), now, now)
			return false
		}
		s.probers[k] = p
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
