package controller

import (
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// collector has the garbage collector run in the second between two rounds while all is calm: a
// round that meets it takes twice as long. While rounds follow each other there is no such time, and
// the runtime chooses by itself, but later than usual. It is for one goroutine.
type collector struct {
	hurries bool // it chooses later
	usual   int  // GOGC, if so
	running atomic.Bool
	made    uint64    // octets, up to at
	at      time.Time // the last calm round ended
	most    float64   // octets that were made in a second, lately
}

// heap is what the runtime says of its heap, octets.
type heap struct {
	live uint64 // that the last collection left
	used uint64 // now, with what is garbage by now
	goal uint64 // of used, by which the next collection is to be done
	made uint64 // since the program began
}

func heapNow() heap {
	s := [...]metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/goal:bytes"}, {Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s[:])
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64(), s[2].Value.Uint64(), s[3].Value.Uint64()}
}

// hurried is GOGC while rounds follow each other: the processor is what somebody waits for then, and memory may be what
// the limit leaves of it.
const hurried = 200

// hurry is told whether the next round follows at once. Without a limit on memory all stays as it is.
func (c *collector) hurry(hurries bool) {
	switch {
	case hurries == c.hurries || debug.SetMemoryLimit(-1) == math.MaxInt64:
		return
	case hurries:
		if c.usual = debug.SetGCPercent(hurried); c.usual < 0 || c.usual > hurried {
			debug.SetGCPercent(c.usual) // it is later as it is
		}
	default:
		debug.SetGCPercent(c.usual)
	}
	c.hurries = hurries
}

// rested is told that a round has ended and the next is calmReports away. It waits for no collection.
func (c *collector) rested(now time.Time) {
	if c.due(heapNow(), now) && c.running.CompareAndSwap(false, true) {
		go func() {
			defer c.running.Store(false)
			runtime.GC()
		}()
	}
}

// Where the runtime begins to collect, and how what was made lately counts.
const (
	// begins is the least part of the way from what is live to the goal (minTriggerRatioDistance
	// of Go's pacer).
	begins = 0.7
	// forgets is what is left of the most that was made with each round: reports come unevenly.
	forgets = 0.9
)

// due reports whether the runtime would begin to collect before the next round has ended, as far as
// that can be told by what was made between others.
func (c *collector) due(h heap, now time.Time) bool {
	if !c.at.IsZero() {
		c.most = max(float64(h.made-c.made)/now.Sub(c.at).Seconds(), forgets*c.most)
	}
	c.made, c.at = h.made, now
	next := float64(h.used) + c.most*(calmReports+Period).Seconds()
	return next >= float64(h.live)+begins*(float64(h.goal)-float64(h.live))
}
