package controller

import (
	"cmp"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
	"github.com/detnet/detnet/controller/status"
)

// frame is all that one tick saw and decided. It does not change any more, and
// becomes a status when somebody asks: the loop has better things to do ten times
// a second.
type frame struct {
	loop      *Loop
	settings  *Settings
	snapshot  *inventory.Snapshot
	paths     []*paths
	view      sense.View
	refused   map[types.UID]string // senders whose limits can't be changed, and why
	decided   []outcome
	decisions []status.Decision
	room      room // of view, and nobody else's

	mu    sync.Mutex
	shown *status.Status
	gone  bool // what was seen is used again
}

// status is the same for whoever asks; nil where there is a newer one.
func (f *frame) status() *status.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shown == nil && !f.gone {
		f.shown = f.show()
	}
	return f.shown
}

// retire gives back the room of what was seen, for the tick after the next: nobody asked
// for it, and nobody will.
func (f *frame) retire() (unused room, free bool) {
	if !f.mu.TryLock() {
		return room{}, false // somebody is being shown it
	}
	defer f.mu.Unlock()
	if f.shown != nil {
		return room{}, false
	}
	f.gone = true
	return f.room, true
}

func (f *frame) show() *status.Status {
	s := &status.Status{
		At: f.view.At, Version: f.loop.Version, Replica: f.loop.Replica, Leader: true,
		Mode: string(f.settings.Mode), Law: f.settings.Law.Name(),
		Decisions: f.decisions,
		Apps:      make([]status.App, len(f.snapshot.Apps)), Senders: make([]status.Sender, len(f.snapshot.Senders)),
	}
	senses := law.SenseOf(f.settings.Law)
	for i, app := range f.snapshot.Apps {
		s.Apps[i] = f.app(senses, app, f.paths[i], &f.view.Verdicts[i])
	}
	cut := cutLately(f.decisions, f.view.At)
	for i, sender := range f.snapshot.Senders {
		s.Senders[i] = showSender(sender, &f.view.Senders[i], f.view.At)
		s.Senders[i].Refused = f.refused[sender.UID]
		if s.Senders[i].OverLimit = overLimit(&f.view.Senders[i], f.view.At); cut[s.Senders[i].Pod] {
			s.Senders[i].OverLimit = "" // what it sent was under another limit
		}
	}
	s.Reasons = f.reasons()
	for _, a := range f.snapshot.Agents {
		link := f.loop.Measurements.State(a)
		s.Agents = append(s.Agents, status.Agent{
			Pod: a.Pod.String(), Node: a.Node, Role: roleOf(a.Role), Connected: link.Connected, Since: link.Since, Why: link.Why, Refused: link.Refused, Uplinks: link.Uplinks,
		})
	}
	for _, a := range f.snapshot.Absent {
		s.Agents = append(s.Agents, status.Agent{Pod: a.Pod.String(), Node: a.Node, Role: roleOf(a.Role), Why: a.Why})
	}
	for _, p := range f.snapshot.Problems {
		s.Problems = append(s.Problems, status.Problem{Object: p.Object, Text: p.Text})
	}
	waiting := f.loop.Limits.Waiting()
	s.WritesWaiting = status.WritesWaiting{Cuts: waiting.Cuts, Others: waiting.Others, LongestMs: status.Milliseconds(waiting.Longest)}
	showUntrusted(s, f.snapshot)
	s.Enforcing = enforcing(f.snapshot, f.view.Observation, f.decided)
	return s
}

// reasons are the present ones, of what is enforced and of what is observed.
func (f *frame) reasons() []status.Reason {
	var all []status.Reason
	for _, d := range f.decided {
		for _, r := range d.Reasons {
			reason := status.FromReason(r)
			reason.Observed = d.observed
			all = append(all, reason)
		}
	}
	return all
}

func (f *frame) app(senses sense.Config, app *inventory.App, known *paths, v *sense.Verdict) status.App {
	seen := v.App
	out := status.App{
		Pod: app.Pod.String(), Node: app.Node, Rank: app.Rank, Mode: string(app.Mode),
		Probe: app.Probe.String(), DSCP: app.DSCP.String(), Query: app.Query.Text, Nobody: known.nobody,
		Target: status.Targets(app.SLO),
	}
	out.State, out.Measured = status.Judged(v)
	out.IdleMs = status.Milliseconds(v.Paths.Unmet)
	var violations, all int
	for i := range seen.Sessions {
		session := &seen.Sessions[i]
		shown := f.session(senses, session, known.sessions[i])
		for j := range seen.NodeSessions {
			if nodeSession := &seen.NodeSessions[j]; nodeSession.Vantage == session.Vantage {
				w := f.session(senses, nodeSession, known.nodeSessions[j])
				shown.NodeSession = &w
			}
		}
		out.Sessions = append(out.Sessions, shown)
		if !shown.Blind {
			late, sent := status.ViolationRatio(current(session), session.Base.Delay, app.SLO)
			violations, all = violations+late, all+sent
		}
	}
	out.ViolationRatio = float64(violations) / float64(max(1, all))
	return out
}

func (f *frame) session(senses sense.Config, s *plan.Session, by session) status.Session {
	r := senses.Read(s, f.view.At)
	out := status.Session{
		ID: s.ID, From: s.Vantage, BaseMs: status.Milliseconds(s.Base.Delay), LagMs: status.Milliseconds(s.Lag),
		Measured: status.MeasuresOf(&r), Samples: r.Samples, Blind: r.Blind(),
	}
	if by.query != "" {
		out.From, out.Error = "Prometheus", f.loop.Queries.Answer(by.query, f.view.At).Error
	} else {
		out.Error = f.loop.Measurements.Session(by.id, f.view.At).Error
	}
	if out.Blind && out.Error == "" {
		if out.Error = "nothing is measured yet"; r.LostCount > 0 {
			out.Error = "no probe was ever answered: does the pod answer on the port that is probed?"
		}
		if link := f.loop.Measurements.State(by.agent); by.query == "" && !link.Connected {
			out.Error = "the agent there does not report: " + link.Why
		}
	}
	return out
}

// current are the samples that say how it is now: of a signal that lags, each
// sums up the past already.
func current(s *plan.Session) []plan.Sample {
	if s.Lag > 0 {
		return s.Samples[max(0, len(s.Samples)-1):]
	}
	return s.Samples
}

func showSender(sender *inventory.Sender, seen *plan.Sender, now time.Time) status.Sender {
	out := status.Sender{
		Pod: sender.Pod.String(), Node: sender.Node, Rank: sender.Rank, Weight: sender.Weight,
		Mode: string(sender.Mode), MinBps: sender.Min, MaxBps: sender.Max, LimitBps: seen.Limit,
	}
	if n := len(seen.Rates); n > 0 && now.Sub(seen.Rates[n-1].At.Time()) <= time.Second+seen.Pause {
		out.UsageBps, out.Known = senders.Over(seen.Rates, now.Add(-time.Second), now), true
	}
	return out
}

// roleOf is the agent's --role.
func roleOf(r api.Role) string {
	return cmp.Or(map[api.Role]string{api.Role_ROLE_PROBE: "probe", api.Role_ROLE_NODE: "node"}[r], "unknown")
}
