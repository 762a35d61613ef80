package report

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stats"
)

// Line is the report so far, in one line for a terminal.
func (r Report) Line() string {
	s := r.Summary
	line := fmt.Sprintf("%s %s  sent %d  lost %s", r.Session.Protocol, r.Target(), r.Totals.Sent, r.loss())
	if r.sampled() {
		line += fmt.Sprintf("  rtt p50 %.3f  p99 %.3f  pdv p95 %.3f ms", Millis(s.RTT.P50), Millis(s.RTT.P99), Millis(s.PDV.P95))
	}
	if r.Err != nil {
		line += "  " + r.Err.Error()
	}
	return line
}

// loss is the number and the ratio of lost packets.
func (r Report) loss() string {
	ratio, known := r.Totals.Loss()
	if !known {
		return fmt.Sprint(r.Totals.Lost)
	}
	return fmt.Sprintf("%d (%.2f %%)", r.Totals.Lost, 100*ratio)
}

// Text writes the report for people. Why nothing was answered is for the error of
// the run to say.
func (r Report) Text(w io.Writer) error {
	s, t := r.Summary, r.Totals
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %d sent, %d received, %s lost, %d duplicated, %d reordered, %d late",
		r.Session.Protocol, r.Target(), t.Sent, t.Received, r.loss(), t.Duplicated, t.Reordered, t.Late)
	if r.Timestamps != probe.SourceUnknown {
		fmt.Fprintf(&b, "; timestamps by the %s", r.Timestamps)
	}
	b.WriteByte('\n')
	r.remarks(&b)
	if r.sampled() {
		fmt.Fprintf(&b, "\n%-10s %9s %9s %9s %9s %9s %9s %9s  ms\n", "", "min", "p50", "p90", "p95", "p99", "p99.9", "max")
		row := func(name string, q stats.Quantiles) {
			fmt.Fprintf(&b, "%-10s %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f %9.3f\n",
				name, Millis(q.Min), Millis(q.P50), Millis(q.P90), Millis(q.P95), Millis(q.P99), Millis(q.P999), Millis(q.Max))
		}
		row("rtt", s.RTT)
		row("pdv", s.PDV)
		row("ipdv", s.IPDV)
		if s.HasOneWay {
			row("forward", s.Forward)
			row("backward", s.Backward)
		}
		if s.HasQueue {
			row("own queue", s.Queue)
		}
		fmt.Fprintf(&b, "mean %.3f ms, standard deviation %.3f ms, base %.3f ms, RFC 3550 jitter %.3f ms, interquartile range %.3f ms, waits: %s\n",
			Millis(s.Mean), Millis(s.StdDev), Millis(s.Base), Millis(s.Jitter), Millis(s.IQR), stats.Direction(s, threshold))
		r.window(&b)
		r.extensions(&b)
	}
	Dropped(&b, r.Drops)
	if r.sampled() {
		b.WriteByte('\n')
		r.Histogram.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// window says of how many packets the percentiles are.
func (r Report) window(b *strings.Builder) {
	n := r.Summary.Samples - r.Summary.Lost
	if n < 1000 {
		fmt.Fprintf(b, "a p99 needs 1000 packets, these are %d\n", n)
	}
	if uint64(r.Summary.Samples) < r.Totals.Received+r.Totals.Lost {
		fmt.Fprintf(b, "the percentiles are of the newest %d packets\n", r.Summary.Samples)
	}
}

// remarks write what is out of the ordinary, a line each.
func (r Report) remarks(b *strings.Builder) {
	t := r.Totals
	if n := int64(t.Sent) - int64(t.Received) - int64(t.Lost); n > 0 {
		fmt.Fprintf(b, "%d still in flight, neither received nor lost\n", n)
	}
	if !r.Kept() {
		fmt.Fprintf(b, "this machine did not keep the rate: %.1f packets a second of %.1f\n", r.Rate(), r.Asked())
	} else if t.Sent > 1 {
		fmt.Fprintf(b, "%.1f packets a second (%.1f asked for)\n", r.Rate(), r.Asked())
	}
	if bursts := r.Summary.Bursts; bursts.Count > 0 {
		fmt.Fprintf(b, "lost in %s, the longest of %s\n", counted(bursts.Count, "burst"), counted(bursts.Longest, "packet"))
	}
	if r.Blind > 0 {
		fmt.Fprintf(b, "for %.1f s nothing was measured", r.Blind.Seconds())
		if r.Err != nil {
			fmt.Fprintf(b, ", and is not now: %v", r.Err)
		}
		b.WriteByte('\n')
	} else if r.Err != nil && t.Received > 0 {
		fmt.Fprintf(b, "error: %v\n", r.Err)
	}
	if r.Impossible > 0 {
		fmt.Fprintf(b, "%d answers have impossible times of the reflector; their one-way delays are unknown\n", r.Impossible)
	}
	if n := r.Summary.ClockSteps; n > 0 {
		fmt.Fprintf(b, "one of the two clocks was set %d times\n", n)
	}
	if n := r.Summary.RouteChanges; n > 0 {
		fmt.Fprintf(b, "the path became longer %d times\n", n)
	}
	if r.TTLThere != 0 || r.TTLBack != 0 {
		fmt.Fprintf(b, "TTL of packets at the reflector %s, of answers here %s\n", ttl(r.TTLThere), ttl(r.TTLBack))
	}
}

func ttl(n uint8) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}

// Dropped writes how many answers did not count, why, and what to do.
func Dropped(b *strings.Builder, drops probe.Drops) {
	var reasons []probe.Reason
	for i, n := range drops {
		if n > 0 {
			reasons = append(reasons, probe.Reason(i))
		}
	}
	sort.Slice(reasons, func(i, j int) bool { return drops[reasons[i]] > drops[reasons[j]] })
	for _, reason := range reasons {
		fmt.Fprintf(b, "%d answers dropped, %s: %s\n", drops[reason], strings.ReplaceAll(reason.String(), "_", " "), reason.Advice())
	}
}

// Table writes one row a report.
func Table(w io.Writer, reports []Report) error {
	var b strings.Builder
	width := len("target")
	for _, r := range reports {
		width = max(width, len(r.Target()))
	}
	fmt.Fprintf(&b, "%-*s %8s %8s %8s %9s %9s %9s %9s %9s  ms\n", width, "target", "sent", "received", "lost %", "min", "p50", "p99", "max", "pdv p95")
	for _, r := range reports {
		loss := "-"
		if ratio, known := r.Totals.Loss(); known {
			loss = fmt.Sprintf("%.2f", 100*ratio)
		}
		fmt.Fprintf(&b, "%-*s %8d %8d %8s", width, r.Target(), r.Totals.Sent, r.Totals.Received, loss)
		s := r.Summary
		if r.sampled() {
			fmt.Fprintf(&b, " %9.3f %9.3f %9.3f %9.3f %9.3f\n", Millis(s.RTT.Min), Millis(s.RTT.P50), Millis(s.RTT.P99), Millis(s.RTT.Max), Millis(s.PDV.P95))
			continue
		}
		fmt.Fprintf(&b, "  %s", r.noRTT())
		if r.Err != nil {
			fmt.Fprintf(&b, ": %v", r.Err)
		}
		b.WriteByte('\n')
	}
	if len(reports) > 0 {
		Dropped(&b, reports[0].Drops)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// counted is a number of things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
