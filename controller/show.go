package controller

import (
	"cmp"
	"time"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// show makes the status of one tick.
func (t *term) show(o observation, decided []outcome) *status.Status {
	s := &status.Status{
		At: o.At, Version: t.loop.Version, Replica: t.loop.Replica, Leader: true,
		Mode: string(t.settings.Mode), Law: t.settings.Law.Name(),
		Decisions: t.journal.decisions,
	}
	for i, app := range t.snapshot.Apps {
		s.Apps = append(s.Apps, t.showApp(app, o.Apps[i], o))
	}
	for i, sender := range t.snapshot.Senders {
		shown := showSender(sender, o.Senders[i].Rates, o.At)
		shown.Refused = o.refused[sender.UID]
		s.Senders = append(s.Senders, shown)
	}
	for _, d := range decided {
		for _, r := range d.Reasons {
			reason := status.FromReason(r)
			reason.Observed = d.observed
			s.Reasons = append(s.Reasons, reason)
		}
	}
	for _, a := range t.snapshot.Agents {
		link := t.loop.Measurements.State(a)
		s.Agents = append(s.Agents, status.Agent{
			Pod: a.Pod.String(), Node: a.Node, Role: roleOf(a.Role), Connected: link.Connected, Since: link.Since, Why: link.Why,
		})
	}
	for _, a := range t.snapshot.Absent {
		s.Agents = append(s.Agents, status.Agent{Pod: a.Pod.String(), Node: a.Node, Role: roleOf(a.Role), Why: a.Why})
	}
	for _, p := range t.snapshot.Problems {
		s.Problems = append(s.Problems, status.Problem{Object: p.Object, Text: p.Text})
	}
	showUntrusted(s, t.snapshot)
	s.Enforcing = enforcing(t.snapshot, o, decided)
	return s
}

func (t *term) showApp(app *inventory.App, seen plan.App, o observation) status.App {
	known := t.paths[app.Pod]
	out := status.App{
		Pod: app.Pod.String(), Node: app.Node, Rank: app.Rank, Mode: string(app.Mode),
		Probe: app.Probe.String(), DSCP: app.DSCP.String(), Query: app.Query.Text, Target: status.Targets(app.SLO), State: status.Blind, Nobody: known.nobody,
	}
	var violations, all int
	for i, session := range seen.Sessions {
		shown := t.showSession(session, known.sessions[i], o)
		for j, witness := range seen.Witnesses {
			if witness.Vantage == session.Vantage {
				w := t.showSession(witness, known.witnesses[j], o)
				shown.Witness = &w
			}
		}
		out.Sessions = append(out.Sessions, shown)
		if shown.Blind {
			continue
		}
		v, sent := status.ViolationRatio(current(session), o.measured[session.ID].Base, app.SLO)
		violations, all = violations+v, all+sent
		out.Measured = status.Worst(out.Measured, shown.Measured)
		out.State = status.Judge(out.Measured, out.Target)
	}
	out.ViolationRatio = float64(violations) / float64(max(1, all))
	return out
}

func (t *term) showSession(s plan.Session, by session, o observation) status.Session {
	known := o.measured[s.ID]
	at, samples := o.At, current(s)
	if s.Lag > 0 && len(samples) > 0 {
		at = samples[0].At // as good as any until the next, or it would not be there
	}
	m, n, blind := status.Measure(samples, known.Base, at)
	out := status.Session{
		ID: s.ID, From: s.Vantage, BaseMs: status.Milliseconds(known.Base), LagMs: status.Milliseconds(s.Lag),
		Measured: m, Samples: n, Blind: blind, Error: known.Error,
	}
	if by.query != "" {
		out.From = "Prometheus"
	}
	if blind && out.Error == "" {
		out.Error = "nothing is measured yet"
		if link := t.loop.Measurements.State(by.agent); by.query == "" && !link.Connected {
			out.Error = "the agent there does not report: " + link.Why
		}
	}
	return out
}

// current are the samples that say how it is now: of a signal that lags, each
// sums up the past already.
func current(s plan.Session) []plan.Sample {
	if s.Lag > 0 {
		return s.Samples[max(0, len(s.Samples)-1):]
	}
	return s.Samples
}

func showSender(sender *inventory.Sender, rates []plan.TxRate, now time.Time) status.Sender {
	out := status.Sender{
		Pod: sender.Pod.String(), Node: sender.Node, Rank: sender.Rank, Weight: sender.Weight,
		Mode: string(sender.Mode), MinBps: sender.Min, MaxBps: sender.Max, LimitBps: sender.Limit,
	}
	var sum, n bitrate.Rate
	for _, r := range rates {
		if now.Sub(r.At) <= time.Second {
			sum += r.Tx
			n++
		}
	}
	out.UsageBps, out.Known = sum/max(n, 1), n > 0
	return out
}

// roleOf is the agent's --role.
func roleOf(r api.Role) string {
	return cmp.Or(map[api.Role]string{api.Role_ROLE_PROBE: "probe", api.Role_ROLE_NODE: "node"}[r], "unknown")
}
