package agents

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// What is called lossless is, whatever the order of arrival and however much is forgotten; and it is called
// so again once what was lost is forgotten.
func TestLossless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := session{samples: newSamples()}
		now := epoch
		for range rapid.IntRange(1, 20).Draw(t, "batches") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "pause")) * time.Millisecond)
			batch := make([]plan.Sample, rapid.IntRange(0, 30).Draw(t, "samples"))
			for i := range batch {
				batch[i] = plan.Sample{At: plan.At(now.Add(-time.Duration(rapid.IntRange(0, 1500).Draw(t, "age")) * time.Millisecond)), Lost: rapid.IntRange(0, 20).Draw(t, "lost") == 0}
			}
			order(batch, sampledAt)
			s.add(batch, now, calmSamples)
			if m := s.measurement(now); m.Lossless && slices.ContainsFunc(m.Samples, func(x plan.Sample) bool { return x.Lost }) {
				t.Fatalf("lossless: %v", m.Samples)
			}
		}
		now = now.Add(keep + calmSamples)
		s.add([]plan.Sample{{At: plan.At(now)}}, now, calmSamples)
		if !s.measurement(now).Lossless {
			t.Fatal("what was lost is forgotten, and still counts")
		}
	})
}

// Of each session that was looked at is told once what came since, at each of its places, and of no other one.
func TestNews(t *testing.T) {
	p := New(insecure.NewCredentials(), slog.New(slog.DiscardHandler))
	a := inventory.Agent{UID: "a1", Node: "worker-1"}
	for i, id := range []string{"one", "two", "another"} {
		number := uint32(i + 1)
		p.sessions[id] = &session{agent: a.UID, number: number, samples: newSamples()}
	}
	now := epoch
	report := func(ids ...string) {
		t.Helper()
		now = now.Add(time.Second)
		r := &api.Report{Node: a.Node}
		for _, id := range ids {
			r.Sessions = append(r.Sessions, &api.SessionReport{Id: id, Sent: 1, Received: 1, AgeNs: []int64{1e6}, RttNs: []int64{2e5}})
		}
		if err := p.receive(&speech{from: a}, r, now); err != nil {
			t.Fatal(err)
		}
	}
	told := func() (got []int) {
		for _, n := range p.News(nil, now) {
			if len(n.Samples) == 0 {
				t.Errorf("nothing of session %d", n.Session)
			}
			got = append(got, n.Session)
		}
		slices.Sort(got)
		return got
	}
	report("one")
	if got := told(); len(got) > 0 {
		t.Errorf("before anything was looked at: %v", got)
	}
	l := Look{Sessions: []string{"gone", "two", "one"}}
	report("one", "two")
	p.Look(&l, now)
	if got := told(); len(got) > 0 {
		t.Errorf("what was looked at is new: %v", got)
	}
	report("one", "another")
	report("one")
	if got := told(); !slices.Equal(got, []int{2}) {
		t.Errorf("%v, want that of the third", got)
	}
	report("two")
	report("one")
	if got := told(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%v, want those of both", got)
	}
	if got := told(); len(got) > 0 {
		t.Errorf("told twice: %v", got)
	}
	shared := Look{Sessions: []string{"one", "two", "one", "gone", "one"}} // as an app's is that several measure
	p.Look(&shared, now)
	report("one")
	if got := told(); !slices.Equal(got, []int{0, 2, 4}) {
		t.Errorf("%v, want that of each place of one session", got)
	}
	p.Look(&l, now)
	report("one", "two")
	if got := told(); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("%v, want those of the list before", got)
	}
}
