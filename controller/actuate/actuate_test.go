package actuate_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/actuate/actuatetest"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

const mbit = bitrate.Mbit

func podNamed(name string) plan.PodID { return plan.PodID{Namespace: "factory", Name: name} }

// world is a fake cluster, an actuator that runs on it, and what it wrote.
type world struct {
	t *testing.T
	*actuatetest.Fake
	*actuate.Actuator
	mu     sync.Mutex
	order  []string
	broken bool
}

func newWorld(t *testing.T, c actuate.Config) *world {
	w := &world{t: t, Fake: &actuatetest.Fake{}}
	w.Before = func(pod plan.PodID) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.broken {
			return errors.New("connection refused")
		}
		w.order = append(w.order, pod.Name)
		return nil
	}
	w.Actuator = actuate.New(w.Fake, c, slog.New(slog.DiscardHandler), nil)
	return w
}

// run runs the actuator until the test ends.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); w.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done })
}

func (w *world) setBroken(broken bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = broken
}

func (w *world) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.order)
}

// pod creates a pod under a limit and returns how to change it.
func (w *world) pod(name string, limit bitrate.Rate) func(to bitrate.Rate) actuate.Change {
	id := podNamed(name)
	uid := w.Create(w.t, id, map[string]string{workload.AnnotationEgressBandwidth: limit.String()})
	return func(to bitrate.Rate) actuate.Change {
		return actuate.Change{Limit: plan.Limit{Pod: id, From: limit, To: to}, UID: uid, Min: 10 * mbit, Max: 1000 * mbit}
	}
}

func (w *world) limit(name string) string {
	return w.Annotations(w.t, podNamed(name))[workload.AnnotationEgressBandwidth]
}

func TestCutsGoFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.Config{Budget: write.NewBudget(1, 1), Workers: 1})
		raise := w.pod("raise", 50*mbit)(60 * mbit)
		cut := w.pod("cut", 50*mbit)(40 * mbit)
		fresh := w.pod("unlimited", 0)(90 * mbit)
		w.Submit([]actuate.Change{raise, fresh, cut})
		w.run()
		time.Sleep(10 * time.Second)
		if got := w.written(); len(got) != 3 || got[2] != "raise" {
			t.Errorf("order of writes = %v, want the raise last", got)
		}
	})
}

func TestNewestValueWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		change := w.pod("a", 100*mbit)
		for to := 90 * mbit; to >= 50*mbit; to -= 10 * mbit {
			w.Submit([]actuate.Change{change(to)})
		}
		w.run()
		time.Sleep(time.Second)
		if got := w.limit("a"); got != "50M" || len(w.written()) != 1 {
			t.Errorf("limit = %s after %d writes, want 50M after 1", got, len(w.written()))
		}
	})
}

func TestNoWriteWithoutChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		change := w.pod("a", 100*mbit)
		for range 8 { // the informer still shows the old limit
			w.Submit([]actuate.Change{change(80 * mbit)})
			time.Sleep(250 * time.Millisecond)
		}
		w.Submit([]actuate.Change{change(100*mbit + 5)})
		time.Sleep(time.Second)
		if n := len(w.written()); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
	})
}

// What is asked for again while it is on its way is not written twice.
func TestNoSecondWriteOfOneInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		count := w.Before
		w.Before = func(pod plan.PodID) error {
			time.Sleep(time.Second) // a slow API server
			return count(pod)
		}
		w.run()
		change := w.pod("a", 100*mbit)
		w.Submit([]actuate.Change{change(80 * mbit)})
		time.Sleep(500 * time.Millisecond)
		w.Submit([]actuate.Change{change(80 * mbit)})
		time.Sleep(10 * time.Second)
		if n := len(w.written()); n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
	})
}

// A raise that still waits when somebody is cut was decided in better times.
func TestCutDropsWaitingRaises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		raise := w.pod("raise", 50*mbit)(90 * mbit)
		cut := w.pod("cut", 50*mbit)(40 * mbit)
		w.Submit([]actuate.Change{raise})
		w.Submit([]actuate.Change{cut})
		w.run()
		time.Sleep(10 * time.Second)
		if got := w.written(); !slices.Equal(got, []string{"cut"}) {
			t.Errorf("written %v, want the cut alone", got)
		}
	})
}

// A try that is undone elsewhere, each few seconds, is no reason to forget a raise that waits.
func TestAnUndoneTryDropsNoRaise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		undone := w.pod("tried", 50*mbit)(50 * mbit)
		undone.From, undone.Recorded, undone.Order = 50*mbit+500*bitrate.Kbit, 50*mbit, workload.Order{Term: 7, Sequence: 2}
		w.Submit([]actuate.Change{w.pod("raise", 50*mbit)(90 * mbit)})
		w.Submit([]actuate.Change{undone})
		w.run()
		time.Sleep(10 * time.Second)
		if got := w.written(); !slices.Equal(got, []string{"raise"}) {
			t.Errorf("written %v, want the raise alone", got)
		}
	})
}

// A limit that somebody else put back is written again.
func TestOverwrittenLimitIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		change := w.pod("a", 100*mbit)
		w.Submit([]actuate.Change{change(80 * mbit)})
		time.Sleep(5 * time.Second)
		w.Submit([]actuate.Change{change(80 * mbit)})
		time.Sleep(time.Second)
		if n := len(w.written()); n != 2 {
			t.Errorf("%d writes, want 2", n)
		}
	})
}

func TestOutageKeepsTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		change := w.pod("a", 100*mbit)
		w.setBroken(true)
		w.Submit([]actuate.Change{change(80 * mbit)})
		time.Sleep(30 * time.Second)
		w.Submit([]actuate.Change{change(60 * mbit)})
		time.Sleep(30 * time.Second)
		w.setBroken(false)
		time.Sleep(20 * time.Second)
		if got := w.limit("a"); got != "60M" || len(w.written()) != 1 {
			t.Errorf("limit = %s after %d writes, want 60M after 1", got, len(w.written()))
		}
	})
}

func TestGonePodIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		change := w.pod("a", 100*mbit)
		w.Delete(t, podNamed("a"))
		w.Submit([]actuate.Change{change(80 * mbit)})
		time.Sleep(time.Minute)
		if n := len(w.written()); n != 1 {
			t.Errorf("%d attempts, want 1", n)
		}
	})
}

func TestBudgetOfWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.Config{Budget: write.NewBudget(20, 20), Workers: 4})
		var changes []actuate.Change
		for i := range 200 {
			changes = append(changes, w.pod(fmt.Sprint("pod-", i), 100*mbit)(80*mbit))
		}
		w.Submit(changes)
		w.run()
		time.Sleep(4 * time.Second)
		if n := len(w.written()); n > 20+4*20+1 || n < 90 {
			t.Errorf("%d writes in 4 s, want about 20 and 20 a second", n)
		}
	})
}

// Whatever a law asks for, what is written parses, is never zero and lies
// inside the pod's bounds, which may be below what detnet would choose.
func TestWrittenLimitsAreSafe(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ask := rapid.Int64().Draw(rt, "ask")
		lo := bitrate.Rate(rapid.Int64Range(int64(bitrate.LeastLimit), int64(bitrate.Gbit)).Draw(rt, "min"))
		hi := bitrate.Rate(rapid.Int64Range(int64(lo), int64(2*bitrate.Gbit)).Draw(rt, "max"))
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, actuate.DefaultConfig())
			w.run()
			c := w.pod("a", 0)(bitrate.Rate(ask))
			c.Min, c.Max = lo, hi
			w.Submit([]actuate.Change{c})
			time.Sleep(time.Second)
			got, err := bitrate.ParseLimit(w.limit("a"))
			if err != nil || got < lo || got > hi {
				t.Errorf("asked %d within [%v, %v]: wrote %q: %v", ask, lo, hi, w.limit("a"), err)
			}
		})
	})
}

// A pod that nobody stamped is told with its first limit what it had before.
func TestTellsWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		id := podNamed("static")
		uid := w.Create(t, id, nil)
		w.Submit([]actuate.Change{{Limit: plan.Limit{Pod: id, To: 50 * mbit}, UID: uid, Before: workload.NoLimit}})
		synctest.Wait()
		want := map[string]string{workload.AnnotationEgressBandwidth: "50M", workload.AnnotationInitialBandwidth: workload.NoLimit}
		if got := w.Annotations(t, id); !maps.Equal(got, want) {
			t.Errorf("annotations = %v, want %v", got, want)
		}
		w.Submit([]actuate.Change{{Limit: plan.Limit{Pod: id, From: 50 * mbit, To: 30 * mbit}, UID: uid}})
		synctest.Wait()
		want[workload.AnnotationEgressBandwidth] = "30M"
		if got := w.Annotations(t, id); !maps.Equal(got, want) {
			t.Errorf("annotations = %v, want %v", got, want)
		}
	})
}

// What the API server refuses costs one write, whoever asks for it how often;
// neighbours get theirs at once. When it would be taken again, the law is asked
// anew instead of an old limit being written.
func TestRefusedPodsCostNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		legacy := map[string]int{}
		refusing := true
		count := w.Before
		w.Before = func(pod plan.PodID) error {
			w.mu.Lock()
			refuse := refusing && pod.Name != "good"
			if pod.Name != "good" {
				legacy[pod.Name]++
			}
			w.mu.Unlock()
			if refuse {
				return write.Refusal{Target: write.Target{Kind: "Pod", Name: pod.Name}, Again: time.Now().Add(time.Minute)}
			}
			return count(pod)
		}
		w.run()
		var all []actuate.Change
		for i := range 8 {
			all = append(all, w.pod(fmt.Sprint("legacy-", i), 100*mbit)(50*mbit))
		}
		good := w.pod("good", 100*mbit)
		for range 30 {
			w.Submit(all)
			time.Sleep(100 * time.Millisecond)
		}
		start := time.Now()
		w.Submit(append(all, good(50*mbit)))
		synctest.Wait()
		if got := w.limit("good"); got != "50M" {
			t.Errorf("the good pod's limit is %s %v after it was asked for, want 50M at once", got, time.Since(start))
		}
		time.Sleep(50 * time.Second)
		w.mu.Lock()
		for name, n := range legacy {
			if n != 1 {
				t.Errorf("%s was written to %d times within its back-off, want once", name, n)
			}
		}
		refusing = false
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if got := w.limit("legacy-0"); got != "100M" {
			t.Errorf("limit = %s after a dry run, want it as it was", got)
		}
		w.Submit(all)
		time.Sleep(10 * time.Second)
		if got := w.limit("legacy-0"); got != "50M" {
			t.Errorf("limit = %s after it was asked for again, want 50M", got)
		}
	})
}

// What is tried, and in force by another road, is not written, nor that it is undone; where
// the annotation is the only road, and what stays, is.
func TestWhatIsTriedIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		change := w.pod("a", 50*mbit)
		told := func(sequence uint64, from, to bitrate.Rate, tried bool) actuate.Change {
			c := change(to)
			c.From, c.Tried, c.Recorded, c.Order = from, tried, 50*mbit, workload.Order{Term: 7, Sequence: sequence}
			return c
		}
		for i := range uint64(5) {
			w.Submit([]actuate.Change{told(2*i+1, 50*mbit, 51*mbit+300*bitrate.Kbit, true)})
			time.Sleep(time.Second)
			w.Submit([]actuate.Change{told(2*i+2, 51*mbit+300*bitrate.Kbit, 50*mbit, false)})
			time.Sleep(2 * time.Second)
		}
		if n := len(w.written()); n != 0 {
			t.Errorf("%d writes for five tries that were undone, want none", n)
		}
		w.Submit([]actuate.Change{told(11, 50*mbit, 60*mbit, false)})
		time.Sleep(2 * time.Second)
		if got := w.limit("a"); got != "60M" {
			t.Errorf("limit = %s, want what stays to be recorded: 60M", got)
		}
		alone := w.pod("b", 50*mbit)(51*mbit + 300*bitrate.Kbit)
		alone.Tried = true
		w.Submit([]actuate.Change{alone})
		synctest.Wait()
		if got := w.limit("b"); got != "51M" {
			t.Errorf("limit = %s where nobody else is told of it, want 51M", got)
		}
	})
}

// A record is written once its value has stood for a second, so that a value which changes again at once costs no
// write of its own. What is less than is recorded is written after five seconds however often it changes, and what is more is
// not: of limits that are raised together each would be recorded at another moment. Where the annotation is the only road nothing waits.
func TestARecordIsWrittenOnceItsValueStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, actuate.DefaultConfig())
		w.run()
		change, recorded, sequence := w.pod("a", 100*mbit), 100*mbit, uint64(0)
		record := func(to bitrate.Rate) {
			sequence++
			c := change(to)
			c.Recorded, c.Order = recorded, workload.Order{Term: 7, Sequence: sequence}
			w.Submit([]actuate.Change{c})
		}
		for _, to := range []bitrate.Rate{60 * mbit, 30 * mbit, 40 * mbit, 40 * mbit} { // asked for again is no other value
			record(to)
			time.Sleep(400 * time.Millisecond)
		}
		if n, longest := len(w.written()), w.Waiting().Longest; n != 0 || longest != 0 {
			t.Errorf("%d writes while the value changes, and one that waits for its turn for %v, want none", n, longest)
		}
		time.Sleep(400 * time.Millisecond)
		if n := len(w.written()); n != 1 || w.limit("a") != "40M" {
			t.Errorf("%d writes, %s recorded, want 40M once", n, w.limit("a"))
		}
		for i := range 13 { // 5.2 s
			record(bitrate.Rate(50+i) * mbit)
			time.Sleep(400 * time.Millisecond)
		}
		if n := len(w.written()); n != 2 {
			t.Errorf("%d writes, want one of a value that is less than recorded and changes for more than five seconds", n)
		}
		recorded = 40 * mbit
		for i := range 13 {
			record(bitrate.Rate(70+i) * mbit)
			time.Sleep(400 * time.Millisecond)
		}
		if n := len(w.written()); n != 2 {
			t.Errorf("%d writes, want none of a value that is more than recorded and changes", n-2)
		}
		time.Sleep(700 * time.Millisecond)
		if n := len(w.written()); n != 3 || w.limit("a") != "82M" {
			t.Errorf("%d writes, %s recorded, want 82M once it stands", n, w.limit("a"))
		}
		for i := range 13 { // raised, and never the same for long
			record(bitrate.Rate(100+i) * mbit)
			time.Sleep(400 * time.Millisecond)
		}
		recorded = 82 * mbit
		record(30 * mbit)
		time.Sleep(400 * time.Millisecond)
		if n := len(w.written()); n != 3 {
			t.Errorf("%d writes of a value that was cut just now, want none", n-3)
		}
		time.Sleep(700 * time.Millisecond)
		if n := len(w.written()); n != 4 || w.limit("a") != "30M" {
			t.Errorf("%d writes, %s recorded, want 30M once it stands", n-3, w.limit("a"))
		}
		change, recorded = w.pod("unlimited", 0), 0
		for i := range 13 {
			record(bitrate.Rate(50+i) * mbit)
			time.Sleep(400 * time.Millisecond)
		}
		if n := len(w.written()); n != 5 {
			t.Errorf("%d writes of a limit where none was recorded, that changes for more than five seconds, want one", n-4)
		}
		alone := w.pod("b", 100*mbit)(20 * mbit)
		w.Submit([]actuate.Change{alone})
		synctest.Wait()
		if got := w.limit("b"); got != "20M" {
			t.Errorf("limit = %s where the annotation is the only road, want 20M at once", got)
		}
	})
}
