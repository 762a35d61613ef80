package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/detnet/detnet/certs"
)

// congested is what the pods of a congested node offer together.
const congested = 3 * capacity

// bench is one run.
type bench struct {
	options
	cluster *cluster
	fleet   *fleet
	leader  *replica
	standby *replica
	writes  atomic.Int64
	next    int // first node that was never congested
	figures Figures
}

func measure(ctx context.Context, o options, dir string) (Figures, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c, err := startCluster(ctx, dir)
	if err != nil {
		return Figures{}, err
	}
	defer func() { _ = c.env.Stop() }() // nothing of it is used any more
	b := &bench{options: o, cluster: c, figures: Figures{Nodes: o.nodes, Pods: o.pods, Road: o.road}}
	b.fleet = &fleet{
		byApp: map[string]*node{}, takes: o.road == "tc",
		terms: map[uint64]time.Time{}, told: map[uint64]map[int]time.Time{}, samplers: map[*sampler]bool{},
	}
	for i := range o.nodes {
		n := &node{index: i, rated: time.Now()}
		b.fleet.nodes = append(b.fleet.nodes, n)
		b.fleet.byApp[appAddress(i)], b.fleet.byApp[agentAddress(i)] = n, n
	}
	if err := c.populate(ctx, b.fleet.nodes, o.pods); err != nil {
		return Figures{}, err
	}
	delay := time.Duration(0)
	if o.road == "annotation" {
		delay = patchDelay
	}
	c.follow(ctx, b.fleet.nodes, delay, func() { b.writes.Add(1) })
	if err := certificate(dir); err != nil {
		return Figures{}, err
	}
	shared, err := certs.OpenDir(dir)
	if err != nil {
		return Figures{}, err
	}
	if err := b.fleet.serve(ctx, shared.MutualServerConfig()); err != nil {
		return Figures{}, err
	}
	err = b.run(ctx, dir)
	b.stop()
	if err != nil {
		for _, r := range []*replica{b.leader, b.standby} {
			if r != nil {
				text, _ := os.ReadFile(r.log) // for the reader alone
				fmt.Fprintf(os.Stderr, "--- %s\n%s", r.log, text[max(0, len(text)-3000):])
			}
		}
	}
	return b.figures, err
}

// stop ends the controllers.
func (b *bench) stop() {
	for _, r := range []*replica{b.leader, b.standby} {
		if r != nil {
			r.kill()
		}
	}
}

func (b *bench) run(ctx context.Context, dir string) (err error) {
	begun := time.Now()
	if b.leader, err = startReplica(ctx, b.options, b.cluster, dir, 0); err != nil {
		return err
	}
	if err := b.until(ctx, "the first agents hear of a leader and all stream", func() bool { return b.fleet.streams.Load() == int64(2*b.nodes) && b.led() }); err != nil {
		return err
	}
	b.figures.AllStreams = seconds(time.Since(begun))
	if b.figures.FirstDecision, err = b.firstTick(ctx, b.leader, begun); err != nil {
		return err
	}
	if b.standby, err = startReplica(ctx, b.options, b.cluster, dir, 1); err != nil {
		return err
	}
	if err := sleep(ctx, 5*time.Second); err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	if err := b.churn(ctx); err != nil {
		return err
	}
	for _, k := range []int{1, max(1, b.nodes/10), b.nodes} {
		if err := b.congest(ctx, k); err != nil {
			return err
		}
	}
	if err := b.change(ctx); err != nil {
		return err
	}
	if b.cached == 0 {
		return nil
	}
	b.stop() // the webhook has the machine for itself
	return b.admission(ctx, dir)
}

// led reports whether a leader has spoken; on the other road nobody hears one.
func (b *bench) led() bool {
	b.fleet.mu.Lock()
	defer b.fleet.mu.Unlock()
	return len(b.fleet.terms) > 0 || !b.fleet.takes
}

// firstTick waits for a replica's first decision and returns when it was.
func (b *bench) firstTick(ctx context.Context, r *replica, since time.Time) (float64, error) {
	for {
		if h, err := r.ticks(ctx); err == nil && h != nil {
			return seconds(time.Since(since)), nil
		}
		if time.Since(since) > startUpMax {
			return 0, errors.New("nothing was ever decided")
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// calmHolds is how many times as long as another phase the calm one lasts: a p99 is of a hundred rounds at least, one a second.
const calmHolds = 11

// calm measures what it costs while nothing happens.
func (b *bench) calm(ctx context.Context) error {
	before, err := b.leader.ticks(ctx)
	if err != nil {
		return err
	}
	cpu, _, err := b.leader.used()
	if err != nil {
		return err
	}
	idle, _, err := b.standby.used()
	if err != nil {
		return err
	}
	asked, leases, err := b.cluster.requests(ctx)
	if err != nil {
		return err
	}
	waited := b.leader.waited()
	reports, octets, measured, begun := b.fleet.reports.Load(), b.fleet.octets.Load(), b.fleet.measured.Load(), time.Now()
	if err := sleep(ctx, calmHolds*b.hold); err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	f := &b.figures
	f.ReportsPerSecond = float64(b.fleet.reports.Load()-reports) / took
	f.OctetsPerSecond = float64(b.fleet.octets.Load()-octets) / took
	f.SessionOctets = float64(b.fleet.measured.Load()-measured) / took / float64(max(1, b.fleet.sessions()))
	f.LeaderWaits = (b.leader.waited() - waited).Seconds() / took
	f.Streams = b.fleet.streams.Load()
	askedNow, leasesNow, err := b.cluster.requests(ctx)
	if err != nil {
		return err
	}
	f.APIRequests, f.LeaseRequests = (askedNow-asked)/took, (leasesNow-leases)/took
	now, resident, err := b.leader.used()
	if err != nil {
		return err
	}
	f.LeaderCores, f.LeaderMiB = (now-cpu).Seconds()/took, float64(resident)/(1<<20)
	if f.LeaderFileMiB, err = b.leader.pages(); err != nil {
		return err
	}
	now, resident, err = b.standby.used()
	if err != nil {
		return err
	}
	f.StandbyCores, f.StandbyMiB = (now-idle).Seconds()/took, float64(resident)/(1<<20)
	after, err := b.leader.ticks(ctx)
	if err != nil {
		return err
	}
	f.Ticks = after.GetSampleCount() - before.GetSampleCount()
	f.TickP50Ms, f.TickP99Ms = 1000*quantile(before, after, 0.5), 1000*quantile(before, after, 0.99)
	return nil
}

// congest congests k nodes at once, of those that were not before if there are
// enough.
func (b *bench) congest(ctx context.Context, k int) error {
	first := b.next
	if k == b.nodes {
		first = 0
	}
	nodes := b.fleet.nodes[first : first+k]
	b.next = first + k
	before, err := b.leader.ticks(ctx)
	if err != nil {
		return err
	}
	cpu, _, err := b.leader.used()
	if err != nil {
		return err
	}
	waited := b.leader.waited()
	writes, onset := b.writes.Load(), time.Now()
	for _, n := range nodes {
		n.mu.Lock()
		was := n.onset
		n.mu.Unlock()
		if was.IsZero() {
			n.congest(congested/float64(b.pods), onset)
		}
	}
	if err := sleep(ctx, b.hold); err != nil {
		return err
	}
	took := time.Since(onset).Seconds()
	waits := (b.leader.waited() - waited).Seconds() / took
	o := Onset{Nodes: k, LeaderWaits: waits}
	for _, n := range nodes {
		n.mu.Lock()
		if n.onset.Equal(onset) {
			o.Fresh++
			if !n.firstCut.IsZero() {
				o.cuts = append(o.cuts, seconds(n.firstCut.Sub(onset)))
			}
			if !n.lastLate.IsZero() && time.Since(n.lastLate) > clean {
				o.clean = append(o.clean, seconds(n.lastLate.Sub(onset)))
			}
			o.Sent += n.sending() / capacity
			o.Offered += n.before / capacity
			if !n.lastLate.IsZero() {
				o.Late++
			}
		}
		n.mu.Unlock()
	}
	o.Sent /= float64(max(1, o.Fresh))
	o.Offered /= float64(max(1, o.Fresh))
	o.WritesPerSecond = float64(b.writes.Load()-writes) / took
	now, _, err := b.leader.used()
	if err != nil {
		return err
	}
	o.LeaderCores = (now - cpu).Seconds() / took
	after, err := b.leader.ticks(ctx)
	if err != nil {
		return err
	}
	o.TickP99Ms = 1000 * quantile(before, after, 0.99)
	o.sum()
	b.figures.Onsets = append(b.figures.Onsets, o)
	return nil
}

// change kills the leader and waits for the next one's first words.
func (b *bench) change(ctx context.Context) error {
	b.fleet.mu.Lock()
	known := len(b.fleet.terms)
	b.fleet.mu.Unlock()
	before, err := b.cluster.holder(ctx)
	if err != nil {
		return err
	}
	taken := make(chan time.Time, 1)
	killed := time.Now()
	b.leader.kill()
	go func() { b.handedOver(ctx, before); taken <- time.Now() }()
	first, err := b.firstTick(ctx, b.standby, killed)
	if err != nil {
		return err
	}
	b.figures.ChangeDecision = first
	b.figures.ChangeLease = seconds((<-taken).Sub(killed))
	if !b.fleet.takes {
		return nil
	}
	all := func() (last time.Time, n int) {
		b.fleet.mu.Lock()
		defer b.fleet.mu.Unlock()
		if len(b.fleet.terms) <= known {
			return last, 0
		}
		newest := uint64(0)
		for term := range b.fleet.terms {
			newest = max(newest, term)
		}
		for _, at := range b.fleet.told[newest] {
			if at.After(last) {
				last = at
			}
		}
		return last, len(b.fleet.told[newest])
	}
	if err := b.until(ctx, "all nodes hear the next leader", func() bool { _, n := all(); return n == b.nodes }); err != nil {
		return err
	}
	last, _ := all()
	b.figures.ChangeAllNodes = seconds(last.Sub(killed))
	return nil
}

// handedOver waits until another holds the lease, or ctx ends.
func (b *bench) handedOver(ctx context.Context, before string) {
	for {
		if now, err := b.cluster.holder(ctx); err == nil && now != before {
			return
		}
		if sleep(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

func (b *bench) until(ctx context.Context, what string, is func() bool) error {
	for begun := time.Now(); !is(); {
		if time.Since(begun) > startUpMax {
			return fmt.Errorf("not within %v: %s", startUpMax, what)
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// at is the p-quantile of sorted figures, by nearest rank; 0 of none.
func at(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func (o *Onset) sum() {
	slices.Sort(o.cuts)
	slices.Sort(o.clean)
	o.Cut, o.CutP50, o.CutP99, o.CutMax = len(o.cuts), at(o.cuts, 0.5), at(o.cuts, 0.99), at(o.cuts, 1)
	o.Clean, o.CleanP50, o.CleanMax = len(o.clean), at(o.clean, 0.5), at(o.clean, 1)
}
