package bench

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/workload"
)

// BenchmarkLoss is what grows while every packet of 200 sessions is lost:
// nothing. DETNET_BENCH_LOSS sets how long, such as 10m.
func BenchmarkLoss(b *testing.B) {
	length := 20 * time.Second
	if text := os.Getenv("DETNET_BENCH_LOSS"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			b.Fatal(err)
		}
	}
	near, far := nstest.New(b), nstest.New(b)
	nstest.Veth(b, near, "near", "10.99.0.1/24", far, "far", "10.99.0.2/24")
	run(b, far, "ip", "route", "add", "blackhole", "10.99.0.1/32") // answers nothing, not even by ICMP
	s := probe.NewSender(probe.Options{})
	var sessions []probe.Session
	for i := range 200 {
		protocol := []workload.Protocol{workload.STAMP, workload.UDP, workload.TCP}[i%3]
		host := []string{"10.99.0.2", "10.99.0.99"}[i%2] // silent, and vanished
		sessions = append(sessions, probe.Session{ID: strconv.Itoa(i), Protocol: protocol, Host: host, Port: 4000})
	}
	if err := s.Assign(sessions); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = near.Run(func() { _ = s.Run(ctx) }) })
	lost := uint64(0)
	wait := func(d time.Duration) (heap float64, goroutines int) {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			lost = 0
			s.Collect(func(r probe.Result) { lost += r.Totals.Lost })
		}
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / (1 << 20), runtime.NumGoroutine()
	}
	heap, goroutines := wait(5 * time.Second) // every ring is full
	heapAfter, goroutinesAfter := wait(length)
	cancel()
	running.Wait()
	within(b, heapAfter-heap, 0.5, "MiB-grown")
	b.ReportMetric(heapAfter, "MiB-heap")
	within(b, float64(goroutinesAfter-goroutines), 0, "goroutines-grown")
	b.ReportMetric(float64(lost), "lost")
	b.ReportMetric(0, "ns/op")
}
