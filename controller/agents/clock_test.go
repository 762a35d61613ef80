package agents

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/api"
)

// What waited on its way is dated as if it had not: reports that were held up arrive
// together, and tell of different times.
func TestReportsAreDatedByWhenTheyWereSent(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	const ms = time.Millisecond
	var c clock
	for i, r := range []struct {
		sent, delay, want time.Duration
		old               bool
	}{
		{1 * ms, 5 * ms, 5 * ms, false}, // the first is as good as any
		{100 * ms, 2 * ms, 2 * ms, false},
		{200 * ms, 42 * ms, 2 * ms, false}, // a full queue
		{300 * ms, 140 * ms, 2 * ms, false},
		{350 * ms, 91 * ms, 2 * ms, false}, // all at once
		{400 * ms, 42 * ms, 2 * ms, false},
		{9 * time.Second, 5 * time.Second, 3 * time.Second, true}, // no more than that is believed
		{19 * time.Second, 3 * ms, 2 * ms, false},
		{40 * time.Second, 4 * ms, 3 * ms, false}, // the clock drifts: of long ago counts nothing
		{60 * time.Second, 6 * ms, 4 * ms, false},
	} {
		got, old, err := c.sent(&api.Report{SentUs: uint64(r.sent.Microseconds())}, start.Add(r.sent+r.delay))
		if want := start.Add(r.sent + r.want); err != nil || !got.Equal(want) || old != r.old {
			t.Errorf("report %d is dated %v, old: %v (%v), want %v, %v", i, got.Sub(start), old, err, want.Sub(start), r.old)
		}
	}
	if _, _, err := c.sent(&api.Report{SentUs: 1}, start.Add(time.Hour)); !errors.Is(err, errClock) {
		t.Errorf("a clock that went back: %v", err)
	}
	now := start.Add(2 * time.Hour)
	if got, _, err := c.sent(&api.Report{SentUs: math.MaxUint64}, now); err != nil || now.Sub(got) > mostDelay || got.After(now) {
		t.Errorf("a clock of a hundred years: %v, %v", got, err)
	}
	if got, old, err := c.sent(&api.Report{}, now); err != nil || old || !got.Equal(now) {
		t.Errorf("an agent that says nothing: %v, %v", got, err)
	}
}
