package controller

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
)

// Events records Kubernetes Events (events.k8s.io).
type Events interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// maxDecisions bounds the recent past that the status shows.
const maxDecisions = 100

// journal tells people what changed: in the log, on a metric, as an Event and
// in the status. What stays the same is said once.
type journal struct {
	last      map[where]*decided
	decisions []status.Decision // newest first; copied on change, since it is shared
	known     map[inventory.Problem]bool
	steps     int
	news      []status.Decision // of this step
	lines     int               // of the log that this step wrote, or left out
}

// where is one bottleneck in one of the two runs.
type where struct {
	bottleneck plan.Bottleneck
	observed   bool
}

// decided is what was last decided there, and since when.
type decided struct {
	action plan.Action
	cause  plan.Cause
	app    plan.PodID
	since  time.Time
	told   bool
	step   int
	asked  map[plan.PodID]asked // limits that were told
	tried  map[plan.PodID]asked // limits before a small try that is out, which nobody is told of
}

// asked is a limit that was told, and when it was last wanted: until it is in
// force, in observe mode for ever, the same is wanted again at every step.
type asked struct {
	to bitrate.Rate
	at time.Time
}

// pending is for how long a limit that is not wanted any more is the same if it is
// wanted again.
const pending = 5 * time.Second

// lasting is how long a host must be late for it to be worth telling: a busy one
// is late for moments, many times a minute.
const lasting = 3 * time.Second

// record notes what is new in the outcomes.
func (j *journal) record(ctx context.Context, l *Loop, s *inventory.Snapshot, outcomes []outcome) {
	if j.last == nil {
		j.last = map[where]*decided{}
	}
	j.steps++
	j.news, j.lines = nil, 0
	seen := 0
	for _, d := range outcomes {
		seen += len(d.Reasons)
		var limits [][]plan.Limit
		if len(d.Limits) > 0 {
			limits = make([][]plan.Limit, len(d.Reasons))
			for _, c := range d.Limits {
				limits[c.Reason] = append(limits[c.Reason], c)
			}
		}
		for i := range d.Reasons {
			var wanted []plan.Limit
			if limits != nil {
				wanted = limits[i]
			}
			j.reason(ctx, l, s, &d, &d.Reasons[i], wanted)
		}
	}
	if seen < len(j.last) {
		maps.DeleteFunc(j.last, func(_ where, was *decided) bool { return was.step != j.steps })
	}
	j.add(j.news...)
	if left := j.lines - mostLines; left > 0 {
		l.Log.Info("more was decided at once than is logged: the status has the newest", "lines_left_out", left)
	}
}

func (j *journal) reason(ctx context.Context, l *Loop, s *inventory.Snapshot, d *outcome, r *plan.Reason, limits []plan.Limit) {
	at := where{r.Bottleneck, d.observed}
	now := j.last[at]
	turned := now == nil || now.action != r.Action || now.cause != r.Cause || now.app != r.App
	switch {
	case now == nil:
		now = &decided{since: d.At}
		j.last[at] = now
	case turned:
		now.since, now.told = d.At, false
	}
	now.action, now.cause, now.app, now.step = r.Action, r.Cause, r.App, j.steps
	fresh := now.fresh(limits, d.At)
	if turned || len(fresh) > 0 {
		l.Metrics.decided(*r)
	}
	tell := !now.told && telling(*r, d.At.Sub(now.since))
	now.told = now.told || tell
	if tell {
		announce(l.Events, s, *r)
	}
	if len(fresh) == 0 && !tell {
		return
	}
	decision := status.Decision{At: d.At, Reason: status.FromReason(*r), Limits: fresh}
	decision.Observed = d.observed
	j.news = append(j.news, decision)
	room := mostLines - j.lines
	j.lines += 1 + len(decision.Limits)
	if room > 0 { // as much of it as there is room for: the one about most pods is not the one to be silent about
		decision.Limits = decision.Limits[:min(len(decision.Limits), room-1)]
		logDecision(ctx, l.Log, *r, decision)
	}
}

// fresh are the limits that were not told yet.
func (d *decided) fresh(limits []plan.Limit, now time.Time) []status.Limit {
	var fresh []status.Limit
	for _, c := range limits {
		if d.small(c, now) {
			continue
		}
		was, told := d.asked[c.Pod]
		if !told || was.to != c.To {
			fresh = append(fresh, status.Limit{Pod: c.Pod.String(), FromBps: c.From, ToBps: c.To})
		}
		if d.asked == nil {
			d.asked = map[plan.PodID]asked{}
		}
		d.asked[c.Pod] = asked{c.To, now}
	}
	maps.DeleteFunc(d.asked, func(_ plan.PodID, a asked) bool { return now.Sub(a.at) > pending })
	return fresh
}

// small reports whether a limit is of a small try, or what was before one: there are many of
// both, and nothing comes of them. What stays is told.
func (d *decided) small(c plan.Limit, now time.Time) bool {
	before, out := d.tried[c.Pod]
	switch {
	case !c.Tried:
		delete(d.tried, c.Pod)
		return out && c.To == before.to
	case d.tried == nil:
		d.tried = map[plan.PodID]asked{}
	}
	if !out {
		before.to = c.From
	}
	d.tried[c.Pod] = asked{before.to, now}
	maps.DeleteFunc(d.tried, func(_ plan.PodID, a asked) bool { return now.Sub(a.at) > lastingTry })
	return true
}

// lastingTry is longer than any small try is out without another change of its limit.
const lastingTry = time.Minute

// mostLines is how much of what is decided in one step is logged: a log that is read
// slowly must not keep the next step from those who are late.
const mostLines = 250

// add puts what is new, oldest first, before what was decided until now.
func (j *journal) add(news ...status.Decision) {
	if len(news) == 0 {
		return
	}
	all := make([]status.Decision, 0, maxDecisions)
	for i := len(news) - 1; i >= 0 && len(all) < maxDecisions; i-- {
		all = append(all, news[i])
	}
	j.decisions = append(all, j.decisions[:min(len(j.decisions), maxDecisions-len(all))]...)
}

// telling reasons are worth a line even where no limit changes, once they have
// lasted. The others, such as calm and near the target, come and go several
// times a second.
func telling(r plan.Reason, lasted time.Duration) bool {
	switch r.Cause {
	case plan.Violation, plan.Unresponsive, plan.TooCostly, plan.AtFloor, plan.Blind:
		return true
	case plan.NotNetwork, plan.CannotMeet:
		return lasted >= lasting
	}
	return r.Action == plan.Restore
}

func logDecision(ctx context.Context, log *slog.Logger, r plan.Reason, d status.Decision) {
	log.LogAttrs(ctx, slog.LevelInfo, "decision",
		slog.String("bottleneck", r.Bottleneck.String()), slog.String("phase", string(r.Phase)), slog.String("action", string(r.Action)), slog.String("cause", string(r.Cause)),
		slog.Bool("observe_only", d.Observed), slog.String("app", d.App), slog.String("signal", string(r.Signal)),
		slog.Duration("measured", r.Measured), slog.Duration("target", r.Target), slog.Float64("ratio", r.Ratio),
		slog.Int("samples", r.Samples), slog.String("usage", r.Usage.String()),
		slog.String("old_budget", r.From.String()), slog.String("new_budget", r.To.String()),
		slog.Duration("feedback", r.Feedback))
	for _, limit := range d.Limits {
		log.LogAttrs(ctx, slog.LevelInfo, "limit",
			slog.String("pod", limit.Pod), slog.String("old_limit", limit.FromBps.String()), slog.String("new_limit", limit.ToBps.String()),
			slog.String("cause", string(r.Cause)), slog.String("signal", string(r.Signal)),
			slog.Duration("measured", r.Measured), slog.Duration("target", r.Target), slog.Bool("observe_only", d.Observed))
	}
}

// announce puts on the critical pod what its owner should know: that limiting
// others does not help it, or can't any more.
func announce(events Events, s *inventory.Snapshot, r plan.Reason) {
	var reason, note string
	switch r.Cause {
	case plan.Unresponsive:
		reason, note = "Unresponsive", "%s is %s where %s is asked for, and limiting best-effort traffic on %s did not help: the cause is not best-effort traffic (but CPU, the far end, or traffic that detnet does not control). Limits are as they were."
	case plan.TooCostly:
		reason, note = "TooCostly", "%s is %s where %s is asked for, and what best-effort traffic on %s has lost for it is as much as one workload may cost (laws.adaptive.harm), with no agent beside the pod that sees its trouble too. Limits are as they were, and it is let be for a while: let an agent run on its node, or have the administrator raise the bound."
	case plan.CannotMeet:
		reason, note = "CannotMeet", "%s cannot be met: the idle path shows %s where %s is asked for, without best-effort traffic on %s. Limiting others does not change that, and nobody is limited for less than twice of it: ask for more than the path and the hosts take, or give them less to do."
	case plan.AtFloor:
		reason, note = "AtFloor", "%s is %s where %s is asked for, and on %s there is nothing left to take: "+atFloor(s, r.Bottleneck)+" Add capacity or lower the floors."
	case plan.NotNetwork:
		reason, note = "NotNetwork", "%s is %s where %s is asked for, but the agent beside the pod is reached in time: its host or its process is late, not the network on %s. Nobody is limited for it; give the pod CPU of its own."
	default:
		return
	}
	for _, app := range s.Apps {
		if app.Pod == r.App && app.Pod.Namespace != inventory.StaticNamespace { // an endpoint is no object
			pod := &corev1.Pod{}
			pod.Namespace, pod.Name, pod.UID = app.Pod.Namespace, app.Pod.Name, app.UID
			measured, target := r.Measured.Round(time.Microsecond).String(), r.Target.String()
			if r.Signal == plan.Loss {
				measured, target = share(r.Ratio), cmp.Or(share(app.SLO.Loss), "less")
			}
			events.Eventf(pod, nil, corev1.EventTypeWarning, reason, string(r.Action), note, r.Signal, measured, target, r.Bottleneck)
		}
	}
}

// share is a ratio for people; "" for none.
func share(ratio float64) string {
	if ratio == 0 {
		return ""
	}
	return strconv.FormatFloat(100*ratio, 'g', 3, 64) + " %"
}

// problems logs each problem once for as long as it lasts, and of many at once the first.
func (j *journal) problems(l *Loop, all []inventory.Problem) {
	known, told, lines := make(map[inventory.Problem]bool, len(all)), 0, 0
	for _, p := range all {
		known[p] = true
		if j.known[p] {
			continue
		}
		if lines++; lines <= mostLines {
			l.Log.Warn("not taken as it is written", "object", p.Object, "problem", p.Text)
		}
		if told < maxTold {
			told += tellOwners(l.Events, p)
		}
	}
	if left := lines - mostLines; left > 0 {
		l.Log.Warn("more is not taken as it is written than is logged: the status has all of it", "lines_left_out", left)
	}
	j.known = known
}
