package score

import (
	"time"

	"github.com/detnet/detnet/bitrate"
)

// calmSeconds is how many seconds with hardly a late probe a law is given to come back to
// what fits through, and calmShare what may be late in them.
const (
	calmSeconds = 10
	calmShare   = 0.01
)

// filled is the share of what would go through that is delivered in the last of the first
// calmSeconds after the onset; -1 where there are none.
func (r Run) filled() float64 {
	n := int((r.End - r.Onset) / time.Second)
	if n < calmSeconds {
		return -1
	}
	late, all := make([]int, n), make([]int, n)
	for _, p := range r.Probes {
		if i := int((p.At - r.Onset) / time.Second); p.At >= r.Onset && i < n {
			all[i]++
			if p.Late {
				late[i]++
			}
		}
	}
	for i := range n - calmSeconds + 1 {
		if seen := sum(all[i : i+calmSeconds]); seen > 0 && ratio(sum(late[i:i+calmSeconds]), seen) <= calmShare {
			to := r.Onset + time.Duration(i+calmSeconds)*time.Second
			return r.fill(to-time.Second, to)
		}
	}
	return -1
}

// fill is what the controlled senders delivered in a stretch, of what they would have where
// there is as much room as the others leave; 1 where they want nothing.
func (r Run) fill(from, to time.Duration) float64 {
	var got, could bitrate.Rate
	for _, p := range r.Points {
		if p.At <= from || p.At > to {
			continue
		}
		var offered, others bitrate.Rate
		for i, s := range r.Senders {
			switch {
			case s.Aside:
			case s.Uncontrolled:
				others += p.Goodput[i]
			default:
				offered += p.Offered[i] + p.Waiting[i]
				got += p.Goodput[i]
			}
		}
		could += min(offered, max(p.Room-others, 0))
	}
	if could == 0 {
		return 1
	}
	return min(float64(got)/float64(could), 1)
}
