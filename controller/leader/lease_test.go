package leader

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/detnet/detnet/internal/apitest"
)

// The lead is certain for Renew after the last renewal was begun, and over when
// the lease is given up or somebody else's.
func TestTheLeadIsCertainForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(&resourcelock.LeaseLock{LockConfig: resourcelock.ResourceLockConfig{Identity: "me"}})
		mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me", LeaderTransitions: 4}
		renew := func(took time.Duration, err error) {
			_ = h.noted(mine, func() error { time.Sleep(took); return err }) // the test's own error
		}
		if h.Leads() {
			t.Error("leads before it has the lease")
		}
		renew(300*time.Millisecond, nil)
		time.Sleep(Renew - 301*time.Millisecond)
		if !h.Leads() {
			t.Error("does not lead although it has just renewed")
		}
		time.Sleep(time.Millisecond)
		if h.Leads() {
			t.Error("counts from the answer, not from the request")
		}
		renew(0, errors.New("no answer"))
		if h.Leads() {
			t.Error("a renewal that failed prolongs the lead")
		}
		renew(0, nil)
		_ = h.noted(resourcelock.LeaderElectionRecord{}, func() error { // the test's own error
			if h.Leads() {
				t.Error("still leads while it gives the lease up")
			}
			return errors.New("no answer")
		})
		if h.Leads() {
			t.Error("leads on after it gave the lease up")
		}
	})
}

// A leader is asked to renew as often as a standby looks, and writes no more often than
// each Retry, or nearly: what it did not write does not count.
func TestALeaderWritesEachRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		h := newHeld(&resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: "detnet", Name: Lease}, Client: client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: "me"},
		})
		mine := resourcelock.LeaderElectionRecord{HolderIdentity: "me", AcquireTime: metav1.Now()}
		if err := h.Create(t.Context(), mine); err != nil {
			t.Fatal(err)
		}
		client.ClearActions()
		for range 40 {
			time.Sleep(look)
			if err := h.Update(t.Context(), mine); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(client.Actions()); n < 3 || n > 4 {
			t.Errorf("%d writes in %v", n, 40*look)
		}
		if until, ok := h.Until(); !ok || time.Until(until) < Renew-Retry {
			t.Errorf("leads for %v more", time.Until(until))
		}
		client.ClearActions()
		mine.LeaderTransitions++ // somebody else had it
		if err := h.Update(t.Context(), mine); err != nil || len(client.Actions()) != 1 {
			t.Errorf("a new term is written %d times: %v", len(client.Actions()), err)
		}
		client.ClearActions()
		if err := h.Update(t.Context(), resourcelock.LeaderElectionRecord{}); err != nil || len(client.Actions()) != 1 || h.Leads() {
			t.Errorf("given up: %d writes, %v; leads %v", len(client.Actions()), err, h.Leads())
		}
	})
}

// counted is a connection that notes what passes.
type counted struct{ requests []*http.Request }

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.requests = append(c.requests, r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// Who does not lead reads and does not write; what is written has ended, by the
// client's clock and by the API server's, before the lead is over.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, through := &Held{}, &counted{}
		guarded := h.Guard(through)
		ask := func(method string) error {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://api/pods?fieldManager=detnet", strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			response, err := guarded.RoundTrip(request)
			if err == nil {
				return response.Body.Close()
			}
			return err
		}
		if err := ask(http.MethodGet); err != nil {
			t.Errorf("a standby can't read: %v", err)
		}
		for _, method := range []string{http.MethodPatch, http.MethodPost, http.MethodPut, http.MethodDelete} {
			if err := ask(method); !errors.Is(err, ErrNotLeading) {
				t.Errorf("%s by a standby: %v", method, err)
			}
		}
		until := time.Now().Add(time.Second)
		h.until = until
		if err := ask(http.MethodPatch); err != nil {
			t.Errorf("the leader can't write: %v", err)
		}
		last := through.requests[len(through.requests)-1]
		if deadline, ok := last.Context().Deadline(); !ok || !deadline.Equal(until) {
			t.Errorf("the write ends at %v, %v; want %v", deadline, ok, until)
		}
		if q := last.URL.Query(); q.Get("timeout") != "1s" || q.Get("fieldManager") != "detnet" {
			t.Errorf("asked with %q", last.URL.RawQuery)
		}
		time.Sleep(time.Second - leastLeft + 1)
		if err := ask(http.MethodPatch); !errors.Is(err, ErrNotLeading) {
			t.Errorf("a write in the last moment: %v", err)
		}
	})
}

// Against a real API server: a leader that can't renew writes nothing that the API
// server carries out after the next one has the lease, however hard it tries.
func TestADeposedLeaderWritesNothing(t *testing.T) {
	config := apitest.Start(t).Config
	client := kubernetes.NewForConfigOrDie(config)
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "written"}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var cut atomic.Bool // the first leader's way to its lease
	first := elect(t, config, &cut)
	<-first.leads
	guarded := rest.CopyConfig(config)
	guarded.Wrap(first.held.Guard)
	writer := kubernetes.NewForConfigOrDie(guarded)
	write := func() (revision int, err error) {
		o, err := writer.CoreV1().ConfigMaps("default").Patch(t.Context(), "written", "application/merge-patch+json", []byte(`{"data":{"by":"first","at":"`+time.Now().String()+`"}}`), metav1.PatchOptions{})
		if err == nil {
			revision, err = strconv.Atoi(o.ResourceVersion)
		}
		return revision, err
	}
	last, err := write()
	for err != nil { // on a busy machine its lead may be over for a moment
		time.Sleep(10 * time.Millisecond)
		last, err = write()
	}
	second := elect(t, config, new(atomic.Bool))

	lasts := make(chan int, 1)
	go func() { // it writes as fast as it can, until it is refused
		for {
			revision, err := write()
			if errors.Is(err, ErrNotLeading) {
				break
			}
			if err == nil {
				last = revision
				cut.Store(true)
			}
		}
		cut.Store(true)
		lasts <- last
	}()
	<-second.leads
	lease, err := client.CoordinationV1().Leases("default").Get(t.Context(), Lease, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	taken, _ := strconv.Atoi(lease.ResourceVersion)
	if last := <-lasts; last == 0 || last >= taken {
		t.Errorf("the first wrote at revision %d, the second had the lease by %d", last, taken)
	}
	one, two := first.term.Load(), second.term.Load()
	if one == 0 || one >= two {
		t.Errorf("terms %d, then %d", one, two)
	}
}

// elected is one replica's side of an election.
type elected struct {
	held  *Held
	leads chan struct{} // gets one each time that it begins to lead
	term  atomic.Uint64
	over  chan struct{} // gets one each time that it does not any more
	stop  func()
}

// elect has a replica stand for election, whose lease can't be reached while cut.
func elect(t *testing.T, config *rest.Config, cut *atomic.Bool) *elected {
	own := rest.CopyConfig(config)
	own.QPS = -1
	own.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if cut.Load() {
				return nil, errors.New("cut")
			}
			return next.RoundTrip(r)
		})
	})
	held, err := NewHeld(own, "default")
	if err != nil {
		t.Fatal(err)
	}
	e := &elected{held: held, leads: make(chan struct{}, 9), over: make(chan struct{}, 9)}
	ctx, cancel := context.WithCancel(t.Context())
	election := &Election{Held: held, Workers: []Worker{e}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	var stands errgroup.Group
	stands.Go(func() error { return election.Start(ctx) })
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := stands.Wait(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(e.stop)
	return e
}

// Start implements Worker.
func (e *elected) Start(ctx context.Context) error {
	for ctx.Err() == nil {
		if term, err := e.held.Term(ctx); err == nil {
			e.term.Store(term)
			e.leads <- struct{}{}
			break
		}
	}
	<-ctx.Done()
	e.over <- struct{}{}
	return nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
