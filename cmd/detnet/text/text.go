// Package text writes a status for people at a terminal: all of it, or why one
// pod is as it is.
package text

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// recent is the number of decisions that Top shows.
const recent = 8

// Top writes the whole status as tables.
func Top(out io.Writer, s *status.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	troubles := troublesOf(s)
	summary(w, s, troubles)
	critical(w, s)
	throttleable(w, s, troubles)
	decided(w, s)
	for i, p := range troubles.Problems {
		if i == 0 {
			fmt.Fprint(w, "\nPROBLEMS\n")
		}
		fmt.Fprintf(w, "%s: %s\n", p.Object, p.Text)
	}
	if s.Totals != nil {
		more(w, s.Totals.Problems-len(troubles.Problems), "problems")
	}
	return w.Flush()
}

// summary says who leads and what is not as it should be as a whole.
func summary(w io.Writer, s *status.Status, troubles status.Troubles) {
	connected := 0
	for _, a := range s.Agents {
		if a.Connected {
			connected++
		}
	}
	agents := len(s.Agents)
	if t := s.Totals; t != nil {
		connected, agents = t.Connected, t.Agents
	}
	fmt.Fprintf(w, "detnet: %s, law %s, %d of %d agents, led by %s, %s\n", s.Mode, s.Law, connected, agents, s.Replica, s.At.Format("15:04:05"))
	if t := s.Totals; t != nil && (len(s.Apps) < t.Apps || len(s.Senders) < t.Senders) {
		fmt.Fprintf(w, "shown are %d of %d critical pods (%d in violation, %d blind) and %d of %d throttleable ones\n", len(s.Apps), t.Apps, t.Violated, t.Blind, len(s.Senders), t.Senders)
	}
	for _, a := range troubles.Agents {
		fmt.Fprintf(w, "%s agent %s on %s does not report %s: %s\n", a.Role, a.Pod, a.Node, since(a.Since), a.Why)
	}
	more(w, agents-connected-len(troubles.Agents), "agents do not report")
	if e := s.Enforcing; e != nil {
		fmt.Fprintf(w, "enforcing would protect %d pods and could limit %d, which send %s now: %d would begin with a limit, %s together, and %d would be cut at this moment\n",
			e.Apps, e.Senders, rate(e.UsageBps), e.Unlimited, rate(e.InitialBps), e.Cuts)
	}
	if s.GivingBack > 0 {
		fmt.Fprintf(w, "%d limits are being given back, where detnet does not enforce any more\n", s.GivingBack)
	}
	if s.Unstamped > 0 {
		fmt.Fprintf(w, "%d pods carry no stamps of admission's and are neither protected nor limited yet\n", s.Unstamped)
	}
}

func critical(w io.Writer, s *status.Status) {
	fmt.Fprint(w, "\nCRITICAL\tNODE\tSTATE\tJITTER p90\tLATENCY p90\tLOSS\tIN VIOLATION\tFROM\n")
	for _, a := range s.Apps {
		m := []string{"-", "-", "-", "-"}
		if a.State != status.Blind {
			m = []string{
				against(ms(a.Measured.JitterMs), ms(a.Target.JitterMs), a.Target.JitterMs),
				against(ms(a.Measured.LatencyMs), ms(a.Target.LatencyMs), a.Target.LatencyMs),
				against(percent(a.Measured.Loss), percent(a.Target.Loss), a.Target.Loss),
				percent(a.ViolationRatio),
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Pod, a.Node, a.State, m[0], m[1], m[2], m[3], vantages(a))
	}
	if s.Totals == nil && len(s.Apps) == 0 {
		fmt.Fprintf(w, "none: label pods %s=critical, in a namespace with the label %s=true\n", workload.LabelPriority, workload.LabelAllowCritical)
	}
}

func throttleable(w io.Writer, s *status.Status, troubles status.Troubles) {
	fmt.Fprint(w, "\nTHROTTLEABLE\tNODE\tRANK\tUSAGE\tLIMIT\tFLOOR\tCEILING\t\n")
	for _, p := range s.Senders {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%v\t%v\t%s\n", p.Pod, p.Node, p.Rank, usage(p), limit(p.LimitBps), p.MinBps, p.MaxBps, bar(p))
	}
	if s.Totals == nil && len(s.Senders) == 0 {
		fmt.Fprintf(w, "none: label pods %s=best-effort\n", workload.LabelPriority)
	}
	for _, p := range troubles.Senders {
		if p.Refused != "" {
			fmt.Fprintf(w, "%s can't be throttled, and what it sends (%s) is not controlled: %s\n", p.Pod, usage(p), p.Refused)
		}
		if p.OverLimit != "" {
			fmt.Fprintf(w, "little of what %s sends (%s) may get through: %s\n", p.Pod, usage(p), p.OverLimit)
		}
	}
	if s.Totals != nil {
		more(w, s.Totals.Uncontrolled-len(troubles.Senders), "pods are not controlled")
	}
}

func decided(w io.Writer, s *status.Status) {
	fmt.Fprint(w, "\nBOTTLENECK\tACTION\tCAUSE\tBUDGET\tBECAUSE\n")
	for _, r := range s.Reasons {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", r.Bottleneck, action(r), r.Cause, limit(r.ToBps), because(r))
	}
	fmt.Fprint(w, "\nWHEN\tACTION\tCAUSE\tBECAUSE\tLIMITS\n")
	for _, d := range s.Decisions[:min(recent, len(s.Decisions))] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", d.At.Format("15:04:05"), action(d.Reason), d.Cause, because(d.Reason), limits(d.Limits))
	}
}

// troublesOf are those of s, which names them only where it is a part.
func troublesOf(s *status.Status) status.Troubles {
	if s.Troubles != nil {
		return *s.Troubles
	}
	t := status.Troubles{Senders: s.Senders, Problems: s.Problems}
	for _, a := range s.Agents {
		if !a.Connected {
			t.Agents = append(t.Agents, a)
		}
	}
	return t
}

// more says how many are not shown.
func more(w io.Writer, n int, what string) {
	if n > 0 {
		fmt.Fprintf(w, "and %d more %s\n", n, what)
	}
}

// since is a time for people.
func since(t time.Time) string {
	if t.IsZero() {
		return "yet"
	}
	return "since " + t.Format("15:04:05")
}

func ms(v float64) string      { return fmt.Sprintf("%.2f ms", v) }
func percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }
func rate(r bitrate.Rate) string {
	if r >= bitrate.Gbit {
		return fmt.Sprintf("%.2fG", r.Mbit()/1000)
	}
	return fmt.Sprintf("%.1fM", r.Mbit())
}

func against(measured, target string, asked float64) string {
	if asked == 0 {
		return measured
	}
	return measured + " of " + target
}

func usage(p status.Sender) string {
	if !p.Known {
		return "unknown"
	}
	return rate(p.UsageBps)
}

func limit(r bitrate.Rate) string {
	if r == 0 {
		return "none"
	}
	return rate(r)
}

func vantages(a status.App) string {
	var from []string
	for _, s := range a.Sessions {
		switch {
		case s.Error != "":
			from = append(from, s.From+" ("+s.Error+")")
		case s.Blind:
			from = append(from, s.From+" (blind)")
		case s.NodeSession != nil && !s.NodeSession.Blind:
			from = append(from, s.From+" (node session "+ms(s.NodeSession.Measured.JitterMs)+")")
		default:
			from = append(from, s.From)
		}
	}
	if from == nil {
		return "nowhere: " + a.Nobody
	}
	return strings.Join(from, ", ")
}

func action(r status.Reason) string {
	if r.Observed {
		return string(r.Action) + " (observe only)"
	}
	return string(r.Action)
}

func because(r status.Reason) string {
	switch {
	case r.App == "":
		return ""
	case r.Signal == "loss":
		return fmt.Sprintf("%s loses %s", r.App, percent(r.Ratio))
	}
	return fmt.Sprintf("%s: %s %s of %s", r.App, r.Signal, ms(r.MeasuredMs), ms(r.TargetMs))
}

func limits(all []status.Limit) string {
	var out []string
	for _, l := range all {
		out = append(out, fmt.Sprintf("%s %s → %s", l.Pod, limit(l.FromBps), limit(l.ToBps)))
	}
	return strings.Join(out, ", ")
}

// bar shows usage (=) and limit (|) within the ceiling.
func bar(p status.Sender) string {
	const width = 30
	at := func(r bitrate.Rate) int {
		return int(width * min(1, float64(r)/float64(max(p.MaxBps, 1))))
	}
	cells := []byte(strings.Repeat(".", width))
	for i := range at(p.UsageBps) {
		cells[i] = '='
	}
	if p.LimitBps > 0 {
		cells[min(at(p.LimitBps), width-1)] = '|'
	}
	return "[" + string(cells) + "]"
}
