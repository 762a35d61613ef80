package webhook_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/quantile"
)

// BenchmarkAdmission creates pods on the real API server at 100 a second, by
// turns in a namespace that the webhook serves and in one that it does not, and
// reports the latency that the webhook adds. The bar is 3 ms at the median and
// 10 ms at the 99th percentile. Run it with -benchtime=10x: an iteration is
// 100 pods of each kind.
func BenchmarkAdmission(b *testing.B) {
	c := theCluster
	if c == nil {
		b.Skip("KUBEBUILDER_ASSETS is not set: it must name a directory with kube-apiserver, etcd and kubectl")
	}
	config := rest.CopyConfig(c.config)
	config.QPS = -1
	creator, err := client.New(config, client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	with, without := c.namespace(b), c.namespace(b, unserved, "true")
	var stamped, plain []time.Duration
	for b.Loop() {
		for _, phase := range []struct {
			namespace string
			to        *[]time.Duration
		}{{without, &plain}, {with, &stamped}} {
			*phase.to = append(*phase.to, createAtRate(b, creator, phase.namespace, 100, 10*time.Millisecond)...)
		}
	}
	p := func(samples []time.Duration, q float64) float64 {
		slices.Sort(samples)
		return quantile.Of(samples, q).Seconds() * 1000
	}
	b.ReportMetric(0, "ns/op")
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		a, z := p(plain, q.at), p(stamped, q.at)
		b.ReportMetric(a, q.name+"-without-ms")
		b.ReportMetric(z, q.name+"-with-ms")
		b.ReportMetric(z-a, q.name+"-added-ms")
		b.ReportMetric(z/a, q.name+"-ratio")
	}
}

// createAtRate creates n pods, one every interval, and returns how long each
// took.
func createAtRate(b *testing.B, creator client.Client, namespace string, n int, interval time.Duration) []time.Duration {
	b.Helper()
	took := make([]time.Duration, n)
	var wg sync.WaitGroup
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		wg.Go(func() {
			pod := newPod(namespace, bestEffort(), nil)
			start := time.Now()
			if err := creator.Create(context.WithoutCancel(b.Context()), pod); err != nil {
				b.Error(err)
			}
			took[i] = time.Since(start)
		})
	}
	wg.Wait()
	return took
}
