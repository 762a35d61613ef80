//go:build linux

package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/report"
	"github.com/detnet/detnet/agent/probe/stats"
	"github.com/detnet/detnet/workload"
)

// window is how many of the newest packets the percentiles are of.
const window = 100_000

func newProbeCommand() *cobra.Command {
	var session probe.Session
	var opts probe.Options
	var protocol, keyFile, output string
	var rate float64
	var duration time.Duration
	c := &cobra.Command{
		Use:   "probe HOST[:PORT]",
		Short: "Measure a path: round trip, delay variation, loss and direction",
		Long: `Probe sends small packets to a host and shows how long their answers take, by
the kernel's timestamps. It ends after --count packets, after --duration, or by
Ctrl-C. With --count it gives up on a host that cannot be found or that refuses
five times in a row. The exit code is 1 if it gave up, or if no packet was
answered.`,
		Example: "  detnet probe 10.1.2.3 --protocol stamp --dscp EF --reply-dscp EF --direct\n  detnet probe robot.lab:5201 --protocol udp --rate 100 --count 1000 -o json",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			session.Protocol = workload.Protocol(protocol)
			if err := target(&session, args[0]); err != nil {
				return err
			}
			if rate < 0.1 || rate > 1000 {
				return fmt.Errorf("--rate=%v must be from 0.1 to 1000 packets a second", rate)
			}
			session.Interval = time.Duration(float64(time.Second) / rate)
			session.Timeout = max(session.Timeout, session.Interval)
			if opts.Extensions != (probe.Extensions{}) && session.Protocol != workload.STAMP {
				return fmt.Errorf("--reply-dscp and --direct need --protocol=stamp, not %s", protocol)
			}
			if keyFile != "" {
				var err error
				if opts.Keys, err = probe.OpenKeyring(keyFile); err != nil {
					return err
				}
			}
			ctx := c.Context()
			if duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, duration)
				defer cancel()
			}
			return probeUntil(ctx, session, opts, output, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVarP(&protocol, "protocol", "p", "stamp", "stamp, udp (any echo), tcp (handshake) or icmp")
	f.Float64VarP(&rate, "rate", "r", 50, "packets a second, on average")
	f.Uint64VarP(&session.Count, "count", "c", 0, "packets to send; 0 means until stopped")
	f.DurationVarP(&duration, "duration", "d", 0, "how long to measure; 0 means until stopped")
	f.DurationVar(&session.Timeout, "timeout", time.Second, "age at which an unanswered packet is lost")
	f.Func("dscp", "DSCP of the packets: `codepoint` from 0 to 63 or a name, such as EF or AF41", func(text string) error {
		d, err := workload.ParseDSCP(text)
		session.DSCP = uint8(d)
		return err
	})
	extensionFlags(c, &opts.Extensions)
	f.StringVar(&keyFile, "auth-key-file", "", "file with the secret of STAMP's authenticated mode")
	f.BoolVar(&opts.UserTimestamps, "user-timestamps", false, "do not use the kernel's timestamps, to see what they are worth")
	f.StringVarP(&output, "output", "o", "text", "text, json, or csv with a line a packet")
	return c
}

// extensionFlags are what STAMP packets can carry besides.
func extensionFlags(c *cobra.Command, ext *probe.Extensions) {
	c.Flags().Func("reply-dscp", "`codepoint` that the answers are to have; also shows with which packets arrive (stamp, RFC 8972 §4.4)", func(text string) error {
		d, err := workload.ParseDSCP(text)
		ext.ClassOfService, ext.ReplyDSCP = true, uint8(d)
		return err
	})
	c.Flags().BoolVar(&ext.DirectMeasurement, "direct", false, "have the reflector count packets, to tell in which direction they are lost (stamp, RFC 8972 §4.5)")
}

// target reads HOST[:PORT]; STAMP has a port of its own, ICMP has none.
func target(s *probe.Session, text string) error {
	s.ID, s.Host = text, text
	if host, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("port %q of %s must be from 1 to 65535", port, text)
		}
		s.Host, s.Port = host, uint16(n)
	}
	switch s.Protocol {
	case workload.STAMP:
		if s.Port == 0 {
			s.Port = workload.STAMPPort
		}
	case workload.UDP, workload.TCP:
	case workload.ICMP:
		s.Port = 0
	default:
		return fmt.Errorf("--protocol=%s must be stamp, udp, tcp or icmp", s.Protocol)
	}
	return s.Validate()
}

// patience is how many tries in a row may fail before a measurement that is to
// end by itself gives up; with the back-off between them, about two seconds.
const patience = 5

var errNoAnswer = errors.New("no packet was answered")

// probeUntil runs one session until ctx ends or it is complete, and writes its
// report.
func probeUntil(ctx context.Context, session probe.Session, opts probe.Options, output string, out io.Writer) (err error) {
	sender := probe.NewSender(opts)
	if err := sender.Assign([]probe.Session{session}); err != nil {
		return err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	finished := make(chan error, 1)
	go func() { finished <- sender.Run(running) }()
	defer func() {
		stop()
		err = errors.Join(err, <-finished)
	}()

	r := report.Report{Session: session, Histogram: report.Histogram{}, Extensions: opts.Extensions}
	series := stats.New(window)
	rows, err := newRows(output, out)
	if err != nil {
		return err
	}
	live := output == "text" && term.IsTerminal(int(os.Stderr.Fd()))
	begin := time.Now()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	var gaveUp error
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-ticker.C:
		}
		sender.Collect(func(result probe.Result) {
			series.Add(result.Samples, time.Since(begin))
			r.Histogram.Add(result.Samples)
			r.Totals, r.Timestamps, r.Err, r.Heard = result.Totals, result.Timestamps, result.Err, result.Heard
			rows.write(time.Now(), result.Samples)
			if session.Count > 0 && result.Failures >= patience {
				gaveUp = fmt.Errorf("gave up after %d tries: %w", result.Failures, result.Err)
			}
		})
		ended = ended || gaveUp != nil || session.Count > 0 && r.Totals.Received+r.Totals.Lost >= session.Count
		if live {
			r.Summary = series.Summary()
			fmt.Fprintf(os.Stderr, "\r\x1b[K%s", r.Line())
		}
	}
	if live {
		fmt.Fprint(os.Stderr, "\r\x1b[K")
	}
	r.Summary = series.Summary()
	if gaveUp == nil {
		gaveUp = answered(r)
	}
	return errors.Join(finish(r, output, rows, out), gaveUp)
}

func answered(r report.Report) error {
	if r.Totals.Received > 0 {
		return nil
	}
	return errors.Join(errNoAnswer, r.Err)
}

func finish(r report.Report, output string, rows rows, out io.Writer) error {
	switch output {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(r)
	case "csv":
		rows.Flush()
		return rows.Error()
	}
	return r.Text(out)
}

// rows writes a line a packet; without a writer it does nothing.
type rows struct{ *csv.Writer }

func newRows(output string, out io.Writer) (rows, error) {
	switch output {
	case "text", "json":
		return rows{}, nil
	case "csv":
		w := csv.NewWriter(out)
		return rows{w}, w.Write([]string{"sent", "rtt_ms", "lost", "forward_ms", "backward_ms", "own_queue_ms"})
	}
	return rows{}, fmt.Errorf("--output=%s must be text, json or csv", output)
}

func (r rows) write(now time.Time, samples []probe.Sample) {
	if r.Writer == nil {
		return
	}
	number := func(d time.Duration, has bool) string {
		if !has {
			return ""
		}
		return strconv.FormatFloat(report.Millis(d), 'f', 6, 64)
	}
	for _, s := range samples {
		_ = r.Write([]string{ // the error stays with the writer until the end
			now.Add(-s.Age).UTC().Format(time.RFC3339Nano), number(s.RTT, !s.Lost), strconv.FormatBool(s.Lost),
			number(s.Forward, s.HasOneWay), number(s.Backward, s.HasOneWay), number(s.Queue, s.HasQueue),
		})
	}
}
