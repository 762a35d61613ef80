package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/traffic/load"
)

// current is the load in progress; a new one ends the one before.
type current struct {
	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{}
}

func (c *current) replace(start func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop()
		<-c.done
		c.stop = nil
	}
	if start == nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	c.stop, c.done = stop, done
	go func() {
		defer close(done)
		start(ctx)
	}()
}

func sender(ctx context.Context, control string) error {
	var now current
	defer now.replace(nil) //nolint:contextcheck // a load outlives the request that starts it
	mux := http.NewServeMux()
	mux.HandleFunc("POST /load", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<10))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l, err := load.Parse(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		slog.Info("sending", "kind", l.Kind, "to", l.To, "rate", l.Rate, "conns", l.Conns, "for", l.For)
		now.replace(func(ctx context.Context) { send(ctx, l) }) //nolint:contextcheck // likewise
	})
	mux.HandleFunc("DELETE /load", func(http.ResponseWriter, *http.Request) { now.replace(nil) }) //nolint:contextcheck // likewise
	return serveHTTP(ctx, control, mux)
}

// send runs one load to its end.
func send(ctx context.Context, l load.Load) {
	ctx, cancel := context.WithTimeout(ctx, l.For)
	defer cancel()
	for ctx.Err() == nil {
		burst, stop := ctx, context.CancelFunc(func() {})
		if l.On > 0 {
			burst, stop = context.WithTimeout(ctx, l.On)
		}
		if err := sendOnce(burst, l); err != nil && burst.Err() == nil {
			slog.Error("sending failed", "to", l.To, "err", err)
			wait(ctx, time.Second)
		}
		stop()
		wait(ctx, l.Off)
	}
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func sendOnce(ctx context.Context, l load.Load) error {
	if l.Kind == load.UDP {
		return sendUDP(ctx, l)
	}
	one := func(ctx context.Context) error { return sendTCP(ctx, l.To) }
	if l.Kind == load.CPU {
		one = spin
	}
	g, ctx := errgroup.WithContext(ctx)
	for range l.Conns {
		g.Go(func() error { return one(ctx) })
	}
	return g.Wait()
}

// spin keeps a core busy, and lets the process's other work through.
func spin(ctx context.Context) error {
	for ctx.Err() == nil {
		for n := 0; n < 1_000_000; n++ {
			_ = n // the loop is the load
		}
		runtime.Gosched()
	}
	return nil
}

// sendTCP fills one connection. It asks for CUBIC, the default of most
// clusters: a host with another default would make runs differ.
func sendTCP(ctx context.Context, to string) error {
	d := net.Dialer{Timeout: 3 * time.Second, Control: useCubic}
	conn, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		if _, err := conn.Write(buf); err != nil {
			return err
		}
	}
	return nil
}

func useCubic(_, _ string, rc syscall.RawConn) error {
	var sockErr error
	if err := rc.Control(func(fd uintptr) {
		sockErr = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	}); err != nil {
		return err
	}
	if sockErr != nil {
		return fmt.Errorf("set TCP congestion control to cubic: %w", sockErr)
	}
	return nil
}

const (
	udpPayload  = 1372
	udpIPPacket = udpPayload + 28 // IPv4 and UDP headers
	// udpBatch is how many datagrams are sent in one call, as libraries for QUIC do: a
	// call for each takes so much of the processor that it is no load for a network.
	udpBatch = 32
	// behind is how much of what could not be sent in time is sent later. The
	// rest is lost: a sender that made up for all of it would not end for as
	// long as a limit had held it back.
	behind = 100 * time.Millisecond
)

// sendUDP keeps a constant rate in bursts a millisecond long.
func sendUDP(ctx context.Context, l load.Load) error {
	d := net.Dialer{Control: segment}
	conn, err := d.DialContext(ctx, "udp", l.To)
	if err != nil {
		return err
	}
	defer conn.Close()
	flood(ctx, conn, l.Rate)
	return nil
}

// segment has the kernel divide what is written into datagrams of udpPayload octets
// (udp(7), UDP_SEGMENT).
func segment(_, _ string, rc syscall.RawConn) error {
	return setInt(rc, unix.SOL_UDP, unix.UDP_SEGMENT, udpPayload)
}

// setInt sets an option of a socket.
func setInt(rc syscall.RawConn, level, option, value int) error {
	var sockErr error
	if err := rc.Control(func(fd uintptr) { sockErr = unix.SetsockoptInt(int(fd), level, option, value) }); err != nil {
		return err
	}
	if sockErr != nil {
		return fmt.Errorf("set option %d of level %d to %d: %w", option, level, value, sockErr)
	}
	return nil
}

// flood writes datagrams of udpPayload octets, many in a call.
func flood(ctx context.Context, conn io.Writer, rate bitrate.Rate) {
	buf := make([]byte, udpBatch*udpPayload)
	start, sent := time.Now(), 0.0
	for ctx.Err() == nil {
		due := time.Since(start).Seconds() * float64(rate.Bytes())
		sent = max(sent, due-behind.Seconds()*float64(rate.Bytes()))
		for sent < due && ctx.Err() == nil {
			n := min(int((due-sent)/udpIPPacket)+1, udpBatch)
			_, _ = conn.Write(buf[:n*udpPayload]) // a refused or dropped datagram is still sent load
			sent += float64(n * udpIPPacket)
		}
		time.Sleep(time.Millisecond)
	}
}
