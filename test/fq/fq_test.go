package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/detnet/detnet/test/fq/debian"
	"github.com/detnet/detnet/test/fq/figure"
	"github.com/detnet/detnet/test/sandbox/assets"
)

// needGuest skips where the emulator and the kernel are not unpacked yet: they
// are 150 MB of Debian's packages.
func needGuest(t *testing.T) {
	t.Helper()
	needUnpacked(t, "vm", "QEMU and Debian's kernel")
}

// needUnpacked skips where a folder below the cache is not there yet. "make test-fq"
// has it fetched.
func needUnpacked(t *testing.T, folder, what string) {
	t.Helper()
	if os.Getenv("DETNET_TEST_FQ") != "" {
		return
	}
	cache, err := assets.Open()
	if err != nil {
		t.Fatal(err)
	}
	if !debian.Unpacked(filepath.Join(string(cache), folder)) {
		t.Skip(what + " are not in the cache: make test-fq fetches them")
	}
}

func play(t *testing.T, r Run) map[string]figure.Values {
	t.Helper()
	figures, err := Play(t.Context(), r, testing.Verbose())
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]figure.Values{}
	for _, f := range figures {
		by[f.Scenario+"/"+f.Case] = f.Values
	}
	return by
}

// The production law, with the agent's meter and probes, behind limits like Cilium's and
// before a link of 200 Mbit/s that real TCP fills: it cuts at once, and goes by way of little
// to nearly all that fits through. Of 4 s, 0.4 s are late at the onset, and some more on the
// way, which takes one round or three, by when what happens: any change of the program may
// move that for one seed, so the median of five counts.
func TestLawBeforeFQ(t *testing.T) {
	needGuest(t)
	if v := medians(t, Run{Play: "demo/tcp", Seconds: 4}, 5); v["late_percent"] > 20 || v["best_effort_mbit"] < 100 || v["writes"] > 14 {
		t.Error(v)
	}
}

// medians plays the demo with several seeds: a queue that is seen a moment sooner is another way up, and so is
// any other build of the guest's program. The first cut comes soon in each.
func medians(t *testing.T, run Run, seeds int) figure.Values {
	t.Helper()
	of, median := map[string][]float64{}, figure.Values{}
	for seed := range seeds {
		run.Seed = seed + 1
		v := play(t, run)[run.Play]
		if v["first_cut_ms"] <= 0 || v["first_cut_ms"] > 500 {
			t.Errorf("seed %d: first cut after %v ms", run.Seed, v["first_cut_ms"])
		}
		for name := range v {
			of[name] = append(of[name], v[name])
		}
	}
	t.Log(of)
	for name, values := range of {
		slices.Sort(values)
		median[name] = values[len(values)/2]
	}
	return median
}

// detnet's agents as programs of their own, with their streams to the controller's loop,
// cut as soon: what is late is reported before its time.
func TestAgentsBeforeFQ(t *testing.T) {
	needGuest(t)
	is := between(t, play(t, Run{Play: "agents/tcp", Seconds: 2, Seed: 1}))
	is("the first cut comes at once", "agents/tcp", "first_cut_ms", 1, 500)
	is("limits move again", "agents/tcp", "writes", 4, 40)
	is("best effort goes on", "agents/tcp", "best_effort_mbit", 50, 200)
	is("little is late but the onset and the way up", "agents/tcp", "late_percent", 0, 40)
}

// The same seed gives the same figures to the last digit, another one others.
func TestGuestIsDeterministic(t *testing.T) {
	needGuest(t)
	run := Run{Play: "throughput/tcp-4", Seconds: 0.7, Seed: 7}
	first := play(t, run)
	if again := play(t, run); !reflect.DeepEqual(first, again) {
		t.Errorf("with the same seed %v and %v", first, again)
	}
	run.Seed = 8
	if other := play(t, run); reflect.DeepEqual(first, other) {
		t.Errorf("with another seed the same: %v", other)
	}
}
