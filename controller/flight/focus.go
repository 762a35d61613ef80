package flight

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/plan"
)

// What is kept where there is no room for all.
const (
	after = 30 * time.Second // of an uplink, once its trouble is over
	sight = 5 * time.Second  // that agents keep, and so what is seen of a trouble's beginning
	aRow  = 14               // octets of a sample or a rate, about, with what there is of each step and segment
)

// focus says which uplinks a run records: all of them while there is room, else those in
// trouble, as many as there is room for.
type focus struct {
	part    bool             // not all
	held    map[string]hold  // recorded, by node
	waiting map[string]since // in trouble, and there is no room
	left    map[string]since // when those were recorded last that gave way to others
	partly  map[string]bool  // held, and something that counts there is not seen
	last    since            // trouble anywhere
}

// since is a time, as others after the recorder's epoch.
type since = time.Duration

type hold struct{ from, last since } // in trouble

// room is how much may be recorded.
type room struct {
	octets int
	span   time.Duration
}

// look takes in one decision and reports whether others are recorded than before. Some
// leave only where that is free: as a segment begins.
func (f *focus) look(o plan.Observation, p plan.Plan, parts bool, r room, now since, free bool) (moved bool) {
	troubled := inTrouble(p)
	if len(troubled) > 0 {
		f.last = now
	}
	was := f.part
	f.part = parts && !r.fits(o, f.part)
	if moved = f.part != was; moved || !f.part {
		f.held, f.waiting, f.left, f.partly = nil, nil, nil, nil
	}
	if !f.part {
		return moved
	}
	if f.held == nil {
		f.held, f.waiting, f.left = map[string]hold{}, map[string]since{}, map[string]since{}
	}
	maps.DeleteFunc(f.waiting, func(_ string, last since) bool { return now-last > after })
	for _, node := range troubled {
		if node == "" {
			continue // it takes all to tell
		} else if h, held := f.held[node]; held {
			f.held[node] = hold{h.from, now}
		} else {
			f.waiting[node] = now
		}
	}
	if free && f.leave(r.span, now) {
		moved = true
	}
	return f.enter(o, r, now) || moved
}

// idle reports whether nothing is recorded, as there is no trouble.
func (f *focus) idle() bool { return f.part && len(f.held) == 0 }

// troubled reports whether there was trouble lately.
func (f *focus) troubled(now since) bool { return f.last > 0 && now-f.last <= after }

// leave lets go of those whose trouble is over, and where others wait, of those that were
// recorded for long.
func (f *focus) leave(span time.Duration, now since) (moved bool) {
	maps.DeleteFunc(f.left, func(node string, _ since) bool { _, waits := f.waiting[node]; return !waits })
	for node, h := range f.held {
		over := now-h.last > after
		if long := len(f.waiting) > 0 && now-h.from >= span; !over && !long {
			continue
		}
		if moved = true; !over {
			f.waiting[node], f.left[node] = h.last, now
		}
		delete(f.held, node)
	}
	return moved
}

// enter takes in those in trouble that there is room for, first who was not recorded yet.
func (f *focus) enter(o plan.Observation, r room, now since) (moved bool) {
	if len(f.waiting) == 0 {
		return false
	}
	rows, sum := rowsByNode(o), 0
	for node := range f.held {
		sum += rows[node]
	}
	wait := slices.SortedFunc(maps.Keys(f.waiting), func(a, b string) int {
		return cmp.Or(cmp.Compare(f.left[a], f.left[b]), cmp.Compare(a, b))
	})
	for _, node := range wait {
		if more := sum + rows[node]; f.waiting[node] == now && (len(f.held) == 0 || r.holds(more, r.span)) {
			f.held[node] = hold{now, now}
			delete(f.waiting, node)
			sum, moved = more, true
		}
	}
	return moved
}

// holds reports whether so many rows in sight leave room for a time.
func (r room) holds(rows int, time time.Duration) bool {
	return float64(rows)*aRow*float64(time)/float64(sight) <= float64(r.octets)
}

// fits reports whether there is room for the time with all in sight. Where there was not,
// more is asked for.
func (r room) fits(o plan.Observation, was bool) bool {
	rows := 0
	for i := range o.Apps {
		rows += rowsOf(&o.Apps[i])
	}
	for i := range o.Senders {
		rows += len(o.Senders[i].Rates)
	}
	if was {
		rows += rows / 4
	}
	return r.holds(rows, r.span)
}

func rowsOf(a *plan.App) int {
	rows := 0
	for _, paths := range [2][]plan.Session{a.Sessions, a.NodeSessions} {
		for i := range paths {
			rows += len(paths[i].Samples)
		}
	}
	return rows
}

// rowsByNode is what there is to record of each node's uplink.
func rowsByNode(o plan.Observation) map[string]int {
	rows := map[string]int{}
	for i := range o.Apps {
		a, n := &o.Apps[i], rowsOf(&o.Apps[i])
		rows[a.Node] += n
		for k := range a.Sessions {
			if a.Sessions[k].Vantage != a.Node {
				rows[a.Sessions[k].Vantage] += n
			}
		}
	}
	for i := range o.Senders {
		rows[o.Senders[i].Node] += len(o.Senders[i].Rates)
	}
	return rows
}

// inTrouble are the nodes with a queue on their uplinks, or what is taken for one; "" is
// the cluster. A second look, and a host that is late by itself, are many times a minute.
func inTrouble(p plan.Plan) []string {
	var nodes []string
	for i := range p.Reasons {
		if r := &p.Reasons[i]; inTroubleBy(r) {
			nodes = append(nodes, r.Bottleneck.Node)
		}
	}
	return nodes
}

func inTroubleBy(r *plan.Reason) bool {
	switch r.Phase {
	case plan.Cutting, plan.Testing, plan.Draining:
		return true
	}
	switch r.Cause {
	case plan.Confirming, plan.Blind, plan.NotNetwork:
		return r.Action == plan.Cut || r.Action == plan.Restore
	}
	return r.Trouble() || r.Action == plan.Cut || r.Action == plan.Restore
}

func (f *focus) holds(node string) bool { _, held := f.held[node]; return held }

// view is what is recorded of a step: of what was seen, what is behind the uplinks that
// are held and who has a say there.
func (f *focus) view(o plan.Observation) plan.Observation {
	part := plan.Observation{At: o.At}
	for i := range o.Apps {
		a := &o.Apps[i]
		if f.holds(a.Node) || slices.ContainsFunc(a.Sessions, func(s plan.Session) bool { return f.holds(s.Vantage) }) {
			part.Apps = append(part.Apps, *a)
		}
	}
	for i := range o.Senders {
		if f.holds(o.Senders[i].Node) {
			part.Senders = append(part.Senders, o.Senders[i])
		}
	}
	for _, t := range o.Told {
		if f.holds(t.Node) {
			part.Told = append(part.Told, t)
		}
	}
	return part
}

// decided is what was decided about those that are held.
func (f *focus) decided(p plan.Plan, part plan.Observation) plan.Plan {
	out := plan.Plan{At: p.At}
	at := make([]int, len(p.Reasons))
	for i := range p.Reasons {
		if at[i] = -1; f.holds(p.Reasons[i].Bottleneck.Node) {
			at[i], out.Reasons = len(out.Reasons), append(out.Reasons, p.Reasons[i])
		}
	}
	for _, l := range p.Limits {
		if l.Reason = at[l.Reason]; l.Reason >= 0 {
			out.Limits = append(out.Limits, l)
		}
	}
	seen := func(app plan.PodID) bool {
		return slices.ContainsFunc(part.Apps, func(a plan.App) bool { return a.Pod == app })
	}
	for _, app := range p.Empty {
		if seen(app) {
			out.Empty = append(out.Empty, app)
		}
	}
	for _, idle := range p.Idle {
		if seen(idle.App) {
			out.Idle = append(out.Idle, idle)
		}
	}
	return out
}

// doubt notes about whom a replay may decide otherwise: who shares an app with an uplink
// in trouble that there is no room for, and all while the cluster is one bottleneck.
func (f *focus) doubt(part plan.Observation, p plan.Plan, before law.State) {
	if f.partly == nil {
		f.partly = map[string]bool{}
	}
	budgets := before.Adaptive.Budgets
	if len(budgets) > 0 && budgets[len(budgets)-1].Bottleneck.Whole || slices.ContainsFunc(p.Reasons, func(r plan.Reason) bool { return r.Bottleneck.Whole }) {
		for node := range f.held {
			f.partly[node] = true
		}
		return
	}
	if len(f.waiting) == 0 {
		return
	}
	for i := range part.Apps {
		nodes := []string{part.Apps[i].Node}
		for k := range part.Apps[i].Sessions {
			nodes = append(nodes, part.Apps[i].Sessions[k].Vantage)
		}
		waits := func(node string) bool { _, waits := f.waiting[node]; return waits }
		if !slices.ContainsFunc(nodes, waits) {
			continue
		}
		for _, node := range nodes {
			if f.holds(node) {
				f.partly[node] = true
			}
		}
	}
}
