package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/sim"
)

// kept is the share of probes that queues may make late before a world counts as not
// kept, and tied how much less best effort is as good.
const (
	kept = 0.01
	tied = 0.98
)

// Rank is how one law did over all worlds.
type Rank struct {
	Law       string  `json:"law"`
	Won       int     `json:"won"`             // worlds in which nobody did better
	Kept      int     `json:"kept"`            // worlds with at most 1 % late by queues
	Worlds    int     `json:"worlds"`          // in which there was something to protect
	Violation float64 `json:"violation_ratio"` // mean
	OfBest    float64 `json:"of_best"`         // mean best effort, of the winner's
}

// Ranking orders the laws, the best first. A world is won by who has the most best
// effort of those who keep it; where nobody does, by who is late least. Worlds in which
// the delay is not the senders' are won by who takes least.
func (r *Results) Ranking() []Rank {
	ranks := map[string]*Rank{}
	var order []*Rank
	rows := r.Table()
	for _, s := range r.Suite.Scenarios {
		of := rivals(rows, s.Name)
		if len(of) == 0 {
			continue
		}
		best := winner(s, of)
		for _, row := range of {
			x := ranks[row.Law]
			if x == nil {
				x = &Rank{Law: row.Law}
				ranks[row.Law], order = x, append(order, x)
			}
			x.Worlds++
			if !better(s, best, row) {
				x.Won++
			}
			if row.Queued <= kept || s.Elsewhere {
				x.Kept++
			}
			x.Violation += row.Queued
			x.OfBest += float64(row.Goodput) / float64(max(best.Goodput, 1))
		}
	}
	slices.SortStableFunc(order, func(a, b *Rank) int {
		return cmp.Or(cmp.Compare(b.Won, a.Won), cmp.Compare(b.Kept, a.Kept), cmp.Compare(a.Violation, b.Violation))
	})
	all := make([]Rank, 0, len(order))
	for _, x := range order {
		x.Violation, x.OfBest = x.Violation/float64(x.Worlds), x.OfBest/float64(x.Worlds)
		all = append(all, *x)
	}
	return all
}

// rivals are the rows of a world that are of laws: the oracle knows the future, the bound what nobody
// can, and nothing is no law.
func rivals(rows []Row, scenario string) []Row {
	var of []Row
	for _, row := range rows {
		if row.Scenario == scenario && row.Law != OracleName && row.Law != BoundName && row.Law != NothingName {
			of = append(of, row)
		}
	}
	return of
}

func winner(s sim.Scenario, of []Row) Row {
	best := of[0]
	for _, row := range of[1:] {
		if better(s, row, best) {
			best = row
		}
	}
	return best
}

// better reports whether a did clearly better than b.
func better(s sim.Scenario, a, b Row) bool {
	more := float64(b.Goodput) < tied*float64(a.Goodput)
	if s.Elsewhere {
		return more
	}
	keeps, other := a.Queued <= kept, b.Queued <= kept
	switch {
	case keeps != other:
		return keeps
	case keeps:
		return more
	}
	return a.Queued < tied*b.Queued
}

// writeRanking tells who did best over all worlds, and where it was not adaptive.
func (r *Results) writeRanking(w io.Writer, rows []Row) {
	ranking := r.Ranking()
	if len(ranking) < 2 {
		return
	}
	fmt.Fprintf(w, "\n## Ranking\n\nA law keeps a world if queues make at most 1 %% of the probes late. It wins one if nobody who keeps it delivers clearly more best effort (2 %%); where nobody keeps it, if nobody is late less. The heracles laws are told the capacity, or 20 %% too much; nobody else is.\n\n| law | worlds won | kept | late by queues, mean | best effort of the winner's, mean |\n|---|---|---|---|---|\n")
	for _, x := range ranking {
		fmt.Fprintf(w, "| %s | %d of %d | %d | %.2f %% | %.0f %% |\n", x.Law, x.Won, x.Worlds, x.Kept, 100*x.Violation, 100*x.OfBest)
	}
	r.writeLosses(w, rows)
}

// writeLosses tells where somebody else wins.
func (r *Results) writeLosses(w io.Writer, rows []Row) {
	began := false
	for _, s := range r.Suite.Scenarios {
		of := rivals(rows, s.Name)
		i := slices.IndexFunc(of, func(row Row) bool { return row.Law == law.Adaptive })
		if i < 0 {
			continue
		}
		best := winner(s, of)
		if !better(s, best, of[i]) {
			continue
		}
		if !began {
			began = true
			fmt.Fprint(w, "\nWhere somebody else wins:\n\n| world | winner | late by queues | best effort | adaptive | best effort |\n|---|---|---|---|---|---|\n")
		}
		fmt.Fprintf(w, "| %s | %s | %.2f %% | %.0fM | %.2f %% | %.0fM |\n", s.Name, best.Law, 100*best.Queued, best.Goodput.Mbit(), 100*of[i].Queued, of[i].Goodput.Mbit())
	}
	if !began {
		fmt.Fprint(w, "\nadaptive wins, or is as good as the winner, in all of these worlds.\n")
	}
}
