package flight

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// line is one line of a file: it has one of the fields. A header holds for all
// that follows, a start for the steps of its mode.
type line struct {
	Header *Header   `json:"recording,omitempty"`
	Start  *start    `json:"start,omitempty"`
	Step   *stepLine `json:"step,omitempty"`
}

// start is where a run begins: its first step adds all that the law can see.
type start struct {
	Mode workload.ControlMode `json:"mode"`
	// Continues says that the state is the one after the step before, and Seen that what
	// was seen of those who are still recorded is what it was.
	Continues bool `json:"continues,omitempty"`
	Seen      bool `json:"seen,omitempty"`
	// Part are the nodes whose uplinks are recorded; none: all.
	Part  []string  `json:"part,omitempty"`
	State law.State `json:"state"`
}

type stepLine struct {
	Mode workload.ControlMode `json:"mode"`
	At   time.Time            `json:"at"`
	Cast *cast                `json:"cast,omitempty"` // where it changed
	Rest *rest                `json:"rest,omitempty"` // likewise; of parts
	news
	Plan decided `json:"plan"`
}

// decided is a plan.Plan, whose time is the step's.
type decided struct {
	Limits  []plan.Limit  `json:"limits,omitempty"`
	Reasons []plan.Reason `json:"reasons,omitempty"`
	Empty   []plan.PodID  `json:"empty,omitempty"`
	Idle    []plan.Idle   `json:"idle,omitempty"`
}

// WriteTo writes what is recorded as lines of JSON, one for each step. Steps
// that are recorded meanwhile are not in it.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) {
	kept, missed := r.snapshot()
	counted := &counter{w: w}
	buffered := bufio.NewWriterSize(counted, 1<<16)
	out := json.NewEncoder(buffered)
	var header *Header
	for i, g := range kept {
		if g.header != header {
			header = g.header
			told := *header
			told.Missed = missed
			if err := out.Encode(line{Header: &told}); err != nil {
				return counted.n, fmt.Errorf("write the recording: %w", err)
			}
		}
		after := i == 0 || g.number == kept[i-1].number+1
		for i := range g.steps {
			if err := r.write(out, &g.steps[i], after); err != nil {
				return counted.n, fmt.Errorf("write the recording: %w", err)
			}
		}
	}
	if err := buffered.Flush(); err != nil {
		return counted.n, fmt.Errorf("write the recording: %w", err)
	}
	return counted.n, nil
}

// snapshot is what is kept now. Steps are only ever added behind it.
func (r *Recorder) snapshot() (kept []segment, missed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.kept {
		kept = append(kept, *g)
	}
	return kept, r.missed
}

// write writes a step of a segment that follows the one written before, or does not.
func (r *Recorder) write(out *json.Encoder, s *step, follows bool) error {
	if s.start != nil {
		if err := out.Encode(line{Start: &start{s.mode, s.continues && follows, s.seen, s.part, *s.start}}); err != nil {
			return err
		}
	}
	return out.Encode(line{Step: &stepLine{
		Mode: s.mode, At: s.plan.plan.At, Cast: s.cast, Rest: s.rest, news: packed(s.news).unpack(),
		Plan: decided{s.plan.plan.Limits, s.plan.all(), s.plan.plan.Empty, s.plan.plan.Idle},
	}})
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// patience is how long one download may take.
const patience = time.Minute

// ServeHTTP answers with the recording, compressed for who asks for it; one at
// a time, since old segments stay in memory for as long as they are read.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !r.reading.TryLock() {
		http.Error(w, "the recording is being read: try again in a minute", http.StatusTooManyRequests)
		return
	}
	defer r.reading.Unlock()
	if kept, missed := r.snapshot(); len(kept) == 0 {
		why := "another replica leads, this one has just begun, or there is nothing to control; of many nodes only those are recorded that were in trouble"
		if missed > 0 {
			why = fmt.Sprintf("%d steps were too large for the %d octets that it may take", missed, r.limit())
		}
		http.Error(w, "nothing is recorded here: "+why, http.StatusNotFound)
		return
	}
	// Where there is no deadline to move there is none in the way.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
	h := w.Header()
	h.Set("Content-Type", "application/jsonl")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept-Encoding")
	if err := r.send(w, strings.Contains(req.Header.Get("Accept-Encoding"), "gzip")); err != nil {
		panic(http.ErrAbortHandler) // or half of it would look like all
	}
}

func (r *Recorder) send(w http.ResponseWriter, compress bool) error {
	if !compress {
		_, err := r.WriteTo(w)
		return err
	}
	w.Header().Set("Content-Encoding", "gzip")
	z, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := r.WriteTo(z); err != nil {
		return err
	}
	return z.Close()
}
