// Package marks writes on nodes what the controller knows of their uplinks: for the
// scheduler a taint PreferNoSchedule where the uplink has been congested for a while,
// and an extended resource with the bandwidth that best-effort pods have there; for
// the next leader what was found to fit. All are off unless asked for.
package marks

import (
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// Config says what nodes are marked with. The zero value takes marks away.
type Config struct {
	// TaintAfter is for how long a node's uplink must have been congested, on
	// balance, until the node is tainted detnet.dev/congested:PreferNoSchedule,
	// and free until the taint is taken away; 0s is never.
	TaintAfter time.Duration `yaml:"taintAfter"`
	// Bandwidth advertises the extended resource
	// detnet.dev/best-effort-bandwidth, in bit/s: what the node's annotation of
	// that name says, else what was found to fit while the uplink was full.
	Bandwidth bool `yaml:"bandwidth"`
	// Remember notes what was found to fit in the annotation detnet.dev/uplink-found,
	// for the next leader to begin from.
	Remember bool `yaml:"remember"`
}

// The resource is rewritten when it is wrong by this share, and no more often
// than this: each change is one more version of a large object.
const (
	worthwhile  = 0.1
	minInterval = time.Minute
)

// uplink is what is remembered of one node.
type uplink struct {
	// pressure rises with the time in congestion and falls with the time out
	// of it, between 0 and TaintAfter. The taint comes at the top and goes at
	// the bottom, so that it can't flap.
	pressure time.Duration
	congests bool
	fits     bitrate.Rate // found to fit; 0: not known
	shown    bitrate.Rate // asked for as resource
	shownAt  time.Time
	note
}

// want is what a node should carry.
type want struct {
	congested bool
	bandwidth bitrate.Rate // 0: none
	found     workload.Found
}

// decide returns what each node should carry that carries or should carry
// anything. step is the time since the last decision; nodes and reasons are as
// in an inventory.Snapshot and a status.Status.
func decide(c Config, known map[string]uplink, nodes map[string]inventory.Marks, reasons []status.Reason, now time.Time, step time.Duration) (map[string]uplink, map[string]want) {
	next, wanted := map[string]uplink{}, map[string]want{}
	look := func(node string, r status.Reason) {
		u, remembered := known[node]
		marks := nodes[node]
		if !remembered { // go on from what the last leader left
			u.congests = marks.Congested
			if u.congests {
				u.pressure = c.TaintAfter
			}
			u.shown = advertised(marks)
			if marks.Stated == 0 {
				u.fits = u.shown
			}
			u.noted = marks.Found
		}
		u.take(c, r, step)
		u.show(c, marks.Stated, now)
		u.note.take(c, r, now)
		if u != (uplink{}) {
			next[node] = u
		}
		wanted[node] = want{u.congests, u.shown, u.noted}
	}
	for _, r := range reasons {
		if r.Bottleneck.Node != "" && !r.Observed {
			look(r.Bottleneck.Node, r)
		}
	}
	for node := range nodes {
		if _, done := wanted[node]; !done {
			look(node, status.Reason{})
		}
	}
	for node := range known { // nobody to throttle there any more
		if _, done := wanted[node]; !done {
			look(node, status.Reason{})
		}
	}
	return next, wanted
}

func (u *uplink) take(c Config, r status.Reason, step time.Duration) {
	full, steady := congestion(r)
	if full {
		u.pressure = min(u.pressure+step, c.TaintAfter)
	} else {
		u.pressure = max(u.pressure-step, 0)
	}
	switch {
	case c.TaintAfter == 0 || u.pressure == 0:
		u.congests = false
	case u.pressure == c.TaintAfter:
		u.congests = true
	}
	if full && steady {
		u.fits = r.ToBps
	}
}

// congestion reports whether an uplink is full: a critical workload suffers, or
// best effort would send more than fits. steady means that what it may send is
// what fits, not what drains a queue.
func congestion(r status.Reason) (full, steady bool) {
	switch r.Cause {
	case plan.Violation, plan.Confirming, plan.AwaitEffect, plan.AtFloor:
		return true, false
	case plan.Calm, plan.NearTarget, plan.CannotMeet, plan.NotNetwork:
		return r.ToBps > 0 && senders.InUse(r.UsageBps, r.ToBps), r.Cause != plan.NotNetwork
	}
	return false, false
}

func (u *uplink) show(c Config, stated bitrate.Rate, now time.Time) {
	value := u.fits.Quantise()
	if stated != 0 {
		value = stated
	}
	off := max(value-u.shown, u.shown-value)
	switch {
	case !c.Bandwidth:
		u.shown, u.shownAt = 0, time.Time{}
	case stated != 0, u.shown == 0,
		float64(off) >= worthwhile*float64(u.shown) && now.Sub(u.shownAt) >= minInterval:
		if off != 0 {
			u.shown, u.shownAt = value, now
		}
	}
}

func advertised(m inventory.Marks) bitrate.Rate {
	r, err := bitrate.Parse(m.Advertised)
	if err != nil {
		return 0
	}
	return r
}
