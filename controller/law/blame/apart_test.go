package blame

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// bothWays is an app on n1 that is late on the way there from those of v1 and v2 that have a bit
// in there, and on the way back to those that have one in back.
func bothWays(there, back uint64) sense.Verdict {
	v := seen("a", "n1", "v1", "v2", there|back)
	v.Paths.ForwardLate = 0
	v.Paths.LateThere, v.Paths.LateBack, v.Paths.ClearBack = there, back, ^back&3
	v.Worst.Forward, v.Worst.Back = 0, 0
	if there != 0 {
		v.Worst.Forward = 40 * allowed
	}
	if back != 0 {
		v.Worst.Back = 40 * allowed
	}
	return v
}

func all(nodes ...string) Sending {
	sending := Sending{plan.Cluster: true}
	for _, node := range nodes {
		sending[plan.Uplink(node)] = true
	}
	return sending
}

func after(known []Diagnosis, v sense.Verdict, sending Sending) Diagnosis {
	return diagnose(known, func(plan.Bottleneck) bool { return true }, []sense.Verdict{v}, nil, nil, sending, time.Unix(0, 0))[0]
}

// Who is late both ways is so by several uplinks: its own, if all ways back are late, and those of
// the nodes it is late from, as far as anybody sends there.
func TestBothEndsOfALatePathAreBlamed(t *testing.T) {
	for name, tc := range map[string]struct {
		there, back uint64
		sending     Sending
		want        []string
	}{
		"both ways":                       {3, 3, all("n1", "v1", "v2", "n9"), []string{"n1", "v1", "v2"}},
		"from one, and all ways back":     {2, 3, all("n1", "v1", "v2", "n9"), []string{"n1", "v2"}},
		"nobody sends at one":             {3, 3, all("n1", "v2", "n9"), []string{"n1", "v2"}},
		"nobody sends at its own node":    {3, 3, all("v1", "v2", "n9"), []string{"v1", "v2"}},
		"on the way back alone":           {0, 3, all("n1", "v1", "v2", "n9"), []string{"n1"}},
		"on the way back to one, as well": {1, 1, all("n1", "v1", "v2", "n9"), []string{"v1"}},
	} {
		s, want := after(nil, bothWays(tc.there, tc.back), tc.sending), []plan.Bottleneck{}
		for _, node := range tc.want {
			want = append(want, plan.Uplink(node))
		}
		if got := s.blamed(); !slices.Equal(got, want) || s.Apart != (len(want) > 1) {
			t.Errorf("%s: %v are to blame, apart: %v, want %v", name, got, s.Apart, want)
		}
	}
}

// What comes to be late while another uplink is blamed is blamed, too: also where the whole cluster was.
func TestAnEndThatBecomesLateIsBlamedAsWell(t *testing.T) {
	sending := all("n1", "v1", "v2", "n9")
	for _, before := range []plan.Bottleneck{plan.Uplink("n1"), plan.Uplink("v1"), plan.Cluster} {
		known := []Diagnosis{{App: plan.PodID{Namespace: "factory", Name: "a"}, Bottleneck: before, Since: time.Unix(0, 0)}}
		s := after(known, bothWays(1, 3), sending)
		if got := s.blamed(); !slices.Equal(got, []plan.Bottleneck{plan.Uplink("n1"), plan.Uplink("v1")}) {
			t.Errorf("%v was to blame before, and now %v", before, got)
		}
	}
}

// Cuts in vain at one end have it blamed no more; the others are, as long as they are late, and
// the whole cluster only once none is.
func TestAnEndThatWasCutInVainIsBlamedNoMore(t *testing.T) {
	sending, v := all("n1", "v1", "v2", "n9"), bothWays(3, 3)
	c := Config{Backoff: time.Second, MaxBackoff: time.Minute}
	s := after(nil, v, sending)
	if _, moved := s.move(c, plan.Uplink("v1"), &v, sending, true, time.Unix(0, 0)); moved || s.blames(plan.Uplink("v1")) {
		t.Fatalf("%v are blamed after cuts in vain at v1; another one: %v", s.blamed(), moved)
	}
	if s = after([]Diagnosis{s}, v, sending); s.blames(plan.Uplink("v1")) || len(s.blamed()) != 2 {
		t.Fatalf("a look later %v are blamed", s.blamed())
	}
	if well := after([]Diagnosis{s}, bothWays(1, 0), sending); well.blames(plan.Uplink("v1")) || well.Apart {
		t.Fatalf("with the others well %v are blamed, apart: %v", well.blamed(), well.Apart)
	}
	if next, moved := s.move(c, plan.Uplink("n1"), &v, sending, true, time.Unix(0, 0)); moved {
		t.Fatalf("while it is late by v2 %v is blamed", next)
	}
	if next, moved := s.move(c, plan.Uplink("v2"), &v, sending, true, time.Unix(0, 0)); !moved || !next.Whole {
		t.Fatalf("with all three tried %v is blamed: %v", next, moved)
	}
}

// What is late by one end alone is not looked for at the other, whatever was thought while all was calm.
func TestAnEndThatIsWellIsNotBlamed(t *testing.T) {
	sending := all("n1", "v1", "v2", "n9")
	known := []Diagnosis{{App: plan.PodID{Namespace: "factory", Name: "a"}, Bottleneck: plan.Uplink("n1"), Since: time.Unix(0, 0)}}
	if s := after(known, bothWays(1, 0), sending); s.Bottleneck != plan.Uplink("v1") {
		t.Errorf("late from v1 alone, %v is to blame", s.Bottleneck)
	}
	known[0].Tried = []plan.Bottleneck{plan.Uplink("v1")} // in vain
	if s := after(known, bothWays(1, 0), sending); s.Bottleneck != plan.Uplink("n1") {
		t.Errorf("after cuts in vain at v1 %v is to blame", s.Bottleneck)
	}
}

// Once what it blames is well, and it is late by something else, that is looked for.
func TestWhoIsWellAtBothEndsLooksElsewhere(t *testing.T) {
	sending := all("n1", "v1", "v2", "n9")
	s := after(nil, bothWays(1, 3), sending)
	if s = after([]Diagnosis{s}, bothWays(1, 0), sending); !s.blames(plan.Uplink("v1")) || !s.Apart {
		t.Fatalf("late from v1 by now, %v are blamed", s.blamed())
	}
	if s = after([]Diagnosis{s}, bothWays(2, 0), sending); !slices.Equal(s.blamed(), []plan.Bottleneck{plan.Uplink("v2")}) || s.Apart {
		t.Fatalf("late from v2 by now, %v are blamed, apart: %v", s.blamed(), s.Apart)
	}
}
