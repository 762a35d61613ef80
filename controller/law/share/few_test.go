package share

import (
	"slices"
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

// held is pods before Cilium's limiter that are held back by such limits.
func held(limits ...bitrate.Rate) (g senders.Group, l senders.Look) {
	l.At = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, limit := range limits {
		s := plan.Sender{Pod: plan.PodID{Name: string(rune('a' + i))}, Limiter: plan.EDT, Limit: limit * mbit, Min: 10 * mbit, Max: 1000 * mbit, Weight: 1}
		s.Rates = []plan.TxRate{{At: plan.At(l.At), Tx: s.Limit}}
		l.All = append(l.All, s)
		l.Uses = append(l.Uses, senders.Use{Pod: s.Pod, Now: s.Limit})
		g.Members = append(g.Members, int32(i))
		g.Unused = append(g.Unused, 0)
	}
	for i := range l.All {
		g.Senders = append(g.Senders, &l.All[i])
	}
	g.Load.Paced = true
	return g, l
}

// hostRouted has pods be under BPF host routing.
func hostRouted(g *senders.Group, l *senders.Look) {
	g.Load.Sockets = true
	for i := range l.All {
		l.All[i].Limiter = plan.EDTHostRouting
	}
}

// Where each change costs, as few limits change as will do: nobody is far from its fair share by that.
func TestFewLimitsChangeWhereEachChangeCosts(t *testing.T) {
	low := func(k int, to bitrate.Rate) func(*senders.Group, *senders.Look) {
		return func(_ *senders.Group, l *senders.Look) {
			l.Flushes = []senders.Flush{{Pod: l.All[k].Pod, Was: l.All[k].Limit, To: to * mbit}}
			l.All[k].Limit = 3 * mbit
		}
	}
	none := func(*senders.Group, *senders.Look) {}
	for name, tt := range map[string]struct {
		limits []bitrate.Rate
		total  bitrate.Rate
		change func(*senders.Group, *senders.Look)
		want   []bitrate.Rate
	}{
		"a little more":                    {[]bitrate.Rate{94, 94}, 192, none, []bitrate.Rate{98, 94}},
		"a little more again":              {[]bitrate.Rate{98, 94}, 196, none, []bitrate.Rate{98, 98}},
		"a little less":                    {[]bitrate.Rate{98, 94}, 186, none, []bitrate.Rate{92, 94}},
		"nothing":                          {[]bitrate.Rate{98, 92}, 190, none, []bitrate.Rate{98, 92}},
		"less than a write is worth":       {[]bitrate.Rate{98, 92}, 191, none, []bitrate.Rate{98, 92}},
		"much":                             {[]bitrate.Rate{98, 94}, 120, none, []bitrate.Rate{60, 60}},
		"some are far from it":             {[]bitrate.Rate{120, 70}, 190, none, []bitrate.Rate{95, 95}},
		"one changes anyhow":               {[]bitrate.Rate{98, 98}, 190, low(1, 85), []bitrate.Rate{98, 92}},
		"one does, and is far from it":     {[]bitrate.Rate{98, 98}, 160, low(1, 85), []bitrate.Rate{80, 80}},
		"a change costs nothing":           {[]bitrate.Rate{94, 94}, 192, func(g *senders.Group, _ *senders.Look) { g.Load.Paced = false }, []bitrate.Rate{96, 96}},
		"and little under host routing":    {[]bitrate.Rate{94, 94}, 192, hostRouted, []bitrate.Rate{96, 96}},
		"one was promised more":            {[]bitrate.Rate{98, 94}, 186, func(_ *senders.Group, l *senders.Look) { l.All[0].Min = 93 * mbit }, []bitrate.Rate{93, 93}},
		"one is promised more than it has": {[]bitrate.Rate{94, 94}, 188, func(_ *senders.Group, l *senders.Look) { l.All[0].Min = 100 * mbit }, []bitrate.Rate{100, 88}},
		"one may have no more than it has": {[]bitrate.Rate{50, 94, 94}, 242, func(_ *senders.Group, l *senders.Look) { l.All[0].Max = 50 * mbit }, []bitrate.Rate{50, 98, 94}},
		"one may have less than it has":    {[]bitrate.Rate{94, 94}, 188, func(_ *senders.Group, l *senders.Look) { l.All[0].Max = 88 * mbit }, []bitrate.Rate{88, 100}},
		"one is of a better class":         {[]bitrate.Rate{98, 94}, 186, func(_ *senders.Group, l *senders.Look) { l.All[0].Rank, l.All[0].Max = 1, 98*mbit }, []bitrate.Rate{98, 88}},
	} {
		g, l := held(tt.limits...)
		tt.change(&g, &l)
		b := budget.Budget{Total: tt.total * mbit, Link: budget.Link{Known: true}}
		got := Divide(&b, &g, &l, false).To
		for k := range got {
			got[k] = (got[k] + mbit/2) / mbit
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v of %v become %v, want %v", name, tt.total, tt.limits, got, tt.want)
		}
	}
}

// Of many as many change as it takes for none of them to be far from its fair share.
func TestOfManySomeChange(t *testing.T) {
	g, l := held(slices.Repeat([]bitrate.Rate{50}, 12)...)
	b := budget.Budget{Total: 612 * mbit, Link: budget.Link{Known: true}}
	changed := 0
	var sum bitrate.Rate
	for _, to := range Divide(&b, &g, &l, false).To {
		if sum += to; to != 50*mbit {
			changed++
		}
		if fair := 51 * mbit; !near(to, fair) {
			t.Errorf("one has %v of a fair share of %v", to, fair)
		}
	}
	if changed != 3 || sum < 611*mbit || sum > 612*mbit {
		t.Errorf("%d change, to %v together", changed, sum)
	}
}

// Under BPF host routing so they do where a link has fallen before sockets that are known to be full: each change costs as much there.
func TestFewLimitsChangeUnderHostRoutingWhereSocketsAreFull(t *testing.T) {
	for ago, want := range map[time.Duration]bitrate.Rate{time.Minute: 98 * mbit, time.Hour: 96 * mbit} {
		g, l := held(94, 94)
		hostRouted(&g, &l)
		g.Load.Paced = true
		b := budget.Budget{Total: 192 * mbit, Link: budget.Link{Known: true, Measured: true, Capacity: 198 * mbit, Best: 400 * mbit, GoesOn: l.At.Add(-ago)}}
		if got := Divide(&b, &g, &l, false).To; got[0] != want || got[1] != 192*mbit-want {
			t.Errorf("seen %v ago: %v, want %v for the first", ago, got, want)
		}
	}
}

// Where loss tells what fits there are more tries, so that few limits change under BPF host routing as well once each change costs.
func TestFewLimitsChangeUnderHostRoutingOnALinkThatLoses(t *testing.T) {
	for _, tt := range []struct {
		paced, loses bool
		want         bitrate.Rate // of the one that changes
	}{{true, true, 98}, {true, false, 96}, {false, true, 96}} {
		g, l := held(94, 94)
		hostRouted(&g, &l)
		g.Load.Paced = tt.paced
		b := budget.Budget{Total: 192 * mbit, Link: budget.Link{Known: true, Loses: tt.loses}}
		if got := Divide(&b, &g, &l, false).To[0]; got != tt.want*mbit {
			t.Errorf("%+v: 94M of 94M and 94M become %v", tt, got)
		}
	}
}
