package probe

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/workload"
)

// BenchmarkCost is what sessions cost the thread that serves them, and how well
// it keeps the rate. The reflector is in the same process, on another thread.
func BenchmarkCost(b *testing.B) {
	const length = 4 * time.Second
	for _, tt := range []struct{ sessions, rate int }{{1, 1000}, {1, 2000}, {20, 50}, {200, 50}} {
		b.Run(fmt.Sprintf("%d×%d", tt.sessions, tt.rate), func(b *testing.B) {
			l := newLab(b)
			port, _ := l.reflect(b, ReflectorOptions{Rate: 1e6})
			s := NewSender(Options{})
			var sessions []Session
			for i := range tt.sessions {
				sessions = append(sessions, Session{ID: strconv.Itoa(i), Protocol: workload.STAMP, Host: "10.99.0.2", Port: port, Interval: time.Second / time.Duration(tt.rate)})
			}
			if err := s.Assign(sessions); err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), length)
			defer cancel()
			var before, after unix.Rusage
			var running sync.WaitGroup
			running.Go(func() {
				l.near.Do(b, func() {
					_ = unix.Getrusage(unix.RUSAGE_THREAD, &before)
					_ = s.Run(ctx)
					_ = unix.Getrusage(unix.RUSAGE_THREAD, &after)
				})
			})
			var sent, lost uint64
			for ctx.Err() == nil {
				time.Sleep(100 * time.Millisecond)
				sent, lost = 0, 0
				s.Collect(func(r Result) { sent += r.Totals.Sent; lost += r.Totals.Lost })
			}
			running.Wait()
			used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
			b.ReportMetric(100*float64(used)/float64(length), "%core")
			b.ReportMetric(float64(sent)/length.Seconds(), "packets/s")
			b.ReportMetric(float64(lost), "lost")
			b.ReportMetric(0, "ns/op")
		})
	}
}
