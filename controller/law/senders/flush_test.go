package senders

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
)

// A limit that was made low for a change, and is to be no other after it, has been changed
// once what waited is gone; one that is to be raised waits for that.
func TestAChangeToTheLowLimitEnds(t *testing.T) {
	pod := plan.PodID{Namespace: "office", Name: "a"}
	for to, ends := range map[bitrate.Rate]bool{mbit: true, mbit + 50*bitrate.Kbit: true, mbit + 100*bitrate.Kbit: false} {
		known := []Flush{{Pod: pod, At: t0, Was: 5 * mbit, To: to}}
		s := []plan.Sender{{Pod: pod, Limit: Low(5 * mbit)}}
		for _, after := range []time.Duration{100 * ms, 3 * time.Second} {
			known = Feedback{}.flushed(known, s, t0.Add(after))
			if gone := len(known) == 0; gone != (ends && after > time.Second) {
				t.Errorf("to %v, after %v: ended %v", to, after, gone)
			}
		}
	}
}
