package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/detnet/detnet/test/scene"
)

// lateShare of violations in one second marks a workload as late.
const lateShare = 0.05

// viewer shows a run while it goes on.
type viewer interface {
	tell(format string, args ...any) // a line of what is being done
	tick(scene.Tick)                 // one second of a phase
	close()                          // before the report is printed
}

// plain writes a line for everything: for pipes, logs and CI.
type plain struct{ w io.Writer }

func (v plain) tell(format string, args ...any) { fmt.Fprintf(v.w, format+"\n", args...) }

func (v plain) close() {}

func (v plain) tick(t scene.Tick) {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %3.0fs", t.Phase, t.Elapsed.Seconds())
	for _, a := range t.Apps {
		mark := "ok"
		if a.ViolationRatio >= lateShare {
			mark = "LATE"
		}
		fmt.Fprintf(&b, " | %s p50 %5.2f p99 %5.2f ms %-4s", a.Name, a.P50, a.P99, mark)
	}
	for _, s := range t.Senders {
		fmt.Fprintf(&b, " | %s %5.1f Mbit/s recorded limit %s", s.Name, s.Goodput.Mbit(), limitText(s))
	}
	fmt.Fprintln(v.w, b.String())
}

func limitText(s scene.SenderTick) string {
	if s.Limit == 0 {
		return "none"
	}
	return s.Limit.String()
}
