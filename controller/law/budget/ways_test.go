package budget

import (
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/blame"
	"github.com/detnet/detnet/controller/law/queue"
)

// What was counted in windows longer than the queue stood may be of before and after it. Where the way up and the
// way down say the same of a link, which is clearly less, these are believed.
func TestWaysUpAndDownThatAgreeAreBelieved(t *testing.T) {
	up, down := queue.Way{Slope: 0.529, Inflow: 297 * mbit}, queue.Way{Slope: -0.428, Inflow: 111 * mbit} // both of 194M
	for name, tc := range map[string]struct {
		up, down queue.Way
		full     bitrate.Rate
		pinned   bool
		want     bitrate.Rate
	}{
		"they agree":                            {up, down, 222 * mbit, false, 194 * mbit},
		"they agree, and it may have overflown": {up, down, 222 * mbit, true, 194 * mbit},
		"nearly, and the greater counts":        {up, queue.Way{Slope: -0.445, Inflow: 111 * mbit}, 222 * mbit, false, 200 * mbit},
		"they do not":                           {up, queue.Way{Slope: -0.5, Inflow: 111 * mbit}, 240 * mbit, false, 240 * mbit},
		"the way up is unclear":                 {queue.Way{Inflow: 297 * mbit}, down, 222 * mbit, false, 222 * mbit},
		"the way down is":                       {up, queue.Way{Inflow: 111 * mbit}, 222 * mbit, false, 222 * mbit},
		"what was counted is about the same":    {up, down, 200 * mbit, false, 200 * mbit},
	} {
		turn, b := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}, Budget{Total: 110 * mbit, Trouble: Trouble{Rise: tc.up}}
		turn.measure(&b, episode{full: tc.full, down: tc.down, pinned: tc.pinned, fell: true})
		if got := b.Link.Capacity; !near(got, tc.want, 0.005) || !b.Link.Measured {
			t.Errorf("%s: %v fits, measured %v; want %v", name, got, b.Link.Measured, tc.want)
		}
	}
}

// A cut comes into force by and by where limiters let out what they hold: the line down is bent then, and less than what
// both the way up and what was counted say.
func TestABentWayDownIsNotBelieved(t *testing.T) {
	up, down := queue.Way{Slope: 0.5026, Inflow: 301 * mbit}, queue.Way{Slope: -0.325, Inflow: 120 * mbit} // of 200M, and of 178M
	for name, tc := range map[string]struct {
		up      queue.Way
		full    bitrate.Rate
		streams bool
		want    bitrate.Rate
	}{
		"what was counted says what the way up says": {up, 199 * mbit, true, 199 * mbit},
		"before another limiter":                     {up, 199 * mbit, false, 178 * mbit},
		"they differ":                                {up, 230 * mbit, true, 178 * mbit},
		"the way up is unclear":                      {queue.Way{Inflow: 301 * mbit}, 199 * mbit, true, 178 * mbit},
	} {
		turn, b := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}, Budget{Total: 120 * mbit, Trouble: Trouble{Rise: tc.up}}
		turn.Load.Streams = tc.streams
		turn.measure(&b, episode{full: tc.full, down: down, pinned: true, fell: true, long: true})
		if got := b.Link.Capacity; !near(got, tc.want, 0.005) {
			t.Errorf("%s: %v fits, want %v", name, got, tc.want)
		}
	}
}

// Under BPF host routing TCP slows down by and by as it is cut. A short way down that says less than both the way up and
// what was counted is not believed there; one that lasted, or that one of them bears out, is.
func TestAShortWayDownBelowTheOthersIsNotBelievedUnderHostRouting(t *testing.T) {
	up, down := queue.Way{Slope: 0.385, Inflow: 561 * mbit}, queue.Way{Slope: -0.455, Inflow: 165 * mbit} // of 405M, and of 303M
	for name, tc := range map[string]struct {
		up      queue.Way
		full    bitrate.Rate
		long    bool
		sockets bool
		want    bitrate.Rate
	}{
		"the way up says less than was counted": {up, 417 * mbit, false, true, 405 * mbit},
		"it says more":                          {up, 380 * mbit, false, true, 380 * mbit},
		"the way down lasted":                   {up, 417 * mbit, true, true, 303 * mbit},
		"the way up says no more":               {queue.Way{Slope: 0.9, Inflow: 561 * mbit}, 417 * mbit, false, true, 303 * mbit},
		"the way up is unclear":                 {queue.Way{Inflow: 561 * mbit}, 417 * mbit, false, true, 303 * mbit},
		"another limiter":                       {up, 417 * mbit, false, false, 303 * mbit},
	} {
		turn, b := Turn{Config: config, Now: t0, Opinion: &blame.Opinion{}}, Budget{Total: 165 * mbit, Trouble: Trouble{Rise: tc.up}}
		turn.Load.Sockets = tc.sockets
		turn.measure(&b, episode{full: tc.full, down: down, pinned: true, long: tc.long})
		if got := b.Link.Capacity; !near(got, tc.want, 0.005) {
			t.Errorf("%s: %v fits, want %v", name, got, tc.want)
		}
	}
}
