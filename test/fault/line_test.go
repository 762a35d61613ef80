package fault

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// line carries connections to a host, as late as it is told to, or not at all.
type line struct {
	net.Listener
	late     atomic.Int64  // a time.Duration that each piece waits, in both directions
	attempts atomic.Uint64 // pieces that had to wait because the line is held

	mu   sync.Mutex
	held chan struct{} // closed when the line is let go; nil: it is not held
}

func newLine(t *testing.T, host string) *line {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{Listener: listener}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", host)
			if err != nil {
				near.Close()
				continue
			}
			open.Go(func() { l.carry(far, near) })
			open.Go(func() { l.carry(near, far) })
		}
	})
	t.Cleanup(func() { l.let(); listener.Close() })
	return l
}

func (l *line) carry(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			time.Sleep(time.Duration(l.late.Load()))
			l.wait()
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *line) wait() {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	if held != nil {
		l.attempts.Add(1)
		<-held
	}
}

// hold has the line accept everything and deliver nothing.
func (l *line) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = make(chan struct{})
}

func (l *line) let() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held != nil {
		close(l.held)
		l.held = nil
	}
}

// through is a client whose connections go over the line.
func (l *line) through(t *testing.T, cluster *rest.Config) kubernetes.Interface {
	t.Helper()
	c := rest.CopyConfig(cluster)
	c.Host = "https://" + l.Addr().String()
	return kubernetes.NewForConfigOrDie(c)
}

// hostOf is the address that a line to the API server leads to.
func hostOf(t *testing.T, cluster *rest.Config) string {
	t.Helper()
	u, err := url.Parse(cluster.Host)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}
