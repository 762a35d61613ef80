package text

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/detnet/detnet/controller/flight"
	"github.com/detnet/detnet/controller/status"
)

// Replay writes the decisions of a replay as a table. One that differs from
// what was recorded is marked, and the recorded one follows.
func Replay(out io.Writer, all []flight.Decision) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, " \tTIME (UTC)\tBOTTLENECK\tACTION\tCAUSE\tUSAGE\tBUDGET\tBECAUSE\tLIMITS\n")
	for _, d := range all {
		mark := " "
		if d.Differs {
			mark = "≠"
		}
		replayRow(w, mark, d.At.UTC().Format("15:04:05.000"), d.Decision)
		switch {
		case d.Recorded != nil:
			replayRow(w, "", "  recorded", *d.Recorded)
		case d.Differs:
			fmt.Fprint(w, "\t  recorded\t\tnothing\t\t\t\t\t\n")
		}
	}
	return w.Flush()
}

func replayRow(w io.Writer, mark, when string, d status.Decision) {
	if d.Action == "" {
		fmt.Fprintf(w, "%s\t%s\t%s\tnothing\t\t\t\t\t\n", mark, when, d.Bottleneck)
		return
	}
	budget := limit(d.ToBps)
	if d.FromBps != d.ToBps {
		budget = limit(d.FromBps) + " → " + budget
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, when, d.Bottleneck, action(d.Reason), d.Cause, rate(d.UsageBps), budget, because(d.Reason), limits(d.Limits))
}
