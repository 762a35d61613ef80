package flight

import (
	"os"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// testdata/onset.jsonl.gz is of "make demo": two pods fill an uplink of 200 Mbit/s, which
// carries 195 of it, with TCP. How fast the queue left after the cut to 77 Mbit/s tells
// 177 Mbit/s (155 where it is taken for one to 69), and what went through while it stood
// more. So more is tried for at once, in steps that make nobody late.
func TestARealOnset(t *testing.T) {
	file, err := os.Open("testdata/onset.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var cut, settled, tried time.Time
	var first, more bitrate.Rate
	err = Replay(file, asRecorded, func(r Replayed) error {
		for _, x := range r.Again.Reasons {
			switch {
			case x.Action == plan.Cut && cut.IsZero():
				cut = r.Observation.At
			case x.Action == plan.Grow && settled.IsZero():
				settled, first = r.Observation.At, x.To
			case x.Action == plan.Grow && tried.IsZero():
				tried, more = r.Observation.At, x.To
			}
		}
		return nil
	})
	switch {
	case err != nil:
		t.Fatal(err)
	case cut.IsZero() || settled.Sub(cut) > 500*time.Millisecond || first < 150*bitrate.Mbit || first > 195*bitrate.Mbit:
		t.Errorf("cut at %v, and settled at %v with %v", cut, settled, first)
	case tried.IsZero() || tried.Sub(settled) > time.Second:
		t.Errorf("settled at %v with %v, and more was tried for at %v", settled, first, tried)
	case more < first+first/200 || more > first+first/50:
		t.Errorf("from %v to %v is no small step", first, more)
	}
}
