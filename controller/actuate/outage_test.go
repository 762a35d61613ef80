package actuate_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

// While a real API server is unreachable the limit in force stays; once it is
// back, the newest one is written.
func TestOutageOfARealAPIServer(t *testing.T) {
	env := apitest.Start(t)
	direct := kubernetes.NewForConfigOrDie(env.Config)
	target, err := url.Parse(env.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	line := newLine(t, target.Host)
	through := rest.CopyConfig(env.Config)
	through.Host = "https://" + line.Addr().String()
	c := realCluster{actuate.Pods{Writer: write.New(direct, nil, nil, slog.New(slog.DiscardHandler))}, direct}
	pod := plan.PodID{Namespace: "default", Name: "telemetry"}
	uid := c.Create(t, pod, map[string]string{workload.AnnotationEgressBandwidth: "100M"})
	limit := func() string { return c.Annotations(t, pod)[workload.AnnotationEgressBandwidth] }

	a := actuate.New(actuate.Pods{Writer: write.New(kubernetes.NewForConfigOrDie(through), nil, nil, slog.New(slog.DiscardHandler))}, actuate.DefaultConfig(), slog.New(slog.NewTextHandler(t.Output(), nil)), nil)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	defer running.Wait()
	defer cancel()

	line.cut()
	for _, to := range []bitrate.Rate{80, 70, 60} {
		a.Submit([]actuate.Change{{Limit: plan.Limit{Pod: pod, From: 100 * mbit, To: to * mbit}, UID: uid, Min: 10 * mbit, Max: 1000 * mbit}})
		line.awaitAttempt(t)
	}
	if got := limit(); got != "100M" {
		t.Fatalf("limit = %s during the outage, want 100M", got)
	}
	line.mend()
	await.Until(t, "the limit is 60M after the API server's return", func() bool { return limit() == "60M" })
}

// line carries connections to a host until it is cut.
type line struct {
	net.Listener
	mu       sync.Mutex
	broken   bool
	attempts chan struct{}
}

func newLine(t *testing.T, host string) *line {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener, attempts: make(chan struct{}, 1000)}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			broken := l.broken
			l.mu.Unlock()
			if broken {
				near.Close()
				l.attempts <- struct{}{}
				continue
			}
			go carry(near, host)
		}
	}()
	return l
}

func carry(near net.Conn, host string) {
	defer near.Close()
	far, err := net.Dial("tcp", host)
	if err != nil {
		return
	}
	defer far.Close()
	go func() { _, _ = io.Copy(far, near) }()
	_, _ = io.Copy(near, far)
}

func (l *line) cut()  { l.mu.Lock(); defer l.mu.Unlock(); l.broken = true }
func (l *line) mend() { l.mu.Lock(); defer l.mu.Unlock(); l.broken = false }

func (l *line) awaitAttempt(t *testing.T) {
	t.Helper()
	<-l.attempts
}
