// Package flight is the controller's flight recorder: what a law was shown, and
// what it decided, of the last two minutes. A law is pure, so a recording can be
// replayed: by the same law with the same result, by another to see what that
// would have decided.
package flight

import (
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
	// Octets bounds what is kept, and Span how long; 0: the default. Set
	// before the first step.
	Octets int
	Span   time.Duration

	reading sync.Mutex // held by the one who downloads
	mu      sync.Mutex
	header  *Header
	epoch   time.Time // the time that the others count from
	tracks  map[workload.ControlMode]*track
	kept    []*segment
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

// format is the version of the file format.
const format = 3

// segment is a part of the recording that can be replayed alone.
type segment struct {
	header *Header
	began  time.Duration
	octets int
	starts int // of them, for what the segment begins with
	steps  []step
}

// step is one recorded step of one run.
type step struct {
	mode      workload.ControlMode
	at        time.Duration
	start     *law.State // where the run begins in its segment
	continues bool       // and that is where the step before it ended
	cast      *cast      // nil: as in the step before
	news      []byte     // packed
	plan      plan.Plan
}

// track is what one run's next step is compared with.
type track struct {
	segment *segment
	at      time.Time
	history history
}

// Begin says what decides from now on.
func (r *Recorder) Begin(version, name string, config law.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.header = &Header{Format: format, Version: version, Law: name, Config: config}
}

// Record keeps one step: law.Step(before, o) was p. Runs in different modes are
// told apart. The samples and rates in o must not change until the next call.
func (r *Recorder) Record(mode workload.ControlMode, before law.State, o plan.Observation, p plan.Plan) {
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
	t := r.tracks[mode]
	continues := t != nil && before.At.Equal(t.at)
	g := r.segment(now)
	s := step{mode: mode, at: now}
	var weight int
	if t == nil || t.segment != g || !continues {
		t = &track{segment: g}
		r.tracks[mode] = t
		state, n := keep(r, before)
		s.start, s.continues, weight = &state, continues, n
	}
	if !t.history.shows(o) {
		var n int
		s.cast, n = r.cast(o, t.history.cast)
		t.history.recast(s.cast)
		weight += n
	}
	var n int
	s.plan, n = keep(r, p)
	r.scratch = t.history.pack(r.scratch[:0], o)
	s.news = slices.Clone(r.scratch)
	t.at = o.At
	weight += n + len(s.news) + int(reflect.TypeFor[step]().Size())

	g.steps = append(g.steps, s)
	g.octets += weight
	if s.start != nil {
		g.starts += weight
	}
	r.octets += weight
	r.forget(now)
}

// segment is the one to add to. It is long enough to outweigh what it begins
// with.
func (r *Recorder) segment(now time.Duration) *segment {
	if n := len(r.kept); n > 0 {
		g := r.kept[n-1]
		full := g.octets >= max(r.limit()/parts, 2*g.starts) || now-g.began >= r.span()/parts
		if !full && g.header == r.header {
			return g
		}
	}
	g := &segment{header: r.header, began: now}
	r.kept = append(r.kept, g)
	return g
}

// forget lets go of what is too old or too much.
func (r *Recorder) forget(now time.Duration) {
	drop := 0
	for drop+1 < len(r.kept) && (r.octets > r.limit() || now-r.kept[drop+1].began >= r.span()) {
		r.octets -= r.kept[drop].octets
		drop++
	}
	// A new array, since a reader may hold the old one.
	if drop > 0 {
		r.kept = append([]*segment(nil), r.kept[drop:]...)
	}
	if r.octets > r.limit() {
		r.missed += len(r.kept[0].steps)
		r.kept, r.octets, r.resume = nil, 0, now+r.span()/parts
		clear(r.tracks)
	}
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
	l.Recorder.Record(workload.Enforce, s, v.Observation, p)
	return next, p
}

// keep copies v for the recorder, and says how many octets it takes. Times
// become what they are after the recorder's epoch by the monotonic clock, as the
// law saw them: the wall clock may be set in between.
func keep[T any](r *Recorder, v T) (kept T, octets int) {
	octets = r.copy(reflect.ValueOf(&kept).Elem(), reflect.ValueOf(&v).Elem())
	return kept, octets + int(reflect.TypeFor[T]().Size())
}

// copy returns the octets that to refers to.
func (r *Recorder) copy(to, from reflect.Value) int {
	octets := 0
	switch from.Kind() {
	case reflect.Struct:
		if t, ok := from.Addr().Interface().(*time.Time); ok {
			to.Set(reflect.ValueOf(r.wall(*t)))
			return 0
		}
		for i := range from.NumField() {
			octets += r.copy(to.Field(i), from.Field(i))
		}
	case reflect.Slice:
		if from.IsNil() {
			return 0
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		octets = from.Len() * int(from.Type().Elem().Size())
		for i := range from.Len() {
			octets += r.copy(to.Index(i), from.Index(i))
		}
	case reflect.String:
		to.Set(from)
		octets = from.Len()
	default:
		to.Set(from)
	}
	return octets
}

// wall is the time that everybody else calls t.
func (r *Recorder) wall(t time.Time) time.Time {
	if t.IsZero() || r.epoch.IsZero() {
		return time.Time{}
	}
	return r.epoch.Round(0).UTC().Add(t.Sub(r.epoch))
}
