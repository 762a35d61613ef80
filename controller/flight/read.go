package flight

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Bounds of what is read.
const (
	maxLine    = 64 << 20
	maxHistory = 10_000 // samples or rates of one path or sender; agents keep 2,000
)

// Step is one step as it was recorded.
type Step struct {
	Header *Header // the same for as long as the same decides
	Mode   workload.ControlMode
	// Start is the law's state before the step where the recording has it.
	// Continues says that it is also the one after the step before.
	Start     *law.State
	Continues bool
	// Part are the nodes whose uplinks are recorded, nil: all; Elsewhere is what counts of
	// the others, and Partly are those of Part about which a replay may decide otherwise.
	Part, Partly []string
	Elsewhere    *plan.Elsewhere
	Observation  plan.Observation
	Plan         plan.Plan
}

// Reader reads a recording. Several in a row are a recording too.
type Reader struct {
	lines  *bufio.Scanner
	line   int
	header *Header
	runs   map[workload.ControlMode]*run
}

// run is what is known of one mode's steps.
type run struct {
	start   *start
	part    []string
	rest    rest
	history history
}

// NewReader reads from r, compressed by gzip or not.
func NewReader(r io.Reader) (*Reader, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	var plain io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("decompress the recording: %w", err)
		}
		plain = z
	}
	lines := bufio.NewScanner(plain)
	lines.Buffer(nil, maxLine)
	return &Reader{lines: lines, runs: map[workload.ControlMode]*run{}}, nil
}

// Next returns the next step, or io.EOF behind the last. Any other error names
// the line, and nothing follows.
func (r *Reader) Next() (Step, error) {
	for r.lines.Scan() {
		r.line++
		if len(bytes.TrimSpace(r.lines.Bytes())) == 0 {
			continue
		}
		s, err := r.read(r.lines.Bytes())
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) && r.header != nil && !r.lines.Scan() {
			err = errCut
		}
		if err != nil {
			return Step{}, fmt.Errorf("line %d: %w", r.line, err)
		}
		if s != nil {
			return *s, nil
		}
	}
	switch err := r.lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return Step{}, fmt.Errorf("line %d is longer than %d MiB: this is no recording of detnet", r.line+1, maxLine>>20)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Step{}, fmt.Errorf("line %d: %w", r.line+1, errCut)
	case err != nil:
		return Step{}, fmt.Errorf("line %d: %w", r.line+1, err)
	case r.header == nil:
		return Step{}, errors.New("the recording is empty: fetch it again from a controller that leads")
	}
	return Step{}, io.EOF
}

var (
	errNotRecording = errors.New(`want a recording as "detnet record" writes it`)
	errCut          = errors.New("the recording ends too early: fetch it again")
)

// read takes in one line, and returns the step that it completes.
func (r *Reader) read(text []byte) (*Step, error) {
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRecording, err)
	}
	switch {
	case l.Header != nil && l.Header.Format >= oldest && l.Header.Format <= format:
		r.header = l.Header
		return nil, nil
	case l.Header != nil:
		return nil, fmt.Errorf("the recording has format %d, and this version reads %d to %d: use the detnet that recorded it (%s)", l.Header.Format, oldest, format, l.Header.Version)
	case r.header == nil:
		return nil, fmt.Errorf("%w: its first line says what decided", errNotRecording)
	case l.Start != nil:
		next := &run{start: l.Start, part: l.Start.Part}
		if known := r.runs[l.Start.Mode]; known != nil && l.Start.Seen {
			next.history = known.history
		}
		r.runs[l.Start.Mode] = next
		return nil, nil
	case l.Step != nil:
		return r.step(l.Step)
	}
	return nil, fmt.Errorf("%w: this is neither recording, start nor step", errNotRecording)
}

// UnmarshalJSON gives constants that the recorder did not know their defaults.
func (h *Header) UnmarshalJSON(text []byte) error {
	type plain Header
	p := plain{Config: law.DefaultConfig()}
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	*h = Header(p)
	return nil
}

func (r *Reader) step(l *stepLine) (*Step, error) {
	known := r.runs[l.Mode]
	if known == nil {
		return nil, fmt.Errorf("%w: the steps of mode %q have no start", errNotRecording, l.Mode)
	}
	if l.Rest != nil {
		known.rest = *l.Rest
	}
	if l.Cast != nil {
		if slices.Contains(l.Cast.Apps, nil) || slices.Contains(l.Cast.Senders, nil) {
			return nil, fmt.Errorf("%w: somebody in the cast is null", errNotRecording)
		}
		known.history.recast(l.Cast)
	}
	if known.history.cast == nil {
		return nil, fmt.Errorf("%w: the first step has no cast", errNotRecording)
	}
	if err := known.history.learn(l.news, l.At); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotRecording, err)
	}
	s := &Step{
		Header: r.header, Mode: l.Mode, Observation: known.history.observation(),
		Plan: plan.Plan{At: l.At, Limits: l.Plan.Limits, Reasons: l.Plan.Reasons, Empty: l.Plan.Empty, Idle: l.Plan.Idle},
	}
	s.Observation.At = l.At
	if known.part != nil {
		elsewhere := known.rest.Elsewhere
		s.Part, s.Partly, s.Elsewhere = known.part, known.rest.Partly, &elsewhere
	}
	for _, limit := range s.Plan.Limits {
		if limit.Reason < 0 || limit.Reason >= len(s.Plan.Reasons) {
			return nil, fmt.Errorf("%w: a limit of %s has reason %d of %d", errNotRecording, limit.Pod, limit.Reason, len(s.Plan.Reasons))
		}
	}
	if known.start != nil {
		s.Start, s.Continues, known.start = &known.start.State, known.start.Continues, nil
	}
	return s, nil
}

// learn takes in what is new.
func (h *history) learn(n news, now time.Time) error {
	for _, d := range n.Samples {
		if d.Of < 0 || d.Of >= len(h.samples) {
			return fmt.Errorf("samples of path %d of %d", d.Of, len(h.samples))
		}
		all, err := apply(h.samples[d.Of], d, now, sampleOf)
		if err != nil {
			return fmt.Errorf("samples of path %d: %w", d.Of, err)
		}
		h.samples[d.Of] = all
	}
	for _, d := range n.Rates {
		if d.Of < 0 || d.Of >= len(h.rates) {
			return fmt.Errorf("rates of sender %d of %d", d.Of, len(h.rates))
		}
		all, err := apply(h.rates[d.Of], d, now, rateOf)
		if err != nil {
			return fmt.Errorf("rates of sender %d: %w", d.Of, err)
		}
		h.rates[d.Of] = all
	}
	for _, l := range n.Limits {
		if l[0] < 0 || l[0] >= int64(len(h.limits)) {
			return fmt.Errorf("limit of sender %d of %d", l[0], len(h.limits))
		}
		h.limits[l[0]] = bitrate.Rate(l[1])
	}
	for _, b := range n.Bases {
		if b[0] < 0 || b[0] >= int64(len(h.bases)) {
			return fmt.Errorf("base of path %d of %d", b[0], len(h.bases))
		}
		h.bases[b[0]] = baseOf(b)
	}
	return nil
}

// apply makes of what was seen what is seen now.
func apply[T any](was []T, d delta, now time.Time, parse func([]int64, time.Time) (T, error)) ([]T, error) {
	if d.Drop < 0 || d.Drop > len(was) {
		return nil, fmt.Errorf("%d of %d are dropped", d.Drop, len(was))
	}
	was = was[d.Drop:]
	is := make([]T, 0, len(was))
	for _, a := range d.Add {
		if a.Skip < 0 || a.Skip > len(was) {
			return nil, fmt.Errorf("%d of %d are skipped", a.Skip, len(was))
		}
		is = append(is, was[:a.Skip]...)
		was = was[a.Skip:]
		for _, numbers := range a.Rows {
			item, err := parse(numbers, now)
			if err != nil {
				return nil, err
			}
			is = append(is, item)
		}
	}
	if is = append(is, was...); len(is) > maxHistory {
		return nil, fmt.Errorf("%d are more than %d", len(is), maxHistory)
	}
	return slices.Clip(is), nil
}

func sampleOf(v []int64, now time.Time) (plan.Sample, error) {
	var s plan.Sample
	switch len(v) {
	case 1:
		s.Lost = true
	case 2:
		s.RTT = time.Duration(v[1])
	case columns:
		s.RTT, s.HasOneWay = time.Duration(v[1]), true
		s.Forward = time.Duration(v[2]) // what is left of the round trip is the way back
	default:
		return s, fmt.Errorf("a sample of %d numbers", len(v))
	}
	s.At = plan.At(now.Add(-time.Duration(v[0])))
	return s, nil
}

func rateOf(v []int64, now time.Time) (plan.TxRate, error) {
	r := plan.TxRate{}
	switch len(v) {
	case 2:
	case 3:
		r.Out = bitrate.Rate(v[2])
	default:
		return r, fmt.Errorf("a rate of %d numbers", len(v))
	}
	r.At, r.Tx = plan.At(now.Add(-time.Duration(v[0]))), bitrate.Rate(v[1])
	return r, nil
}
