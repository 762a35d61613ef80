package record

import (
	"math"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// packets makes one packet every 10 ms, the i-th with the round trip rtt(i);
// a negative one is lost.
func packets(n int, rtt func(i int) time.Duration) []Packet {
	ps := make([]Packet, n)
	for i := range ps {
		d := rtt(i)
		ps[i] = Packet{At: start.Add(time.Duration(i) * 10 * time.Millisecond), RTT: max(d, 0), Lost: d < 0}
	}
	return ps
}

func TestSummariseCountsFromTheBase(t *testing.T) {
	a := App{Name: "robot", Target: time.Millisecond, Packets: packets(100, func(i int) time.Duration {
		switch {
		case i < 90:
			return 300*time.Microsecond + time.Duration(i)*time.Microsecond
		case i < 95:
			return 1300 * time.Microsecond // exactly at the target above the base: kept
		case i < 99:
			return 5300 * time.Microsecond
		}
		return -1
	})}
	got := Summarise(a, start, start.Add(time.Second))
	want := Critical{Name: "robot", Samples: 100, Lost: 1, P50: 0.049, P99: 5, Worst: 5, MaxJitter: 1, ViolationRatio: 0.05}
	if got != want {
		t.Errorf("Summarise = %+v\nwant        %+v", got, want)
	}
	if got := Summarise(a, start.Add(time.Hour), start.Add(2*time.Hour)); got.Samples != 0 || math.IsNaN(got.ViolationRatio) {
		t.Errorf("empty phase = %+v", got)
	}
}

// What crossed no network is counted by itself, from a base of its own.
func TestBeside(t *testing.T) {
	a := App{Name: "robot", Target: time.Millisecond,
		Packets: packets(100, func(int) time.Duration { return 300 * time.Microsecond }),
		Beside: packets(100, func(i int) time.Duration {
			if i < 20 {
				return 5 * time.Millisecond
			}
			return 40 * time.Microsecond
		})}
	end := start.Add(time.Second)
	if got := Summarise(a, start, end); got.ViolationRatio != 0 || got.BesideRatio != 0.2 || got.Samples != 100 {
		t.Errorf("Summarise = %+v", got)
	}
	if got := BesideShare([]App{a, {Name: "without"}}, start, end); got != 0.2 {
		t.Errorf("BesideShare = %v, want 0.2", got)
	}
	if got := BesideShare(nil, start, end); got != 0 {
		t.Errorf("BesideShare of nothing = %v", got)
	}
}

func TestCleanAfter(t *testing.T) {
	late := func(from, to int) func(int) time.Duration {
		return func(i int) time.Duration {
			if i >= from && i < to {
				return 40 * time.Millisecond
			}
			return 300 * time.Microsecond
		}
	}
	a := App{Name: "a", Target: time.Millisecond, Packets: packets(1000, late(10, 80))}
	b := App{Name: "b", Target: time.Millisecond, Packets: packets(1000, late(10, 120))}
	end := start.Add(10 * time.Second)

	// 200 packets a window: fewer than 10 may be late, so the window may begin
	// 9 packets before the last late one, on the 50 ms grid.
	if got, ok := CleanAfter([]App{a, b}, start, end); !ok || got != 1150*time.Millisecond {
		t.Errorf("CleanAfter = %v, %v; want 1.15s", got, ok)
	}
	never := App{Name: "never", Target: time.Millisecond, Packets: packets(1000, late(1, 1000))}
	if got, ok := CleanAfter([]App{a, never}, start, end); ok {
		t.Errorf("CleanAfter = %v for a run that never was", got)
	}
	if _, ok := CleanAfter([]App{{Target: time.Millisecond}}, start, end); ok {
		t.Error("an unmeasured workload counts as clean")
	}
}

func TestFirstEffectiveCut(t *testing.T) {
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	changes := []LimitChange{
		{at(-50), "a", bitrate.Gbit, 50 * bitrate.Mbit},        // before the onset
		{at(100), "a", bitrate.Gbit, 500 * bitrate.Mbit},       // far above the usage
		{at(300), "a", 500 * bitrate.Mbit, 600 * bitrate.Mbit}, // a raise
		{at(400), "b", 0, 90 * bitrate.Mbit},                   // a limit where there was none
		{at(900), "a", 600 * bitrate.Mbit, 50 * bitrate.Mbit},
	}
	usage := func(string) bitrate.Rate { return 100 * bitrate.Mbit }
	if got, ok := FirstEffectiveCut(changes, start, usage); !ok || got != 400*time.Millisecond {
		t.Errorf("FirstEffectiveCut = %v, %v; want 400ms", got, ok)
	}
	if got, ok := FirstEffectiveCut(changes[:3], start, usage); ok {
		t.Errorf("FirstEffectiveCut = %v, want none", got)
	}
}
