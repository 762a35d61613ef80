package probe

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/detnet/detnet/workload"
)

// A handshake ends with a reset by default, and with a FIN where that is asked
// for: then the app reads an end of the stream and no error.
func TestHandshakeEnds(t *testing.T) {
	l := newLab(t)
	for name, tt := range map[string]struct {
		fin  bool
		want error
	}{
		"reset": {false, syscall.ECONNRESET},
		"FIN":   {true, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			var ln net.Listener
			var err error
			l.far.Do(t, func() { ln, err = net.Listen("tcp", ":0") })
			if err != nil {
				t.Fatal(err)
			}
			ends := make(chan error, 1)
			var done sync.WaitGroup
			done.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return // the test is over
					}
					_, err = c.Read(make([]byte, 1))
					c.Close()
					select {
					case ends <- err:
					default:
					}
				}
			})
			t.Cleanup(func() { ln.Close(); done.Wait() })
			s := NewSender(Options{FIN: tt.fin})
			port := ln.Addr().(*net.TCPAddr).AddrPort().Port()
			if err := s.Assign([]Session{{ID: "x", Protocol: workload.TCP, Host: "10.99.0.2", Port: port, Interval: 20 * time.Millisecond}}); err != nil {
				t.Fatal(err)
			}
			l.run(t, s)
			gather(t, s, samples("x", 5))
			for range 3 {
				if err := <-ends; !errors.Is(err, tt.want) {
					t.Errorf("the app reads %v, want %v", err, tt.want)
				}
			}
		})
	}
}
