//go:build linux

package main

import (
	"encoding/csv"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/report"
	"github.com/detnet/detnet/agent/probe/stats"
)

// rows writes a line a packet, in the order of sending: a packet waits until all
// before it are answered or lost. A nil one does nothing.
type rows struct {
	csv     *csv.Writer
	several bool    // sessions: each line says whose it is
	waiting [][]row // by session, in the order of their numbers
}

type row struct {
	sent              time.Time
	sample            probe.Sample
	forward, backward time.Duration // above their base
	split             bool
}

func newRows(output string, out io.Writer, sessions []probe.Session) (*rows, error) {
	if output != "csv" {
		return nil, nil
	}
	r := &rows{csv: csv.NewWriter(out), several: len(sessions) > 1, waiting: make([][]row, len(sessions))}
	header := []string{"number", "sent", "lost", "rtt_ms", "raw_rtt_ms", "forward_ms", "backward_ms", "own_queue_ms"}
	if r.several {
		header = append(header, "target")
	}
	return r, r.csv.Write(header)
}

// add takes the samples of a session and writes what can no longer change.
func (r *rows) add(session int, now time.Time, result probe.Result, series *stats.Series) {
	if r == nil {
		return
	}
	held := r.waiting[session]
	for _, s := range result.Samples {
		next := row{sent: now.Add(-s.Age), sample: s}
		next.forward, next.backward, next.split = series.OneWay(s.Number)
		at, found := slices.BinarySearchFunc(held, s.Number, func(held row, number uint32) int {
			return int(int32(held.sample.Number - number))
		})
		if found {
			held[at] = next // corrected
		} else {
			held = slices.Insert(held, at, next)
		}
	}
	settled := now.Add(-result.Session.Timeout - 2*lookEvery)
	n := 0
	for n < len(held) && held[n].sent.Before(settled) {
		r.write(result.Session, held[n])
		n++
	}
	r.waiting[session] = slices.Delete(held, 0, n)
	if len(result.Samples) > 0 {
		r.csv.Flush() // an error stays with the writer until the end
	}
}

func (r *rows) write(s probe.Session, each row) {
	number := func(d time.Duration, has bool) string {
		if !has {
			return ""
		}
		return strconv.FormatFloat(report.Millis(d), 'f', 6, 64)
	}
	x := each.sample
	line := []string{
		strconv.FormatUint(uint64(x.Number), 10), each.sent.UTC().Format(time.RFC3339Nano), strconv.FormatBool(x.Lost),
		number(x.RTT, !x.Lost), number(x.RTT+x.Stay, !x.Lost),
		number(each.forward, each.split), number(each.backward, each.split), number(x.Queue, x.HasQueue),
	}
	if r.several {
		line = append(line, s.ID)
	}
	_ = r.csv.Write(line) // the error stays with the writer until the end
}

// finish writes what is left.
func (r *rows) finish(sessions []probe.Session) error {
	for i, held := range r.waiting {
		for _, each := range held {
			r.write(sessions[i], each) //nolint:gosec // as many wait as there are sessions
		}
	}
	r.csv.Flush()
	return r.csv.Error()
}
