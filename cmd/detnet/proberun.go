//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/report"
	"github.com/detnet/detnet/agent/probe/stats"
)

const (
	// window is how many of the newest packets the percentiles are of, of all
	// sessions together.
	window = 100_000
	// recent is how many the live line is of: it costs the same after an hour.
	recent = 1000
	// lookEvery and showEvery are how often results are collected and shown.
	lookEvery = 100 * time.Millisecond
	showEvery = 500 * time.Millisecond
	// patience is how many tries in a row may fail before a measurement that is to
	// end by itself gives up; with the back-off between them, about two seconds.
	patience = 5
)

var (
	errNoAnswer = errors.New("no packet was answered")
	errSilence  = fmt.Errorf("%w, and nothing says why: no host there, a firewall, or a reflector that answers others only (another key, --allow)", errNoAnswer)
)

// measuring is one run of detnet probe.
type measuring struct {
	sessions      []probe.Session
	opts          probe.Options
	output        string
	interval      time.Duration
	out, messages io.Writer

	sender   *probe.Sender
	measured []*measured
	rows     *rows
	begin    time.Time
	shown    time.Time // the live line
	reported time.Time // the newest interval's report
	live     bool
}

// measured is what one session has given so far.
type measured struct {
	report   report.Report
	series   *stats.Series
	recent   *stats.Series // of the live line
	interval *stats.Series // nil unless there are reports of intervals
	before   probe.Result  // when the interval began
	gaveUp   error
}

// until runs the sessions until ctx ends or all are complete, waits for what is
// in flight, and writes the report.
func (r *measuring) until(ctx context.Context) (err error) {
	r.sender = probe.NewSender(r.opts)
	if err := r.sender.Assign(r.sessions); err != nil {
		return unusable{err}
	}
	if err := r.prepare(); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	finished := make(chan error, 1)
	go func() { finished <- r.sender.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-finished)
	}()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-ticker.C:
		}
		r.collect()
		ended = ended || r.complete()
		r.show()
	}
	r.drain(ticker.C)
	if r.live {
		fmt.Fprint(r.messages, "\r\x1b[K")
	}
	return errors.Join(r.finish(), asFinding(r.verdict()))
}

func (r *measuring) prepare() error {
	var err error
	if r.rows, err = newRows(r.output, r.out, r.sessions); err != nil {
		return err
	}
	r.begin = time.Now()
	r.reported = r.begin
	r.live = r.output == "text" && r.interval == 0 && term.IsTerminal(int(os.Stderr.Fd()))
	for _, s := range r.sessions {
		m := &measured{series: stats.New(max(window/len(r.sessions), recent)), recent: stats.New(recent)}
		m.report = report.Report{Result: probe.Result{Session: s}, Histogram: report.Histogram{}, Extensions: r.opts.Extensions}
		if r.interval > 0 {
			m.interval = stats.New(min(window, int(2*r.interval/s.Interval)+100))
		}
		r.measured = append(r.measured, m)
	}
	return nil
}

// collect takes what the sessions gained.
func (r *measuring) collect() {
	now, i := time.Now(), 0
	since := now.Sub(r.begin)
	r.sender.Collect(func(result probe.Result) {
		m := r.measured[i]
		m.series.Add(result.Samples, since)
		if m.recent != nil {
			m.recent.Add(result.Samples, since)
		}
		if m.interval != nil {
			m.interval.Add(result.Samples, since)
		}
		m.report.Histogram.Add(result.Samples)
		r.rows.add(i, now, result, m.series)
		result.Samples = nil
		m.report.Result = result
		if m.gaveUp == nil {
			m.gaveUp = givesUp(result)
		}
		i++
	})
	if r.interval > 0 && now.Sub(r.reported) >= r.interval {
		r.reportInterval(now)
	}
}

// givesUp says why it makes no sense to go on: a name that does not exist, or
// refusals where there is to be an end.
func givesUp(result probe.Result) error {
	var unknown *net.DNSError
	var unopened *probe.OpenError
	switch {
	case result.Totals.Sent == 0 && errors.As(result.Err, &unopened):
		return unusable{result.Err}
	case result.Totals.Sent == 0 && errors.As(result.Err, &unknown) && unknown.IsNotFound,
		result.Failures >= patience && (result.Session.Count > 0 || result.Totals.Sent == 0):
		return fmt.Errorf("gave up at failure %d: %w", result.Failures, result.Err)
	}
	return nil
}

// complete reports whether every session has sent what it was to send, and
// nothing is in flight; or has given up.
func (r *measuring) complete() bool {
	for _, m := range r.measured {
		count := m.report.Session.Count
		if m.gaveUp == nil && (count == 0 || m.report.Totals.Sent < count || m.report.Open > 0) {
			return false
		}
	}
	return true
}

// drain waits for the packets in flight; another Ctrl-C ends it.
func (r *measuring) drain(tick <-chan time.Time) {
	r.sender.Finish()
	again := make(chan os.Signal, 1)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(again)
	for end := time.Now().Add(probe.MaxTimeout); time.Now().Before(end); {
		r.collect()
		open := 0
		for _, m := range r.measured {
			if m.gaveUp == nil {
				open += m.report.Open
			}
		}
		if open == 0 {
			return
		}
		select {
		case <-again:
			return
		case <-tick:
		}
	}
}

// show renews the live line.
func (r *measuring) show() {
	if !r.live || time.Since(r.shown) < showEvery {
		return
	}
	r.shown = time.Now()
	m := r.measured[int(time.Since(r.begin)/(2*time.Second))%len(r.measured)]
	now := m.report
	now.Summary = m.recent.Summary()
	fmt.Fprintf(r.messages, "\r\x1b[K%s", now.Line())
}

// reportInterval writes a line a session of what was measured since the last.
func (r *measuring) reportInterval(now time.Time) {
	for _, m := range r.measured {
		part := m.report
		part.Result = part.Since(m.before)
		part.Summary, part.Drops = m.interval.Summary(), r.sender.Drops()
		part.From, part.To = r.reported, now
		m.before = m.report.Result
		m.interval.Clear()
		if r.output == "json" {
			_ = json.NewEncoder(r.out).Encode(part) // the end's report fails as well, and says so
			continue
		}
		fmt.Fprintf(r.out, "%s  %s\n", now.Format("15:04:05"), part.Line())
	}
	r.reported = now
}

// finish writes the report of the whole run.
func (r *measuring) finish() error {
	var reports []report.Report
	for _, m := range r.measured {
		m.report.Summary, m.report.Drops = m.series.Summary(), r.sender.Drops()
		if m.gaveUp != nil && m.report.Totals.Received == 0 {
			m.report.Err = errors.Unwrap(m.gaveUp)
		}
		reports = append(reports, m.report)
	}
	switch r.output {
	case "json":
		return r.encode(reports)
	case "csv":
		return errors.Join(r.rows.finish(r.sessions), summary(r.messages, reports))
	}
	return summary(r.out, reports)
}

// encode writes one object for one target, a list for several, and a line each
// behind those of intervals.
func (r *measuring) encode(reports []report.Report) error {
	e := json.NewEncoder(r.out)
	if r.interval > 0 {
		for _, each := range reports {
			if err := e.Encode(each); err != nil {
				return err
			}
		}
		return nil
	}
	e.SetIndent("", "  ")
	if len(reports) == 1 {
		return e.Encode(reports[0])
	}
	return e.Encode(reports)
}

func summary(to io.Writer, reports []report.Report) error {
	if len(reports) == 1 {
		return reports[0].Text(to)
	}
	return report.Table(to, reports)
}

// verdict is nil if every session was answered.
func (r *measuring) verdict() error {
	var errs []error
	for _, m := range r.measured {
		if m.report.Totals.Received > 0 && m.gaveUp == nil {
			continue
		}
		err := errNoAnswer
		switch {
		case m.gaveUp != nil:
			err = m.gaveUp
		case errors.Is(m.report.Err, syscall.ECONNREFUSED):
			err = fmt.Errorf("%w: %w: nothing listens there; is it another port, or another --protocol?", errNoAnswer, m.report.Err)
		case m.report.Err != nil:
			err = fmt.Errorf("%w: %w", errNoAnswer, m.report.Err)
		case m.report.Drops.Total() == 0:
			err = errSilence
		}
		if len(r.measured) > 1 {
			err = fmt.Errorf("%s: %w", m.report.Session.ID, err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
