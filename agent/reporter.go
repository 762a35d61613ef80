package agent

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/uplink"
	"github.com/detnet/detnet/agent/usage"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/alive"
)

// urgentEvery is the least time between two reports that are sent before theirs.
const urgentEvery = 20 * time.Millisecond

// maxCalm bounds how rarely a controller may have reports sent: it takes silence for
// a dead stream.
const maxCalm = time.Second

// reporter reports over one stream.
type reporter struct {
	*Server
	sender *probe.Sender
	handed *handover
	term   atomic.Uint64 // of the leader; 0: it decides nothing

	packed atomic.Bool
	calm   atomic.Int64 // a time.Duration between reports while all is calm; 0: ReportEvery
	least  atomic.Int64 // a time.Duration between any two reports at the least; 0: ReportEvery

	names   wire.Names
	cursor  uint64          // in the usage that is known
	windows <-chan struct{} // closed when there is more of it
	uplinks []uplink.Uplink
	since   time.Time // the first report
	begun   bool      // a report was sent
	last    time.Time // the last one
	stirred time.Time // when there was something worth telling before its time
	hurried time.Time // when a report came before its time
}

// take notes how an assignment wants to be reported to.
func (r *reporter) take(a *api.Assignment) {
	r.packed.Store(a.GetPacked())
	r.calm.Store(int64(min(time.Duration(a.GetCalmReportMs())*time.Millisecond, maxCalm)))
	r.least.Store(int64(min(time.Duration(a.GetLeastReportMs())*time.Millisecond, maxCalm)))
}

// report sends a report every ReportEvery, as soon as what pods send has been measured,
// and when a session has become late; less often where that was asked for, while all is
// calm or the controller has too much to read. A controller that reads slowly delays the next report; what is measured meanwhile
// waits in bounded rings.
func (r *reporter) report(stream grpc.BidiStreamingServer[api.Assignment, api.Report], received <-chan error) error {
	ticker := time.NewTicker(ReportEvery)
	defer ticker.Stop()
	turns := r.Alive.Part("reports to a controller", alive.Patience)
	defer turns.Leave()
	pause := time.NewTimer(0) // since the last report
	defer pause.Stop()
	var urgent, measured <-chan struct{} // nil until the pause is over
	for {
		early := false
		select {
		case <-pause.C:
			urgent, measured = r.sender.Urgent(), r.windows
			continue
		case <-measured:
			measured = r.Meter.Next()
			ticker.Reset(ReportEvery * 3 / 2) // for when it measures no more
		case <-urgent:
			early = true
		case <-stream.Context().Done():
			return stream.Context().Err()
		case err := <-received:
			if errors.Is(err, context.Canceled) || status.Code(err) != codes.Unknown {
				return err
			}
			return nil // the controller closed its half
		case <-ticker.C:
		}
		if err := r.leads(r.term.Load()); err != nil {
			return err
		}
		turns.Begin()
		now := time.Now()
		if early {
			r.stirred = now
		}
		if early = early && r.first(now); early {
			r.hurried = now
		} else if r.waits(now) {
			turns.End()
			continue
		}
		report := r.next()
		report.Calm = r.calm.Load() > 0 && r.last.Sub(r.stirred) >= settled
		report.StampKeyHeld, report.Urgent = r.handed.held.Load(), early
		turns.End() // how long sending takes is the controller's affair
		if err := stream.Send(report); err != nil {
			return fmt.Errorf("send a report: %w", err)
		}
		urgent, measured = nil, nil
		pause.Reset(urgentEvery)
	}
}

// first reports whether what has become late is told of at once: each time, or where the
// controller has too much to read, the first time in a while.
func (r *reporter) first(now time.Time) bool {
	return now.Sub(r.hurried) >= time.Duration(r.least.Load())
}

// waits reports whether the next report is not due yet: the controller has too much to read,
// or all is calm. What is new after a calm second is told at once, for a cut may wait for it.
func (r *reporter) waits(now time.Time) bool {
	calm, least, ago := time.Duration(r.calm.Load()), time.Duration(r.least.Load()), now.Sub(r.last)
	rests, strained := now.Sub(r.stirred) >= settled, ago <= least-ReportEvery/2
	switch {
	case !r.begun:
		return false
	case strained && !rests:
		return true
	case calm == 0:
		return strained
	case r.news():
		r.stirred = now
		return false
	}
	return strained || rests && ago <= calm-ReportEvery/2
}

// settled is for how long after something was worth telling nothing waits: what
// follows it is what is decided by.
const settled = time.Second

// news reports whether something that was not told is worth telling now.
func (r *reporter) news() bool {
	if !r.sender.Quiet() {
		return true
	}
	if r.Meter == nil {
		return false
	}
	rates, _ := r.Meter.Since(r.cursor)
	return !r.packed.Load() || r.names.News(wireRates(rates), r.turn())
}

// leastTurn is a change of what pods send that a node of unknown speed tells of.
const leastTurn = 5 * bitrate.Mbit

// turn is by how much what the pods send together changes before it is told of at
// once: a twentieth of the fastest uplink.
func (r *reporter) turn() uint64 {
	by := leastTurn
	for _, u := range r.Uplinks.Current() {
		by = max(by, u.Speed/20)
	}
	return uint64(by)
}

// next is what was measured since the last report.
func (r *reporter) next() *api.Report {
	packed := r.packed.Load()
	report := &api.Report{Role: r.Role, TakesLimits: r.Limits != nil}
	if !packed || !r.begun {
		report.Node = r.Node
	}
	r.tellUplinks(report, packed)
	present := map[string]bool{}
	r.sender.Collect(func(each probe.Result) {
		present[each.Session.ID] = true
		r.Metrics.observe(each)
		var short *api.PackedSession
		if packed {
			short = packedReport(each)
		}
		if short != nil {
			report.Packed = append(report.Packed, short)
		} else {
			report.Sessions = append(report.Sessions, sessionReport(each))
		}
	})
	r.Metrics.keepOnly(present)
	if r.Meter != nil {
		var rates []usage.Rate
		r.windows = r.Meter.Next()
		rates, r.cursor = r.Meter.Since(r.cursor)
		now := time.Now()
		if !packed || !r.names.Pack(report, wireRates(rates), now) {
			report.Pods = podRates(rates, now)
		}
	}
	r.begun, r.last = true, time.Now()
	if r.since.IsZero() {
		r.since = r.last
	}
	report.SentUs = uint64(r.last.Sub(r.since).Microseconds()) + 1
	return report
}

// tellUplinks says what the node's packets leave by, where it is not as it was.
func (r *reporter) tellUplinks(report *api.Report, packed bool) {
	now := r.Uplinks.Current()
	if packed && r.begun && len(now) == len(r.uplinks) && (len(now) == 0 || &now[0] == &r.uplinks[0]) {
		report.UplinksSame = true
		return
	}
	r.uplinks = now
	for _, u := range now {
		report.Uplinks = append(report.Uplinks, &api.Uplink{Interface: u.Interface, Queue: u.Queue, SpeedBps: uint64(u.Speed)})
	}
}
