// Package flight is the controller's flight recorder: what a law was shown, and
// what it decided. While there is room for all of it, that is all of the last two
// minutes; of many nodes it is what is behind the uplinks in trouble. Trouble is kept until
// the room is needed. A law is pure, so a recording can be replayed: by the same law with
// the same result, by another to see what that would have decided.
package flight

import (
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/workload"
)

// Defaults of a Recorder's bounds.
const (
	DefaultOctets = 16 << 20
	DefaultSpan   = 2 * time.Minute
)

// memory is how long trouble is kept at the most.
const memory = time.Hour

// clockSet is how far the wall clock may go from the recorder's before it counts
// as set anew, and the recording begins anew.
const clockSet = time.Second

// parts is the number of segments that a full recording has at least.
const parts = 4

// Recorder keeps the newest steps of a law in memory. A step costs what is new
// in it: it is packed beside the one before. So that the oldest can be let go,
// a recording is cut into segments, each of which begins with the law's state
// and all that it can see, and goes as a whole. The zero value is ready; its
// methods may be called from any goroutine.
type Recorder struct {
	// Octets bounds what is kept, and Span how long while all is well; 0: the default.
	// Set before the first step.
	Octets int
	Span   time.Duration

	reading sync.Mutex // held by the one who downloads
	mu      sync.Mutex
	header  *Header
	epoch   time.Time // the time that the others count from
	tracks  map[workload.ControlMode]*track
	kept    []*segment
	number  int // of segments so far
	octets  int
	missed  int
	resume  time.Duration // nothing is recorded before, because it was too much
	scratch []byte
}

// Header says what decided.
type Header struct {
	Format  int    `json:"format"`
	Version string `json:"version"` // of the controller
	Law     string `json:"law"`
	// Config are the constants of all laws, with the names of the Go type:
	// durations in ns, rates in bit/s.
	Config law.Config `json:"config"`
	// Missed is the number of steps that were too large to be recorded.
	Missed int `json:"missed,omitempty"`
}

// format is the version of the file format. The one before had no pauses, and the one
// before that no parts.
const (
	format = 5
	oldest = 3
)

// segment is a part of the recording that can be replayed alone.
type segment struct {
	header  *Header
	number  int
	began   time.Duration
	trouble bool // in it, or just before
	octets  int
	starts  int // of them, for what the segment begins with
	steps   []step
}

// step is one recorded step of one run.
type step struct {
	mode      workload.ControlMode
	at        time.Duration
	start     *law.State // where the run begins in its segment, or with others
	continues bool       // and that is where the step before it ended
	seen      bool       // what was seen before is still known
	part      []string   // the nodes whose uplinks are recorded from there on; nil: all
	rest      *rest      // nil: as in the step before, or there is none
	cast      *cast      // nil: as in the step before
	news      []byte     // packed
	plan      outcome
}

// track is what one run's next step is compared with.
type track struct {
	focus   focus
	segment *segment // nil: nothing was recorded
	at      time.Time
	history history
	rest    rest
	reasons map[plan.Bottleneck]*plan.Reason // the newest, without figures
}

// rest is what counts of the uplinks that are not recorded.
type rest struct {
	plan.Elsewhere
	// Partly are the nodes about whose uplinks a replay may decide otherwise, as not all is
	// recorded that counts there.
	Partly []string `json:"partly,omitempty"`
}

func (r rest) equal(q rest) bool {
	return slices.Equal(r.Partly, q.Partly) && slices.Equal(r.Sending, q.Sending) && slices.Equal(r.Delays, q.Delays) && r.Turns == q.Turns
}

// Begin says what decides from now on.
func (r *Recorder) Begin(version, name string, config law.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = &Header{Format: format, Version: version, Law: name, Config: config}
}

// Record keeps one step: law.Step(before, o) was p, and led to next. Runs in different
// modes are told apart. The samples and rates in o must not change until the next call.
func (r *Recorder) Record(mode workload.ControlMode, before, next law.State, o plan.Observation, p plan.Plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.header == nil {
		r.header = &Header{Format: format}
	}
	if d := r.wall(o.At).Sub(o.At.Round(0)); d < -clockSet || d > clockSet {
		r.epoch, r.tracks = o.At, map[workload.ControlMode]*track{}
		r.kept, r.octets, r.resume = nil, 0, 0
	}
	now := o.At.Sub(r.epoch)
	if now < r.resume {
		r.missed++
		return
	}
	t := r.track(mode)
	x := turn{step{mode: mode, at: now}, before, next, o, p}
	moved := t.focus.look(o, p, r.header.Law == law.Adaptive, room{r.limit() / len(r.tracks), r.span()}, now, r.free(t, now))
	if t.focus.idle() {
		t.segment = nil
	} else {
		r.add(t, x, moved)
	}
	r.forget(now)
}

// turn is one call of Record.
type turn struct {
	step
	before, next law.State
	shown        plan.Observation
	decided      plan.Plan
}

func (r *Recorder) track(mode workload.ControlMode) *track {
	t := r.tracks[mode]
	if t == nil {
		t = &track{}
		r.tracks[mode] = t
	}
	return t
}

// add keeps what of a step is to be kept.
func (r *Recorder) add(t *track, x turn, moved bool) {
	g, f := r.segment(x.at), &t.focus
	continues := !t.at.IsZero() && x.before.At.Equal(t.at)
	begins := t.segment != g || !continues || moved
	if begins {
		x.begins(t, g, continues, moved)
	}
	all, weight := x.shown, int(reflect.TypeFor[step]().Size())
	if f.part {
		x.shown = f.view(all)
		f.doubt(x.shown, x.decided, x.before)
		x.decided = f.decided(x.decided, x.shown)
		now := rest{x.next.Adaptive.Elsewhere(all, x.shown, f.holds), slices.Sorted(maps.Keys(f.partly))}
		if begins || !now.equal(t.rest) {
			kept, n := keep(r, now)
			x.rest, t.rest, weight = &kept, kept, weight+n
		}
		x.before = x.before.Part(x.shown, f.holds)
	}
	if begins {
		state, n := keep(r, x.before)
		x.start, weight = &state, weight+n
	}
	if !t.history.shows(x.shown) {
		cast, n := r.cast(x.shown, t.history.cast)
		x.cast, weight = cast, weight+n
		t.history.recast(cast)
	}
	var n int
	x.plan, n = t.outcome(r, x.decided)
	r.scratch = t.history.pack(r.scratch[:0], x.shown)
	x.news = slices.Clone(r.scratch)
	t.at = x.shown.At
	weight += n + len(x.news)

	g.steps = append(g.steps, x.step)
	g.trouble = g.trouble || f.part || f.troubled(x.at)
	g.octets += weight
	if begins {
		g.starts += weight
	}
	r.octets += weight
}

// begins has a run begin in a segment, or with others than before.
func (s *step) begins(t *track, g *segment, continues, moved bool) {
	f := &t.focus
	s.seen = t.segment == g && continues
	s.continues = continues && !moved && !f.part
	if !s.seen {
		t.history, t.reasons = history{}, nil
	}
	t.segment, t.rest, f.partly = g, rest{}, nil
	if f.part {
		s.part = slices.Sorted(maps.Keys(f.held))
	}
}

// free reports whether the next step of a run begins a segment anyway.
func (r *Recorder) free(t *track, now time.Duration) bool {
	return r.full(now) || t.segment != r.kept[len(r.kept)-1]
}

// full reports whether there is no segment to add to. It is long enough to outweigh what
// it begins with.
func (r *Recorder) full(now time.Duration) bool {
	if len(r.kept) == 0 {
		return true
	}
	g := r.kept[len(r.kept)-1]
	return g.header != r.header || g.octets >= max(r.limit()/parts, 2*g.starts) || now-g.began >= r.span()/parts
}

// segment is the one to add to.
func (r *Recorder) segment(now time.Duration) *segment {
	if r.full(now) {
		r.number++
		r.kept = append(r.kept, &segment{header: r.header, number: r.number, began: now})
	}
	return r.kept[len(r.kept)-1]
}

// forget lets go of what is too old or too much: what was calm before what was not.
func (r *Recorder) forget(now time.Duration) {
	for i := 0; i+1 < len(r.kept); i++ {
		long := r.span()
		if r.kept[i].trouble {
			long = max(long, memory)
		}
		if now-r.kept[i+1].began >= long {
			r.drop(i)
			i--
		}
	}
	for len(r.kept) > 1 && r.octets > r.limit() {
		r.drop(max(slices.IndexFunc(r.kept[:len(r.kept)-1], func(g *segment) bool { return !g.trouble }), 0))
	}
	if r.octets > r.limit() {
		r.missed += len(r.kept[0].steps)
		r.kept, r.octets, r.resume = nil, 0, now+r.span()/parts
		clear(r.tracks)
	}
}

func (r *Recorder) drop(i int) {
	r.octets -= r.kept[i].octets
	r.kept = slices.Delete(r.kept, i, i+1)
}

func (r *Recorder) limit() int {
	if r.Octets == 0 {
		return DefaultOctets
	}
	return r.Octets
}

func (r *Recorder) span() time.Duration {
	if r.Span == 0 {
		return DefaultSpan
	}
	return r.Span
}

// Law is a law whose steps are recorded.
type Law struct {
	law.Law
	Recorder *Recorder
}

// Step is the law's, recorded as in enforce mode.
func (l Law) Step(s law.State, v sense.View) (law.State, plan.Plan) {
	next, p := l.Law.Step(s, v)
	l.Recorder.Record(workload.Enforce, s, next, v.Observation, p)
	return next, p
}
