package sim

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/detnet/detnet/quantile"
)

// The steps that a trace may have, no shorter than the law's own, and its values.
const (
	minTraceStep, maxTraceStep = traceLoop, time.Hour
	maxTraceValues             = 5_000_000
	packetStep                 = time.Second // of a trace made from packets
)

// Columns by which a trace is read: times since any beginning in seconds, or in
// RFC 3339, and what was measured then.
var (
	timeColumns  = []string{"seconds", "timestamp", "time", "sent"}
	valueColumns = []string{"jitter_ms", "jitter_seconds", "rtt_ms"}
)

// ReadTrace reads a trace from CSV with a header: a time and a jitter in each line, in
// even steps from 100 ms to an hour, where lines may be missing; or a packet in each
// line, as "detnet probe -o csv" writes them, of which each second's 95th percentile
// above the least round trip is taken. An empty value means that nothing was measured.
func ReadTrace(name string, r io.Reader) (Trace, error) {
	t, err := readTrace(csv.NewReader(r))
	if err != nil {
		return Trace{}, fmt.Errorf("read trace %s: %w", name, err)
	}
	t.Name, t.About = name, "from "+name
	return t, nil
}

// row is one line of a trace.
type row struct {
	line   int
	at     float64 // seconds
	value  float64 // ms; −1: nothing was measured
	target string
}

func readTrace(r *csv.Reader) (Trace, error) {
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return Trace{}, errors.New("want a header and at least two lines, got nothing")
	}
	if err != nil {
		return Trace{}, err
	}
	c, err := columnsOf(header)
	if err != nil {
		return Trace{}, err
	}
	var rows []row
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Trace{}, err
		}
		line, _ := r.FieldPos(0)
		next, err := c.row(record)
		if err != nil {
			return Trace{}, fmt.Errorf("line %d, %w", line, err)
		}
		next.line = line
		rows = append(rows, next)
	}
	if len(rows) < 2 {
		return Trace{}, fmt.Errorf("want at least two lines behind the header, got %d", len(rows))
	}
	begin := rows[0].at
	if c.packets {
		begin = slices.MinFunc(rows, func(a, b row) int { return int(math.Copysign(1, a.at-b.at)) }).at
	}
	for i := range rows {
		rows[i].at -= begin
	}
	if c.packets {
		return ofPackets(rows)
	}
	return evenly(rows)
}

// columns is where what is in a line.
type columns struct {
	time, value, target int // −1: there is none
	names               []string
	scale               float64 // to ms
	packets             bool
}

func columnsOf(header []string) (columns, error) {
	c := columns{names: slices.Clone(header), scale: 1}
	if _, err := strconv.ParseFloat(header[0], 64); err == nil {
		return c, fmt.Errorf("line 1: want a header, such as seconds,jitter_ms, got %q", header)
	}
	find := func(what string, names []string) (int, error) {
		for _, name := range names {
			if i := slices.Index(header, name); i >= 0 {
				return i, nil
			}
		}
		return -1, fmt.Errorf("line 1: want a column of %s, named %s; got %s", what, strings.Join(names, " or "), strings.Join(header, ", "))
	}
	var err error
	if c.time, err = find("times", timeColumns); err != nil {
		return c, err
	}
	if c.value, err = find("what was measured", valueColumns); err != nil {
		return c, err
	}
	c.target = slices.Index(header, "target")
	switch header[c.value] {
	case "jitter_seconds":
		c.scale = 1000
	case "rtt_ms":
		c.packets = true
	}
	return c, nil
}

func (c columns) row(record []string) (row, error) {
	at, err := timeOf(record[c.time])
	if err != nil {
		return row{}, fmt.Errorf("%s: %w", c.names[c.time], err)
	}
	next := row{at: at, value: -1}
	if text := record[c.value]; text != "" && text != "NaN" {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= 0 && v*c.scale <= 1e6) {
			return row{}, fmt.Errorf("%s: %q must be a number from 0 to %g", c.names[c.value], text, 1e6/c.scale)
		}
		next.value = v * c.scale
	}
	if c.target >= 0 {
		next.target = record[c.target]
	}
	return next, nil
}

// timeOf reads seconds, since whenever, or a time as RFC 3339 has it.
func timeOf(text string) (float64, error) {
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && v >= 0 && v <= 1e11 {
		return v, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return float64(t.UnixMicro()) / 1e6, nil
	}
	return 0, fmt.Errorf("%q must be seconds from 0 to 1e11, or a time such as 2026-01-01T00:00:00Z", text)
}

// evenly makes a trace of lines in even steps, the shortest there is; what is missing in
// between was not measured.
func evenly(rows []row) (Trace, error) {
	step := math.Inf(1)
	for i := 1; i < len(rows); i++ {
		step = min(step, rows[i].at-rows[i-1].at)
	}
	every := time.Duration(step * float64(time.Second)).Round(time.Millisecond)
	if every < minTraceStep || every > maxTraceStep {
		return Trace{}, fmt.Errorf("the steps must be from %v to %v, and forward; the shortest is %v", minTraceStep, maxTraceStep, every)
	}
	t := Trace{Every: every}
	for i, r := range rows {
		place := r.at / every.Seconds()
		n := int(math.Round(place))
		if math.Abs(place-float64(n)) > 0.05+0.001*float64(i) || n < len(t.Value) {
			return Trace{}, fmt.Errorf("line %d: the steps must be even, a multiple of %v after the first; this is %gs after it", r.line, every, r.at)
		}
		if n >= maxTraceValues {
			return Trace{}, fmt.Errorf("line %d: more than %d steps of %v", r.line, maxTraceValues, every)
		}
		for len(t.Value) < n {
			t.Value = append(t.Value, -time.Millisecond)
		}
		t.Value = append(t.Value, time.Duration(r.value*float64(time.Millisecond)))
	}
	return t, nil
}

// ofPackets makes a trace of round trips: each second has that of the target that is
// worst off.
func ofPackets(rows []row) (Trace, error) {
	t := Trace{Every: packetStep}
	least := map[string]float64{}
	bins := map[string][][]time.Duration{}
	for _, r := range rows {
		n := int(r.at / packetStep.Seconds())
		if n >= maxTraceValues {
			return t, fmt.Errorf("line %d: more than %d seconds after the first packet", r.line, maxTraceValues)
		}
		for len(t.Value) <= n {
			t.Value = append(t.Value, -time.Millisecond)
		}
		if r.value < 0 {
			continue
		}
		if before, known := least[r.target]; !known || r.value < before {
			least[r.target] = r.value
		}
		for len(bins[r.target]) <= n {
			bins[r.target] = append(bins[r.target], nil)
		}
		bins[r.target][n] = append(bins[r.target][n], time.Duration(r.value*float64(time.Millisecond)))
	}
	if len(t.Value) < 2 {
		return t, fmt.Errorf("want packets of more than %v", packetStep)
	}
	for target, seconds := range bins {
		base := time.Duration(least[target] * float64(time.Millisecond))
		for n, trips := range seconds {
			if len(trips) > 0 {
				slices.Sort(trips)
				t.Value[n] = max(t.Value[n], quantile.Of(trips, 0.95)-base)
			}
		}
	}
	return t, nil
}
