package promql

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// slowForSome never answers queries for slow series, and others at once.
type slowForSome struct{ others, busy, most atomic.Int64 }

func (s *slowForSome) RoundTrip(r *http.Request) (*http.Response, error) {
	defer s.busy.Add(-1)
	if n := s.busy.Add(1); n > s.most.Load() {
		s.most.Store(n)
	}
	query := r.URL.Query().Get("query")
	if strings.Contains(query, "slow") {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if !strings.HasPrefix(query, "time()") {
		s.others.Add(1)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(vector("0.001")))}, nil
}

// askedSlowly is a Prometheus that answers some queries only, and who asks it.
func askedSlowly() (*slowForSome, Config, *Poller) {
	server, c := &slowForSome{}, DefaultConfig()
	c.URL = "http://prometheus"
	p := New(c, discard, newRegistry())
	p.client.Transport = server
	return server, c, p
}

// However many queries that the server can't answer in time two namespaces have,
// another's is asked on time, also where one of them wants the same.
func TestSlowQueriesStarveNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, c, p := askedSlowly()
		ctx, cancel := context.WithCancel(t.Context())
		var want []Wanted
		for i := range 200 {
			want = append(want, Wanted{parsed(t, fmt.Sprintf(`max(slow{i="%d"})`, i)), []string{"greedy", "grasping"}[i%2], "slow"})
		}
		x := parsed(t, "max(x)")
		want = append(want, Wanted{x, "greedy", "app"}, Wanted{x, "shop", "app"})
		p.Ask(ctx, want)
		time.Sleep(c.Timeout + time.Second)
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if a := p.Answer(x.Text, time.Now()); len(a.Samples) == 0 {
				t.Fatalf("while others have slow queries: %+v", a)
			}
		}
		// Each round waits for one place, and each place is free after Timeout.
		if n, least := server.others.Load(), int64(time.Minute/(c.Interval+c.Timeout)); n < least {
			t.Errorf("asked %d times in a minute, want %d or more", n, least)
		}
		if n := server.most.Load(); n > atOnce {
			t.Errorf("%d queries at once, want %d at most", n, atOnce)
		}
		cancel()
		p.Wait()
		if p.turns.held != 0 || len(p.turns.waiting) != 0 || len(p.turns.places) != 0 {
			t.Errorf("left behind: %+v", p.turns)
		}
	})
}

// Nor do the slow queries of one app starve another of its own namespace: that waits
// for one answer at most, not for as many as the other asks.
func TestSlowQueriesStarveNoNeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, c, p := askedSlowly()
		ctx, cancel := context.WithCancel(t.Context())
		var want []Wanted
		for i := range 200 {
			want = append(want, Wanted{parsed(t, fmt.Sprintf(`max(slow{i="%d"})`, i)), "shop", "slow"})
		}
		x := parsed(t, "max(x)")
		p.Ask(ctx, append(want, Wanted{x, "shop", "quick"}))
		time.Sleep(c.Timeout + time.Second)
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			if a := p.Answer(x.Text, time.Now()); len(a.Samples) == 0 {
				t.Fatalf("while its neighbour has slow queries: %+v", a)
			}
		}
		if n, least := server.others.Load(), int64(time.Minute/(c.Interval+c.Timeout)); n < least {
			t.Errorf("asked %d times in a minute, want %d or more", n, least)
		}
		cancel()
		p.Wait()
		if p.turns.held != 0 || len(p.turns.waiting) != 0 || len(p.turns.places) != 0 {
			t.Errorf("left behind: %+v", p.turns)
		}
	})
}

// One namespace alone leaves a place free for the next that comes.
func TestOneNamespaceLeavesAPlace(t *testing.T) {
	turns := newTurns()
	for range perNamespace {
		if _, err := turns.take(t.Context(), []account{{"greedy", "app"}}); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.take(ended, []account{{"greedy", "app"}}); err == nil {
		t.Error("it has every place")
	}
	if _, err := turns.take(t.Context(), []account{{"shop", "app"}}); err != nil {
		t.Error(err)
	}
}

// A namespace with several queries has its turns too, where those with one each ask for
// more than there is: who comes back after a pause has had a turn before.
func TestWhoComesBackHadATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		var asked [20]atomic.Int64
		names := map[account]bool{}
		for i := range asked {
			names[account{fmt.Sprint("namespace-", i), "app"}] = true
		}
		turns.remember(names)
		ask := func(i int) {
			for {
				done, err := turns.take(ctx, []account{{fmt.Sprint("namespace-", i), "app"}})
				if err != nil {
					return
				}
				time.Sleep(time.Second)
				done()
				asked[i].Add(1)
				time.Sleep(time.Second)
			}
		}
		for i := range asked {
			asking.Go(func() { ask(i) })
		}
		asking.Go(func() { ask(0) })
		asking.Go(func() { ask(0) })
		time.Sleep(10 * time.Minute)
		cancel()
		asking.Wait()
		for i := range asked {
			if n, fair := asked[i].Load(), int64(atOnce*600/len(asked)); n < fair/2 || n > 2*fair {
				t.Errorf("namespace %d was asked about %d times in ten minutes, of %d that are its share", i, n, fair)
			}
		}
	})
}

// A Poller that has ended asks again in the next term of the same process.
func TestTheNextTermAsksAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &slowForSome{}
		c := DefaultConfig()
		c.URL = "http://prometheus"
		p := New(c, discard, newRegistry())
		p.client.Transport = server
		x := parsed(t, "max(x)")
		for term := range int64(2) {
			ctx, cancel := context.WithCancel(t.Context())
			before := server.others.Load()
			begun := time.Now()
			p.Ask(ctx, []Wanted{{x, "shop", "app"}})
			for _, s := range p.Answer(x.Text, begun).Samples {
				if s.At.Before(begun) {
					t.Errorf("term %d begins with an answer of the one before", term)
				}
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if a := p.Answer(x.Text, time.Now()); server.others.Load() == before || len(a.Samples) == 0 {
				t.Errorf("term %d: nothing is asked: %+v", term, a)
			}
			cancel()
			p.Wait()
		}
	})
}

// BenchmarkRemember is what a change of the inventory costs with thousands of queries
// that wait, all of which are still asked.
func BenchmarkRemember(b *testing.B) {
	t := newTurns()
	asking := map[account]bool{}
	for i := range 2000 {
		of := account{fmt.Sprintf("namespace-%d", i%50), fmt.Sprintf("app-%d", i)}
		asking[of] = true
		t.of(of)
		t.of(of.whole())
		t.waiting = append(t.waiting, &waiter{names: []account{of}, grant: make(chan account, 1)})
	}
	for b.Loop() {
		t.remember(asking)
	}
}
