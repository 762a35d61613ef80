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
	for i, r := range []struct{ sent, delay, want time.Duration }{
		{1 * ms, 5 * ms, 5 * ms}, // the first is as good as any
		{100 * ms, 2 * ms, 2 * ms},
		{200 * ms, 42 * ms, 2 * ms}, // a full queue
		{300 * ms, 140 * ms, 2 * ms},
		{350 * ms, 91 * ms, 2 * ms}, // all at once
		{400 * ms, 42 * ms, 2 * ms},
		{9 * time.Second, 5 * time.Second, 3 * time.Second}, // no more than that is believed
		{19 * time.Second, 3 * ms, 2 * ms},
		{40 * time.Second, 4 * ms, 3 * ms}, // the clock drifts: of long ago counts nothing
		{60 * time.Second, 6 * ms, 4 * ms},
	} {
		got, err := c.sent(&api.Report{SentUs: uint64(r.sent.Microseconds())}, start.Add(r.sent+r.delay))
		if want := start.Add(r.sent + r.want); err != nil || !got.Equal(want) {
			t.Errorf("report %d is dated %v (%v), want %v", i, got.Sub(start), err, want.Sub(start))
		}
	}
	if _, err := c.sent(&api.Report{SentUs: 1}, start.Add(time.Hour)); !errors.Is(err, errClock) {
		t.Errorf("a clock that went back: %v", err)
	}
	now := start.Add(2 * time.Hour)
	if got, err := c.sent(&api.Report{SentUs: math.MaxUint64}, now); err != nil || now.Sub(got) > mostDelay || got.After(now) {
		t.Errorf("a clock of a hundred years: %v, %v", got, err)
	}
	if got, err := c.sent(&api.Report{}, now); err != nil || !got.Equal(now) {
		t.Errorf("an agent that says nothing: %v, %v", got, err)
	}
}
