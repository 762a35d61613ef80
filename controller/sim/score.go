package sim

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// Score is what a run was worth.
type Score struct {
	Scenario   string        `json:"scenario"`
	Law        string        `json:"law"`
	Seed       uint64        `json:"seed"`
	Violation  float64       `json:"violation_ratio"`         // of the probes from onset on
	Settled    float64       `json:"violation_ratio_settled"` // of those from 2 s after onset
	Queued     float64       `json:"violation_ratio_queued"`  // without those whose host alone made them late
	Goodput    bitrate.Rate  `json:"goodput_bps"`             // of the controlled senders, from onset to end
	FirstCut   time.Duration `json:"first_cut_ns"`            // after onset; -1: never
	Clean      time.Duration `json:"clean_ns"`                // after onset; -1: never
	Recovery   time.Duration `json:"recovery_ns"`             // after capacity came back; -1: not in time, 0: nothing to recover
	Jain       float64       `json:"jain"`
	PatchRate  float64       `json:"patches_per_pod_5s"` // from 10 s after onset to end
	CalmWrites int           `json:"calm_patches"`       // before onset
	Patches    int           `json:"patches"`
}

// settling is how long a law is given before steady state is measured.
const settling = 10 * time.Second

// Score measures a run.
func (r *Record) Score() Score {
	s := r.Scenario
	score := Score{Scenario: s.Name, Law: r.Law, Seed: r.Seed, Patches: r.Patches, FirstCut: -1}
	late, queued := func(p Probe) bool { return p.Late }, func(p Probe) bool { return p.Queued }
	score.Violation = r.violation(s.Onset, s.Length, late)
	score.Settled = r.violation(s.Onset+2*time.Second, s.Length, late)
	score.Queued = r.violation(s.Onset, s.Length, queued)
	score.Goodput = r.goodput(s.Onset, s.End)
	score.Clean = r.clean(s.Onset, s.End)
	score.Recovery = r.recovery()
	score.Jain = r.jain(s.Onset+settling, s.End)
	writes, pods := 0, 0
	for _, d := range r.Decisions {
		switch {
		case d.At < s.Onset:
			score.CalmWrites += d.Writes
		case d.At >= s.Onset+settling && d.At < s.End:
			writes += d.Writes
		}
		if score.FirstCut < 0 && d.At >= s.Onset && d.Writes > 0 && d.Plan.Limits[0].Urgent() {
			score.FirstCut = d.At - s.Onset
		}
	}
	for _, spec := range s.Senders {
		if !spec.Uncontrolled {
			pods++
		}
	}
	if span := s.End - s.Onset - settling; span > 0 && pods > 0 {
		score.PatchRate = float64(writes) / float64(pods) / (span.Seconds() / 5)
	}
	return score
}

func (r *Record) violation(from, to time.Duration, counts func(Probe) bool) float64 {
	late, all := 0, 0
	for _, p := range r.Probes {
		if p.At >= from && p.At < to {
			all++
			if counts(p) {
				late++
			}
		}
	}
	if all == 0 {
		return 0
	}
	return float64(late) / float64(all)
}

func (r *Record) goodput(from, to time.Duration) bitrate.Rate {
	var sum, n bitrate.Rate
	for _, p := range r.Points {
		if p.At <= from || p.At > to {
			continue
		}
		n++
		for i, g := range p.Goodput {
			if !r.Scenario.Senders[i].Uncontrolled {
				sum += g
			}
		}
	}
	return sum / max(n, 1)
}

// clean is when a window of 2 s with less than 5 % of violations begins.
func (r *Record) clean(from, to time.Duration) time.Duration {
	const bin = 50 * time.Millisecond
	n := int((to-from)/bin) + 1
	late, all := make([]int, n+1), make([]int, n+1)
	for _, p := range r.Probes {
		if p.At < from || p.At >= to {
			continue
		}
		i := int((p.At - from) / bin)
		all[i]++
		if p.Late {
			late[i]++
		}
	}
	const window = int(2 * time.Second / bin)
	for i := 0; i+window <= n; i++ {
		l, a := 0, 0
		for k := i; k < i+window; k++ {
			l, a = l+late[k], a+all[k]
		}
		if a > 0 && float64(l) < 0.05*float64(a) {
			return time.Duration(i) * bin
		}
	}
	return -1
}

// recovery is the longest time from an event that frees capacity until 90 % of
// it may be used by the senders that want to.
func (r *Record) recovery() time.Duration {
	var worst time.Duration
	for k, e := range r.Scenario.Events {
		if !e.Frees {
			continue
		}
		until := r.Scenario.Length
		for _, later := range r.Scenario.Events[k+1:] {
			if later.At > e.At && !later.Restart {
				until = min(until, later.At)
			}
		}
		took := time.Duration(-1)
		for _, p := range r.Points {
			if p.At < e.At || p.At >= until {
				continue
			}
			if r.usable(p) >= p.Room*9/10 {
				took = p.At - e.At
				break
			}
		}
		if took < 0 {
			return -1
		}
		worst = max(worst, took)
	}
	return worst
}

// usable is what the limits let the active senders send. Where nobody is
// active the limits of all count: it is what they would find.
func (r *Record) usable(p Point) bitrate.Rate {
	var active, all bitrate.Rate
	for i, spec := range r.Scenario.Senders {
		if spec.Uncontrolled || spec.Node != r.Scenario.Nodes[0].Name {
			continue
		}
		limit := p.Limits[i]
		if limit == 0 {
			limit = bitrate.Gbit
		}
		all += limit
		if p.Offered[i] > 0 {
			active += limit
		}
	}
	if active > 0 {
		return active
	}
	return all
}

// jain is the weighted Jain index of what the senders got, each relative to its
// max-min fair share of what those of its rank on its node got together.
func (r *Record) jain(from, to time.Duration) float64 {
	type group struct {
		node string
		rank int
	}
	members := map[group][]int{}
	for i, spec := range r.Scenario.Senders {
		if !spec.Uncontrolled {
			g := group{spec.Node, spec.Rank}
			members[g] = append(members[g], i)
		}
	}
	got, fair := make([]float64, len(r.Senders)), make([]float64, len(r.Senders))
	for _, p := range r.Points {
		if p.At <= from || p.At > to {
			continue
		}
		for _, m := range members {
			r.addShares(p, m, got, fair)
		}
	}
	var sum, squares, count float64
	for i := range got {
		if fair[i] > 0 {
			x := got[i] / fair[i]
			sum, squares, count = sum+x, squares+x*x, count+1
		}
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (count * squares)
}

// addShares adds what each member got at one point, and its fair share of the
// whole: water-filled by weight from the smallest demand upwards.
func (r *Record) addShares(p Point, members []int, got, fair []float64) {
	demand := func(i int) float64 {
		if r.Scenario.Senders[i].Kind == TCP && p.Offered[i] > 0 {
			return math.Inf(1)
		}
		return (p.Offered[i] + p.Waiting[i]).Mbit() // what waited is wanted, too
	}
	weight := func(i int) float64 { return float64(max(r.Scenario.Senders[i].Weight, 1)) }
	order := slices.Clone(members)
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(demand(a)/weight(a), demand(b)/weight(b)) })
	var total, weights float64
	for _, i := range order {
		got[i] += p.Goodput[i].Mbit()
		total += p.Goodput[i].Mbit()
		weights += weight(i)
	}
	for _, i := range order {
		share := min(total*weight(i)/weights, demand(i))
		fair[i] += share
		total, weights = total-share, weights-weight(i)
	}
}
