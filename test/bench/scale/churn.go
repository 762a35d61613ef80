package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/agent/api"
)

// How pods come and go.
const (
	churnEvery = 10 * time.Millisecond // one comes: a hundred a second, if the API server takes them
	churnTime  = 5 * time.Second
	churnWait  = 5 * time.Second // after which a pod of which nobody was told counts as never
)

// births notes when agents were first told of pods.
type births struct {
	mu   sync.Mutex
	told map[string]time.Time // by UID; nil: nobody asks
}

func (b *births) note(l *api.Limits, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told == nil {
		return
	}
	for _, p := range l.GetPods() {
		if _, before := b.told[p.GetUid()]; !before {
			b.told[p.GetUid()] = now
		}
	}
}

func (b *births) of(uid string) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.told[uid]
	return at, ok
}

// churn has throttleable pods come and go, and measures from when the API server has
// made one until its node's agent is told that it may be limited.
func (b *bench) churn(ctx context.Context) error {
	if !b.fleet.takes {
		return nil // nobody is told
	}
	b.fleet.births.mu.Lock()
	b.fleet.births.told = map[string]time.Time{}
	b.fleet.births.mu.Unlock()
	var mu sync.Mutex
	var lags []float64
	never := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(10 * creators)
	ticker := time.NewTicker(churnEvery)
	defer ticker.Stop()
	begun, n := time.Now(), 0
	for ; time.Since(begun) < churnTime; n++ {
		select {
		case <-ctx.Done():
			return group.Wait()
		case <-ticker.C:
		}
		number := n
		group.Go(func() error {
			lag, told, err := b.born(ctx, number, number%b.nodes)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			if told {
				lags = append(lags, seconds(lag))
			} else {
				never++
			}
			return nil
		})
	}
	took := time.Since(begun).Seconds()
	if err := group.Wait(); err != nil {
		return err
	}
	slices.Sort(lags)
	b.figures.Churn = Churn{PodsPerSecond: float64(n) / took, LagP50: at(lags, 0.5), LagP99: at(lags, 0.99), Never: never}
	return nil
}

// born makes a pod, waits until its node is told, and takes it away.
func (b *bench) born(ctx context.Context, n, node int) (lag time.Duration, told bool, err error) {
	p := b.cluster.bulk(nodeName(node), "churn", n)
	uid, err := b.cluster.pod(ctx, p, appAddress(node))
	if err != nil {
		return 0, false, err
	}
	made := time.Now()
	for !told && time.Since(made) < churnWait {
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return 0, false, err
		}
		var at time.Time
		if at, told = b.fleet.births.of(uid); told {
			lag = max(at.Sub(made), 0)
		}
	}
	now := int64(0)
	return lag, told, b.cluster.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
}
