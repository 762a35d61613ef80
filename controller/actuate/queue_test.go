package actuate

import (
	"log/slog"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Of the cuts that wait, those go first that take most from the link; records of
// what an agent enforces wait for them, and raises for all.
func TestElephantsFirst(t *testing.T) {
	cut := func(name string, takes bitrate.Rate) Change {
		return Change{Limit: plan.Limit{Pod: plan.PodID{Namespace: "ns", Name: name}, From: 1000 * bitrate.Mbit, To: 50 * bitrate.Mbit}, UID: types.UID(name), Takes: takes}
	}
	record := cut("record", 900*bitrate.Mbit)
	record.Order = workload.Order{Term: 7, Sequence: 1}
	raise := cut("raise", 0)
	raise.From, raise.To = 50*bitrate.Mbit, 100*bitrate.Mbit
	a := New(nil, DefaultConfig(), slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	a.Submit([]Change{raise})
	a.Submit([]Change{record, cut("idle", 0), cut("mouse", bitrate.Mbit), cut("elephant", 80*bitrate.Mbit)})
	a.mu.Lock()
	a.waiting[raise.Pod] = waiting{Change: raise} // dropped by the cuts, and asked for again
	a.mu.Unlock()
	if w := a.Waiting(); w.Cuts != 3 || w.Others != 2 {
		t.Errorf("waiting %+v, want 3 cuts and 2 others", w)
	}
	var order []string
	later := time.Now().Add(stood) // the record has stood
	for next, some := a.waiting.next(nil, later); some; next, some = a.waiting.next(nil, later) {
		order = append(order, next.Pod.Name)
		delete(a.waiting, next.Pod)
	}
	if want := []string{"elephant", "mouse", "idle", "record", "raise"}; !slices.Equal(order, want) {
		t.Errorf("written in the order %v, want %v", order, want)
	}
}

// What ends a low limit goes before all but cuts, and before these too after a second; a
// cut of others drops it unless it is asked for again, as what has waited since.
func TestALowLimitEndsSoon(t *testing.T) {
	change := func(name string, from, to bitrate.Rate, low bool) Change {
		return Change{Limit: plan.Limit{Pod: plan.PodID{Namespace: "ns", Name: name}, From: from, To: to, FromLow: low}, UID: types.UID(name)}
	}
	low, other := change("low", bitrate.Mbit, 40*bitrate.Mbit, true), change("other", bitrate.Mbit, 40*bitrate.Mbit, true)
	raise, cut := change("raise", 50*bitrate.Mbit, 100*bitrate.Mbit, false), change("cut", 100*bitrate.Mbit, 50*bitrate.Mbit, false)
	synctest.Test(t, func(t *testing.T) {
		a := New(nil, DefaultConfig(), slog.New(slog.DiscardHandler), nil)
		order := func() (names []string) {
			rest := maps.Clone(a.waiting)
			for next, some := rest.next(nil, time.Now()); some; next, some = rest.next(nil, time.Now()) {
				names = append(names, next.Pod.Name)
				delete(rest, next.Pod)
			}
			return names
		}
		a.Submit([]Change{raise})
		a.Submit([]Change{low, other})
		if got, want := order(), []string{"low", "other", "raise"}; !slices.Equal(got, want) {
			t.Errorf("written in the order %v, want %v", got, want)
		}
		time.Sleep(behindCuts / 2)
		a.Submit([]Change{cut, low})
		if got, want := order(), []string{"cut", "low"}; !slices.Equal(got, want) {
			t.Errorf("beside a cut in the order %v, want %v", got, want)
		}
		time.Sleep(behindCuts / 2)
		if got, want := order(), []string{"low", "cut"}; !slices.Equal(got, want) {
			t.Errorf("after a second in the order %v, want %v", got, want)
		}
		begins := change("begins", 40*bitrate.Mbit, bitrate.Mbit, false)
		begins.ToLow = true
		a.Submit([]Change{begins, low})
		if got, want := order(), []string{"low", "cut", "begins"}; !slices.Equal(got, want) {
			t.Errorf("as another begins in the order %v, want %v", got, want)
		}
		time.Sleep(behindCuts)
		if got, want := order(), []string{"low", "cut"}; !slices.Equal(got, want) {
			t.Errorf("after it has waited for long in the order %v, want %v", got, want)
		}
		lower := cut
		lower.To, lower.ToLow = bitrate.Mbit, true
		a.Submit([]Change{lower, low})
		if got, want := order(), []string{"low", "cut"}; !slices.Equal(got, want) {
			t.Errorf("as a cut that has waited for long is to go lower in the order %v, want %v", got, want)
		}
	})
}
