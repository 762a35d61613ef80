package flight

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// readAll reads what r has recorded.
func readAll(t interface{ Fatal(...any) }, r *Recorder) []Step {
	var file bytes.Buffer
	if _, err := r.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	reader, err := NewReader(&file)
	if err != nil {
		t.Fatal(err)
	}
	var all []Step
	for {
		s, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
}

// drawWindow makes of what was seen what is seen next: as agents do it, the
// oldest go, younger ones come, and lost ones are known late; and as nobody does.
func drawWindow[T any](t *rapid.T, was []T, draw func(label string) T) []T {
	is := slices.Clone(was[rapid.IntRange(0, len(was)).Draw(t, "old"):])
	for range rapid.IntRange(0, 3).Draw(t, "late") {
		is = slices.Insert(is, rapid.IntRange(0, len(is)).Draw(t, "where"), draw("late one"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "young") {
		is = append(is, draw("young one"))
	}
	if len(is) > 0 && rapid.IntRange(0, 9).Draw(t, "odd") == 0 {
		i := rapid.IntRange(0, len(is)-1).Draw(t, "gone")
		is = slices.Delete(is, i, i+1)
	}
	return is
}

// drawNext makes an observation that follows o.
func drawNext(t *rapid.T, o plan.Observation) plan.Observation {
	next := plan.Observation{At: o.At.Add(every)}
	sample := func(label string) plan.Sample {
		s := plan.Sample{At: plan.At(next.At.Add(-time.Duration(rapid.IntRange(-5, 50).Draw(t, label)) * time.Millisecond))}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			s.Lost = true
		case 1:
			s.HasOneWay, s.Forward = true, time.Duration(rapid.Int64Range(-1e18, 1e18).Draw(t, "forward"))
			fallthrough
		default:
			s.RTT = time.Duration(rapid.Int64Range(0, 1e10).Draw(t, "rtt"))
		}
		return s
	}
	rate := func(label string) plan.TxRate {
		return plan.TxRate{At: plan.At(next.At.Add(-time.Duration(rapid.IntRange(0, 9).Draw(t, label)) * time.Millisecond)), Tx: bitrate.Rate(rapid.Int64().Draw(t, "tx")), Out: bitrate.Rate(rapid.Int64().Draw(t, "out"))}
	}
	seen := func(paths []plan.Session, id string) *plan.Session {
		if i := slices.IndexFunc(paths, func(s plan.Session) bool { return s.ID == id }); i >= 0 {
			return &paths[i]
		}
		return &plan.Session{ID: id, Vantage: "n" + id}
	}
	paths := func(was []plan.Session, label string) (is []plan.Session) {
		for i := range rapid.IntRange(0, 2).Draw(t, label) {
			s := *seen(was, fmt.Sprint(i))
			s.Samples = drawWindow(t, s.Samples, sample)
			s.Pause = time.Duration(rapid.IntRange(0, 1).Draw(t, "pause"))
			is = append(is, s)
		}
		return is
	}
	if next.Told = o.Told; rapid.IntRange(0, 3).Draw(t, "something else is told") == 0 {
		next.Told = []plan.Told{{Node: "n1", Found: bitrate.Rate(rapid.Int64().Draw(t, "found"))}}
	}
	for _, name := range []string{"a", "b"} {
		if rapid.IntRange(0, 5).Draw(t, name+" is away") == 0 {
			continue
		}
		id := plan.PodID{Namespace: "x", Name: name}
		app := plan.App{Pod: id, Node: "n1", SLO: workload.SLO{Loss: 0.1}}
		if i := slices.IndexFunc(o.Apps, func(a plan.App) bool { return a.Pod == id }); i >= 0 {
			app = o.Apps[i]
		}
		app.NodeReflects = rapid.Bool().Draw(t, "node reflects")
		app.Sessions, app.NodeSessions = paths(app.Sessions, "sessions"), paths(app.NodeSessions, "node sessions")
		next.Apps = append(next.Apps, app)

		sender := plan.Sender{Pod: id, Weight: 1}
		if i := slices.IndexFunc(o.Senders, func(s plan.Sender) bool { return s.Pod == id }); i >= 0 {
			sender = o.Senders[i]
		}
		sender.Limit = bitrate.Rate(rapid.IntRange(0, 1).Draw(t, "limit"))
		sender.Limiter = rapid.SampledFrom([]plan.Limiter{"", plan.EDT, plan.EDTHostRouting}).Draw(t, "limiter")
		sender.Rates = drawWindow(t, sender.Rates, rate)
		sender.Pause = time.Duration(rapid.IntRange(0, 1).Draw(t, "pause"))
		next.Senders = append(next.Senders, sender)
	}
	return next
}

// Whatever the law was shown and decided is what is read back.
func TestRecordingIsWhatWasRecorded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &Recorder{Span: time.Minute}
		var state law.State
		o := plan.Observation{At: t0}
		var observed []plan.Observation
		var plans []plan.Plan
		var fresh []bool // began without a memory
		for i := range rapid.IntRange(1, 12).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "begins anew") == 0 {
				r.Begin("v1", law.AIMD, law.DefaultConfig())
				state = law.State{}
			}
			o = drawNext(t, o)
			p := plan.Plan{At: o.At, Reasons: []plan.Reason{{Bottleneck: plan.Uplink("n1"), Measured: time.Duration(i), Ratio: 1 / float64(3+i)}}}
			if len(o.Senders) > 0 {
				p.Limits = []plan.Limit{{Pod: o.Senders[0].Pod, From: 1, To: bitrate.Rate(i)}}
			}
			r.Record(workload.Enforce, state, law.State{}, o, p)
			fresh = append(fresh, state.At.IsZero())
			state = law.State{At: o.At}
			observed, plans = append(observed, o), append(plans, p)
		}
		steps := readAll(t, r)
		if len(steps) != len(plans) {
			t.Fatalf("%d steps, want %d", len(steps), len(plans))
		}
		for i, s := range steps {
			// The reader has none where there were none of something.
			if want := fmt.Sprintf("%+v", observed[i]); fmt.Sprintf("%+v", s.Observation) != want {
				t.Fatalf("step %d: observed %+v, want %s", i, s.Observation, want)
			}
			if begins := s.Start != nil && !s.Continues; begins != fresh[i] || s.Start != nil && s.Start.At.IsZero() != fresh[i] {
				t.Fatalf("step %d: start %+v, continues %v, after a memory was lost: %v", i, s.Start, s.Continues, fresh[i])
			}
			if !reflect.DeepEqual(s.Plan, plans[i]) {
				t.Fatalf("step %d: plan %+v, want %+v", i, s.Plan, plans[i])
			}
		}
	})
}

// What a law is shown is recorded as a whole: a field that is new in the
// vocabulary must be in cast, in a row or in shows.
func TestNothingOfAnObservationIsForgotten(t *testing.T) {
	const derived = 1 // says what the rest of it shows anyhow: InOrder, Lossless
	for _, tt := range []struct {
		of   reflect.Type
		want int
	}{
		{reflect.TypeFor[plan.Observation](), 4 + derived}, {reflect.TypeFor[plan.Told](), 3}, {reflect.TypeFor[plan.App](), 8}, {reflect.TypeFor[plan.Session](), 6 + derived},
		{reflect.TypeFor[plan.Sample](), 5}, {reflect.TypeFor[plan.Sender](), 10}, {reflect.TypeFor[plan.TxRate](), 3},
		{reflect.TypeFor[plan.Plan](), 5},
	} {
		if n := tt.of.NumField(); n != tt.want {
			t.Errorf("%v has %d fields, and %d are recorded: record the others, then change this number", tt.of, n, tt.want)
		}
	}
}

// A State is copied by walking it, which knows no pointers and no maps.
func TestStateCanBeKept(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(of reflect.Type) {
		switch of.Kind() {
		case reflect.Slice:
			walk(of.Elem())
		case reflect.Struct:
			if of == reflect.TypeFor[time.Time]() {
				return
			}
			for i := range of.NumField() {
				if !of.Field(i).IsExported() {
					t.Errorf("%v.%s is not exported", of, of.Field(i).Name)
				}
				walk(of.Field(i).Type)
			}
		case reflect.Pointer, reflect.Map, reflect.Interface, reflect.Array, reflect.Func, reflect.Chan:
			t.Errorf("a State holds %v", of)
		}
	}
	walk(reflect.TypeFor[law.State]())
}

// However long it goes on and however large it gets, no more is kept than
// allowed, and what is kept can be replayed from its first step.
func TestBounds(t *testing.T) {
	const length = time.Minute
	m := newMovie(length)
	for _, tt := range []struct {
		name   string
		octets int
		span   time.Duration
		least  time.Duration // that is kept at the end
		missed bool
	}{
		{"span", 1 << 30, 20 * time.Second, 20 * time.Second, false},
		{"octets", 4 << 20, time.Hour, 5 * time.Second, false},
		{"hardly anything", 1 << 20, time.Hour, 0, true},
	} {
		r := &Recorder{Octets: tt.octets, Span: tt.span}
		var state law.State
		for now := every; now < length; now += every {
			o := m.at(now)
			r.Record(workload.Enforce, state, law.State{}, o, plan.Plan{At: o.At})
			state.At = o.At
			if r.octets > tt.octets {
				t.Fatalf("%s: %d octets after %v", tt.name, r.octets, now)
			}
			sum := 0
			for _, g := range r.kept {
				sum += g.octets
			}
			if sum != r.octets {
				t.Fatalf("%s: the segments have %d octets, and %d are counted", tt.name, sum, r.octets)
			}
		}
		if got := r.missed > 0; got != tt.missed {
			t.Errorf("%s: %d steps were too large", tt.name, r.missed)
		}
		if tt.missed {
			continue
		}
		steps := readAll(t, r)
		if steps[0].Start == nil || !steps[0].Continues {
			t.Errorf("%s: the first step has no state to go on from", tt.name)
		}
		first, last := steps[0].Observation.At, steps[len(steps)-1].Observation.At
		if got := last.Sub(first); got < tt.least || got > tt.span*5/4+every {
			t.Errorf("%s: %v are kept, want from %v to %v", tt.name, got, tt.least, tt.span*5/4)
		}
		want := m.at(last.Sub(t0))
		if !reflect.DeepEqual(steps[len(steps)-1].Observation, want) {
			t.Errorf("%s: the last observation is not what it was", tt.name)
		}
	}
}

// A download does not see what is recorded and forgotten meanwhile.
func TestReadWhileRecording(t *testing.T) {
	r := &Recorder{Span: time.Second}
	m := newMovie(10 * time.Second)
	record := func(now time.Duration) {
		o := m.at(now)
		o.Apps, o.Senders = o.Apps[:2], o.Senders[:2]
		r.Record(workload.Enforce, law.State{At: o.At.Add(-every)}, law.State{}, o, plan.Plan{At: o.At})
	}
	record(every)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for now := 2 * every; now < 10*time.Second; now += every {
			record(now)
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		steps := readAll(t, r)
		for i, s := range steps {
			if i > 0 && s.Observation.At.Sub(steps[i-1].Observation.At) != every {
				t.Fatalf("step %d is %v after the one before", i, s.Observation.At.Sub(steps[i-1].Observation.At))
			}
		}
	}
}
