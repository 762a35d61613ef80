package controller

import (
	"math"
	"runtime/debug"
	"testing"
	"time"
)

// While all is calm garbage is collected between rounds, as seldom as keeps the runtime from it
// during one: it begins with a heap of 170 MB at the earliest where 100 are live and the goal is 200.
func TestCollectsBetweenRoundsWhatWouldMeetOne(t *testing.T) {
	const mb = 1e6
	tests := []struct {
		name string
		made []uint64 // MB between the rounds, a second each
		due  []bool
	}{
		{"little is made", []uint64{1, 1, 1, 1}, []bool{false, false, false, false}},
		{"the next round would meet it", []uint64{20, 20, 20, 20}, []bool{false, false, true, true}},
		{"as would each", []uint64{40, 40}, []bool{true, true}},
		{"more may come than the last time", []uint64{32, 10}, []bool{false, true}},
		{"less comes by and by", []uint64{35, 0}, []bool{true, false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c collector
			now, h := time.Unix(0, 0), heap{live: 100 * mb, used: 100 * mb, goal: 200 * mb}
			if c.due(h, now) {
				t.Error("nothing is known yet")
			}
			for i, made := range tt.made {
				h.made += made * mb
				h.used += made * mb
				now = now.Add(calmReports)
				if due := c.due(h, now); due != tt.due[i] {
					t.Errorf("after %d MB in second %d: due %v", made, i+1, due)
				}
			}
		})
	}
}

// Where memory has a limit, garbage is collected later while rounds follow each other, and as early as before once they
// do not; without one nothing changes.
func TestCollectsLaterWhileRoundsFollowEachOther(t *testing.T) {
	usual := debug.SetGCPercent(50)
	defer debug.SetGCPercent(usual)
	percent := func() int { p := debug.SetGCPercent(50); debug.SetGCPercent(p); return p }
	for _, tt := range []struct {
		limit               int64
		calm, whileHurrying int
	}{{math.MaxInt64, 50, 50}, {1 << 40, 50, hurried}, {1 << 40, 400, 400}, {1 << 40, -1, -1}} {
		before := debug.SetMemoryLimit(tt.limit)
		debug.SetGCPercent(tt.calm)
		var c collector
		c.hurry(true)
		if c.hurry(true); percent() != tt.whileHurrying {
			t.Errorf("%+v: GOGC=%d in a hurry", tt, percent())
		}
		if c.hurry(false); percent() != tt.calm {
			t.Errorf("%+v: GOGC=%d when calm again", tt, percent())
		}
		debug.SetMemoryLimit(before)
	}
}

// Rounds that followed each other were no second each: what was made among them is not expected
// in one.
func TestExpectsWhatIsMadeInASecond(t *testing.T) {
	const mb = 1e6
	var c collector
	now := time.Unix(0, 0)
	c.due(heap{live: 100 * mb, used: 100 * mb, goal: 200 * mb}, now)
	if c.due(heap{live: 100 * mb, used: 120 * mb, goal: 200 * mb, made: 400 * mb}, now.Add(10*time.Second)) {
		t.Error("400 MB in ten seconds count as if they came in one")
	}
}
