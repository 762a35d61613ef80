package leader

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
)

func lockOf(client *fake.Clientset, name string) *Held {
	return newHeld(&resourcelock.LeaseLock{
		LeaseMeta: metav1.ObjectMeta{Namespace: "detnet", Name: Lease}, Client: client.CoordinationV1(), LockConfig: resourcelock.ResourceLockConfig{Identity: name},
	})
}

// A standby asks the API server nothing while the leader renews and the watch says so; it
// reads the lease itself as soon as a renewal is overdue, and before it takes the lease.
func TestAStandbyAsksNothingWhileTheLeaderRenews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset()
		leads, stands := lockOf(client, "one"), lockOf(client, "two")
		go stands.watch(t.Context(), client)
		record := resourcelock.LeaderElectionRecord{HolderIdentity: "one", AcquireTime: metav1.Now()}
		if err := leads.LeaseLock.Create(t.Context(), record); err != nil {
			t.Fatal(err)
		}
		asks := func() (gets int) {
			t.Helper()
			client.ClearActions()
			if r, _, err := stands.Get(t.Context()); err != nil || r.HolderIdentity != record.HolderIdentity || !r.RenewTime.Equal(&record.RenewTime) {
				t.Errorf("the lease is %+v, %v; want %+v", r, err, record)
			}
			for _, a := range client.Actions() {
				if a.GetVerb() == "get" {
					gets++
				}
			}
			return gets
		}
		renew := func() {
			record.RenewTime = metav1.Now()
			if err := leads.LeaseLock.Update(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 5 {
			renew()
			for range Retry / look {
				if n := asks(); n != 0 {
					t.Errorf("%d reads while the leader renews", n)
				}
				time.Sleep(look)
			}
		}
		time.Sleep(trust)
		if n := asks(); n != 1 {
			t.Errorf("%d reads when a renewal is overdue", n)
		}
		record.HolderIdentity = "" // given up: whoever takes the lease reads it
		renew()
		if n := asks(); n != 1 {
			t.Errorf("%d reads of a lease that was given up", n)
		}
	})
}

// The lease is free Duration after the last renewal and not after the first one of the same
// second, with a watch and without: until then its holder may still write.
func TestEachRenewalCounts(t *testing.T) {
	for _, watched := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			client := fake.NewClientset()
			leads, stands := lockOf(client, "one"), lockOf(client, "two")
			if watched {
				stands.watching = client
			}
			record := resourcelock.LeaderElectionRecord{HolderIdentity: "one", LeaseDurationSeconds: 2, AcquireTime: metav1.Now(), RenewTime: metav1.Now()}
			if err := leads.Create(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			took := make(chan time.Time, 1)
			worker := workerFunc(func(ctx context.Context) error { took <- time.Now(); <-ctx.Done(); return nil })
			go func() {
				ended <- (&Election{Held: stands, Workers: []Worker{worker}, Log: slog.New(slog.DiscardHandler)}).Start(ctx)
			}()
			for time.Now().UnixMilli()%1000 < 900 {
				time.Sleep(100 * time.Millisecond)
				record.RenewTime = metav1.Now()
				if err := leads.LeaseLock.Update(t.Context(), record); err != nil {
					t.Fatal(err)
				}
			}
			last := time.Now()
			if after := (<-took).Sub(last); after < Duration || after > Duration+5*look {
				t.Errorf("watched %v: taken %v after the last renewal, want %v to %v", watched, after, Duration, Duration+5*look)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// A real API server tells a standby each renewal; it does not have to look. Which of the two
// stands by may change on a busy machine.
func TestTheAPIServerTellsRenewals(t *testing.T) {
	config := apitest.Start(t).Config
	both := []*elected{elect(t, config, new(atomic.Bool))}
	<-both[0].leads
	both = append(both, elect(t, config, new(atomic.Bool)))
	renewals := map[time.Time]bool{}
	await.Until(t, "word of renewals by the other", func() bool {
		for _, replica := range both {
			replica.held.mu.Lock()
			told := replica.held.told.record
			replica.held.mu.Unlock()
			if told.HolderIdentity != "" && told.HolderIdentity != replica.held.Identity() {
				renewals[told.RenewTime.Time] = true
			}
		}
		return len(renewals) > 3
	})
}
