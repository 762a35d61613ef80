package budget

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// What leaves the node besides what its pods send is others': what fits is what they leave of the link. What is little
// counts for nothing, nor does what may have waited since a raise.
func TestAQueueIsMeasuredBesideOthersThatAreSeen(t *testing.T) {
	for name, tt := range map[string]struct {
		others  bitrate.Rate
		raised  bool
		sockets bool // and little counts
		want    bitrate.Rate
	}{
		"nobody tells":         {0, false, false, 250 * mbit},
		"others send":          {100 * mbit, false, false, 233 * mbit},
		"others send a little": {40 * mbit, false, false, 250 * mbit},
		"others send a little, under BPF host routing":  {40 * mbit, false, true, 243 * mbit},
		"next to nothing, as by other headers":          {15 * mbit, false, true, 250 * mbit},
		"after a raise":                                 {100 * mbit, true, false, 250 * mbit},
		"after a raise, under BPF host routing as well": {100 * mbit, true, true, 250 * mbit},
	} {
		b, turn, see := youngQueue(300*mbit, func(at time.Duration) time.Duration { return (at + 200*ms) / 5 })
		see(-200, -20)
		turn.Load.Sockets = tt.sockets
		b.Link.Upper = 300 * mbit
		if tt.others > 0 {
			turn.Load.Out, turn.Load.Others = 300*mbit+tt.others, tt.others
		}
		rise := turn.rise(&b, tt.raised)
		if got := rise.Alone(); !near(got, tt.want, 0.01) {
			t.Errorf("%s: %v fit, want %v", name, got, tt.want)
		}
		if seen := b.Link.Others > 0; seen != (tt.want != 250*mbit) {
			t.Errorf("%s: others are taken to have %v", name, b.Link.Others)
		}
	}
}

// Where nobody gets anything, what others do not use any more is given out as soon as it is enough for one; where they come
// and go it is not each time.
func TestWhatOthersLeaveIsGivenToWhoGetsNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*Turn, *Budget)
		want   bitrate.Rate
	}{
		"others leave":            {func(*Turn, *Budget) {}, 200 * mbit},
		"they stay":               {func(turn *Turn, _ *Budget) { turn.Load.Others = 100 * mbit }, 100 * mbit},
		"not enough for one":      {func(turn *Turn, _ *Budget) { turn.Load.Lacks = 150 * mbit }, 100 * mbit},
		"what there is is used":   {func(turn *Turn, _ *Budget) { turn.Load.Peak = 90 * mbit }, 100 * mbit},
		"the last raise is young": {func(_ *Turn, b *Budget) { b.Search.Raised = t0.Add(-100 * ms) }, 100 * mbit},
		"they had left before":    {func(_ *Turn, b *Budget) { b.Search.Vacated, b.Link.Falls, b.Link.Fell = t0.Add(-15*time.Second), 2, t0 }, 100 * mbit},
		"that is a while ago":     {func(_ *Turn, b *Budget) { b.Search.Vacated, b.Link.Falls, b.Link.Fell = t0.Add(-25*time.Second), 2, t0 }, 200 * mbit},
	} {
		turn, b := futile()
		b.Phase, b.Search.Even, b.Search.At = plan.Settled, false, t0.Add(time.Hour)
		b.Link.Capacity, b.Link.Others = bitrate.Scale(100*mbit, 1/config.Settle), bitrate.Scale(100*mbit, 1/config.Settle)
		b.Total, turn.Load.Lacks, turn.Load.Limits = 100*mbit, 20*mbit, 100*mbit
		tt.change(&turn, &b)
		if turn.grow(&b); !near(b.Total, tt.want, 0.001) {
			t.Errorf("%s: %v, want %v", name, b.Total, tt.want)
		}
	}
}

// Who does not slow down is not seen to obey a cut. That it is in force shows by what leaves the node, if it was more.
func TestACutIsSeenByWhatLeavesTheNode(t *testing.T) {
	for name, tt := range map[string]struct {
		out    bitrate.Rate
		waited bool
	}{
		"nobody tells":        {0, true},
		"as much as before":   {300 * mbit, true},
		"no more than it let": {205 * mbit, false},
	} {
		b, turn, _ := youngQueue(100*mbit, func(time.Duration) time.Duration { return 3 * ms })
		turn.Pending, turn.Load.Limits, turn.Load.Out = true, 100*mbit, tt.out
		b.Link.Others, b.Link.EffectBy = 100*mbit, t0.Add(-time.Second)
		if got := turn.emptying(&b); got != tt.waited {
			t.Errorf("%s: it is waited for: %v", name, got)
		}
	}
}
