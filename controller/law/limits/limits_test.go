package limits

import (
	"testing"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/law/budget"
	"github.com/detnet/detnet/controller/law/senders"
	"github.com/detnet/detnet/controller/plan"
)

const mbit = bitrate.Mbit

var config = Config{RebalanceEvery: 4 * time.Second, Writes: 20}

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// A sender behind two bottlenecks is raised only if neither is in trouble.
func TestASenderIsNotRaisedWhileOneOfItsBottlenecksIsInTrouble(t *testing.T) {
	for _, tt := range []struct {
		cluster plan.Cause
		want    int
	}{{plan.Calm, 1}, {plan.Violation, 0}, {plan.AwaitEffect, 0}, {plan.Blind, 0}, {plan.NotNetwork, 0}} {
		x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Weight: 1, Min: 10 * mbit, Max: 1000 * mbit, Limit: 50 * mbit}
		x.Rates = []plan.TxRate{{At: plan.At(t0), Tx: 50 * mbit}}
		uplink := Part{Group: senders.Group{Members: []int32{0}, Senders: []*plan.Sender{&x}, Load: senders.Load{Limits: x.Limit}}}
		cluster, known := uplink, budget.Link{Known: true}
		uplink.To = []bitrate.Rate{80 * mbit}
		cluster.At, cluster.To = 1, []bitrate.Rate{90 * mbit}
		p := plan.Plan{At: t0, Reasons: []plan.Reason{
			{Bottleneck: plan.Uplink("n1"), Action: plan.Grow, Cause: plan.Calm},
			{Bottleneck: plan.Cluster, Action: plan.Hold, Cause: tt.cluster},
		}}
		look := senders.Look{At: t0, All: []plan.Sender{x}, Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}}
		Plan(config, &look, nil, []budget.Budget{{Total: 80 * mbit, Link: known}, {Total: 90 * mbit, Link: known}}, []Part{uplink, cluster}, &p)
		if got := len(p.Limits); got != tt.want {
			t.Errorf("with the cluster in %q: %d limits changed, want %d", tt.cluster, got, tt.want)
		}
	}
}

// With less than a write a second a limit still has its turn at being low: who waits for
// one that never comes is never raised.
func TestATurnAtBeingLowComesAtAnyRateOfWrites(t *testing.T) {
	x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Limit: 50 * mbit, Limiter: plan.EDT}
	look := senders.Look{At: t0, All: []plan.Sender{x}, Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}}
	r := round{config: Config{Writes: 0.5}, look: &look}
	wishes := []wish{{to: 80 * mbit}}
	if r.turns(wishes); wishes[0].crowded {
		t.Error("one limit is too many at a time")
	}
}

// What is given back was let through before, so that no room has to be made for it: only a
// cut and a raise go by way of a low limit.
func TestALimitThatIsGivenBackIsNotLowFirst(t *testing.T) {
	x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Limit: 50 * mbit, Limiter: plan.EDT}
	look := senders.Look{At: t0, All: []plan.Sender{x}, Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}}
	r := round{config: config, look: &look}
	if got := r.next(0, &wish{to: 1000 * mbit, restore: true}); got != 1000*mbit || len(r.flushed) > 0 {
		t.Errorf("given back by way of %v", got)
	}
	if got := r.next(0, &wish{to: 80 * mbit}); got != senders.Low(&x, 80*mbit) || len(r.flushed) != 1 {
		t.Errorf("raised to %v at first, want %v", got, senders.Low(&x, 80*mbit))
	}
}

// Under BPF host routing nothing is known of what sockets have waiting until a raise to what a queue
// told was made so that it does not matter: only that one goes by way of little, and what follows a burst.
func TestTheFirstRaiseUnderHostRoutingGoesByWayOfLittle(t *testing.T) {
	x := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Limit: 50 * mbit, Limiter: plan.EDTHostRouting}
	for name, tt := range map[string]struct {
		link budget.Link
		to   bitrate.Rate
		low  bool
	}{
		"the first raise":           {budget.Link{Known: true}, 80 * mbit, true},
		"the one after it":          {budget.Link{Known: true, Eased: t0.Add(-time.Minute)}, 80 * mbit, false},
		"a raise of who knows less": {budget.Link{}, 80 * mbit, false},
		"a cut":                     {budget.Link{Known: true}, 30 * mbit, false},
		"a raise after a burst":     {budget.Link{Known: true, Eased: t0.Add(-time.Minute), Burst: t0.Add(-time.Minute)}, 80 * mbit, true},
		"where a full socket went on after a low limit":      {budget.Link{Known: true, Measured: true, Eased: t0.Add(-time.Minute), GoesOn: t0.Add(-time.Minute)}, 80 * mbit, true},
		"a cut where one did":                                {budget.Link{Known: true, Measured: true, Eased: t0.Add(-time.Minute), GoesOn: t0.Add(-time.Minute)}, 30 * mbit, true},
		"where one did, and what fits is searched for":       {budget.Link{Known: true, Eased: t0.Add(-time.Minute), GoesOn: t0.Add(-time.Minute)}, 80 * mbit, false},
		"where one did so long ago that it may have changed": {budget.Link{Known: true, Measured: true, Eased: t0.Add(-time.Hour), GoesOn: t0.Add(-time.Hour)}, 80 * mbit, false},
		"a cut after a burst":                                {budget.Link{Known: true, Eased: t0.Add(-time.Minute), Burst: t0.Add(-time.Minute)}, 30 * mbit, true},
	} {
		look := senders.Look{At: t0, All: []plan.Sender{x}, Uses: []senders.Use{{Pod: x.Pod, Now: 50 * mbit}}}
		r := round{config: config, look: &look, budgets: []budget.Budget{{Bottleneck: plan.Uplink("n1"), Link: tt.link}}}
		want := tt.to
		if tt.low {
			want = senders.Low(&x, tt.to)
		}
		if got := r.next(0, &wish{to: tt.to}); got != want {
			t.Errorf("%s: the limit is %v, want %v", name, got, want)
		}
	}
}

// Of two that do not slow down one is to have all of what both have now: as nothing of either limit is of
// use, both are low at once, and who is to have more waits for the other.
func TestWhoDoesNotSlowDownIsRaisedAsTheOtherIsCut(t *testing.T) {
	offer := senders.Offer{Steady: true, Now: 150 * mbit, Above: t0.Add(-time.Minute)}
	for name, tt := range map[string]struct {
		offer  senders.Offer
		to     bitrate.Rate // of the second
		lowest int
	}{
		"they do not slow down":               {offer, 160 * mbit, 2},
		"they may":                            {senders.Offer{Now: 150 * mbit}, 160 * mbit, 1},
		"they do not, and a little is wished": {offer, 95 * mbit, 1},
	} {
		look := senders.Look{At: t0}
		part := Part{Group: senders.Group{Members: []int32{0, 1}, Load: senders.Load{Limits: 160 * mbit}}}
		for i, name := range []string{"a", "b"} {
			s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: name}, Node: "n1", Weight: 1, Min: 10 * mbit, Max: 1000 * mbit, Limit: 80 * mbit, Limiter: plan.EDT}
			s.Rates = []plan.TxRate{{At: plan.At(t0), Tx: 150 * mbit}}
			look.All = append(look.All, s)
			look.Uses = append(look.Uses, senders.Use{Pod: s.Pod, Now: 80 * mbit, Offer: tt.offer})
			part.Senders = append(part.Senders, &look.All[i])
		}
		part.Senders[0] = &look.All[0]
		part.To = []bitrate.Rate{10 * mbit, tt.to}
		p := plan.Plan{At: t0, Reasons: []plan.Reason{{Bottleneck: plan.Uplink("n1"), Action: plan.Hold, Cause: plan.Calm}}}
		Plan(config, &look, nil, []budget.Budget{{Total: 165 * mbit, Link: budget.Link{Known: true}}}, []Part{part}, &p)
		low := 0
		for _, l := range p.Limits {
			if l.ToLow {
				low++
			}
		}
		if low != tt.lowest || len(p.Limits) != low {
			t.Errorf("%s: %d are low, want %d: %+v", name, low, tt.lowest, p.Limits)
		}
	}
}

// A limit of next to no use is changed for a little more where that is all that is offered.
func TestALittleMoreThatIsAllOfAnOfferIsWorthAWrite(t *testing.T) {
	for to, changes := range map[bitrate.Rate]bool{24 * mbit: true, 22 * mbit: false} {
		s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Weight: 1, Min: 10 * mbit, Max: 1000 * mbit, Limit: 20 * mbit, Limiter: plan.EDT}
		s.Rates = []plan.TxRate{{At: plan.At(t0), Tx: 23 * mbit}}
		use := senders.Use{Pod: s.Pod, Now: 20 * mbit, Offer: senders.Offer{Steady: true, Now: 23 * mbit, Above: t0.Add(-time.Minute)}}
		look := senders.Look{At: t0, All: []plan.Sender{s}, Uses: []senders.Use{use}}
		part := Part{Group: senders.Group{Members: []int32{0}, Senders: []*plan.Sender{&look.All[0]}, Load: senders.Load{Limits: 20 * mbit}}}
		part.To = []bitrate.Rate{to}
		p := plan.Plan{At: t0, Reasons: []plan.Reason{{Bottleneck: plan.Uplink("n1"), Action: plan.Grow, Cause: plan.Calm}}}
		Plan(config, &look, nil, []budget.Budget{{Total: to, Link: budget.Link{Known: true}}}, []Part{part}, &p)
		if got := len(p.Limits) > 0; got != changes {
			t.Errorf("of 20M to %v, of an offer of 23M: %+v", to, p.Limits)
		}
	}
}

// Who had another limit a moment ago before Cilium comes back slowly: what it does not use yet is not given to others, unless it
// has too much by its own use. Others lend meanwhile.
func TestWhatIsNotUsedYetAfterARaiseIsNotGivenToOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		ago  time.Duration
		used bitrate.Rate // of 90M by the first, as far as is known
		cut  bool
	}{
		"a moment ago":                             {time.Second, 20 * mbit, false},
		"long ago, as others have just now":        {time.Minute, 20 * mbit, true},
		"a moment ago, and it uses it":             {time.Second, 90 * mbit, true},
		"never, as is known before a token bucket": {t0.Sub(time.Time{}), 20 * mbit, true},
	} {
		look := senders.Look{At: t0}
		part := Part{Group: senders.Group{Members: []int32{0, 1}, Load: senders.Load{Limits: 180 * mbit, Paced: true}}}
		part.To = []bitrate.Rate{30 * mbit, 150 * mbit}
		for i, used := range []bitrate.Rate{tt.used, 90 * mbit} {
			s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: string(rune('a' + i))}, Node: "n1", Weight: 1, Min: 10 * mbit, Max: 1000 * mbit, Limit: 90 * mbit, Limiter: plan.EDT}
			s.Rates = []plan.TxRate{{At: plan.At(t0), Tx: used}}
			look.All = append(look.All, s)
			look.Uses = append(look.Uses, senders.Use{Pod: s.Pod, Now: used})
		}
		look.Uses[0].Offer.Ahead.Gone = t0.Add(-tt.ago)
		part.Senders = []*plan.Sender{&look.All[0], &look.All[1]}
		p := plan.Plan{At: t0, Reasons: []plan.Reason{{Bottleneck: plan.Uplink("n1"), Action: plan.Hold, Cause: plan.Calm}}}
		b := budget.Budget{Total: 180 * mbit, Link: budget.Link{Known: true}, Search: budget.Search{Raised: t0.Add(-100 * time.Millisecond)}}
		Plan(config, &look, nil, []budget.Budget{b}, []Part{part}, &p)
		if got := len(p.Limits) > 0 && p.Limits[0].To < 90*mbit; got != tt.cut {
			t.Errorf("it had another limit %s: %+v", name, p.Limits)
		}
	}
}

// Where the budget for which a limit was made low is gone, as that of the cluster once the apps late by it are
// blind, nothing is known that allows more: the cut goes on, though below the floor, and a raise does not.
func TestALowLimitThatNobodyWatchesGoesBackToNoMoreThanItWas(t *testing.T) {
	uplink, elsewhere := plan.Uplink("n1"), plan.Uplink("n2")
	for name, tt := range map[string]struct {
		budget plan.Bottleneck
		cause  plan.Cause
		to     bitrate.Rate // what it is to be, of 45 Mbit/s with a floor of 50
		want   bitrate.Rate
	}{
		"a cut that nobody watches":   {elsewhere, plan.Blind, 2 * mbit, 2 * mbit},
		"a raise that nobody watches": {elsewhere, plan.Blind, 60 * mbit, 45 * mbit},
		"a cut while blind":           {uplink, plan.Blind, 2 * mbit, 2 * mbit},
		"a raise while blind":         {uplink, plan.Blind, 60 * mbit, 45 * mbit},
		"a raise while all is well":   {uplink, plan.Calm, 60 * mbit, 60 * mbit},
	} {
		s := plan.Sender{Pod: plan.PodID{Namespace: "office", Name: "a"}, Node: "n1", Weight: 1, Min: 50 * mbit, Max: 1000 * mbit, Limit: 45 * mbit, Limiter: plan.EDT}
		s.Limit = senders.Low(&s, tt.to)
		f := senders.Flush{Pod: s.Pod, At: t0.Add(-time.Second), Was: 45 * mbit, Low: s.Limit, To: tt.to, Over: true, Shown: true}
		look := senders.Look{At: t0, All: []plan.Sender{s}, Uses: []senders.Use{{Pod: s.Pod}}, Flushes: []senders.Flush{f}}
		p := plan.Plan{At: t0, Reasons: []plan.Reason{{Bottleneck: tt.budget, Action: plan.Hold, Cause: tt.cause}}}
		var parts []Part
		if tt.budget == uplink && p.Reasons[0].Trouble() {
			parts = []Part{{Group: senders.Group{Members: []int32{0}, Senders: []*plan.Sender{&look.All[0]}}}}
		}
		Plan(config, &look, nil, []budget.Budget{{Bottleneck: tt.budget}}, parts, &p)
		if len(p.Limits) != 1 || p.Limits[0].To != tt.want {
			t.Errorf("%s: %+v, want %v", name, p.Limits, tt.want)
		}
	}
}
