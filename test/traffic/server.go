package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// echo answers every datagram with itself until ctx ends.
func echo(ctx context.Context, addr string) error {
	conn, err := listenUDP(ctx, addr)
	if err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return ended(ctx, err)
		}
		_, _ = conn.WriteToUDPAddrPort(buf[:n], from) // a full queue loses it, as any network would
	}
}

// listenUDP opens a socket that closes when ctx ends.
func listenUDP(ctx context.Context, addr string) (*net.UDPConn, error) {
	var cfg net.ListenConfig
	pc, err := cfg.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { pc.Close() })
	return pc.(*net.UDPConn), nil
}

// serveTCP hands each accepted connection to handle in a goroutine of its own.
func serveTCP(ctx context.Context, addr string, handle func(net.Conn)) error {
	var cfg net.ListenConfig
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		conn, err := l.Accept()
		if err != nil {
			return ended(ctx, err)
		}
		go handle(conn)
	}
}

// ended turns the error of a socket that ctx closed into a clean end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// counters holds the payload bytes received from each source address.
type counters struct {
	mu    sync.Mutex
	bytes map[netip.Addr]uint64
}

func (c *counters) add(from netip.Addr, n int) {
	c.mu.Lock()
	c.bytes[from.Unmap()] += uint64(n)
	c.mu.Unlock()
}

// ServeHTTP writes the counters and the instant they were read, as JSON.
func (c *counters) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"at": time.Now(), "bytes": c.bytes})
}

// outlast reads a connection to its end.
func outlast(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 512)
	for {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}

// count reads a connection to its end and counts what comes, many packets in a call.
func (c *counters) count(conn net.Conn) {
	defer conn.Close()
	if raw, err := conn.(*net.TCPConn).SyscallConn(); err == nil {
		_ = setInt(raw, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 64<<10) // or one
	}
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	buf := make([]byte, 256<<10)
	for {
		n, err := conn.Read(buf)
		c.add(from, n)
		if err != nil {
			return
		}
	}
}

// countUDP counts the datagrams that come until ctx ends, every few milliseconds all that
// wait: to be woken for each would take a third of a core.
func (c *counters) countUDP(ctx context.Context, conn *net.UDPConn) error {
	const batch, every = 256, 2 * time.Millisecond
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 2<<10)}
	}
	for p := ipv4.NewPacketConn(conn); ; {
		n, err := p.ReadBatch(messages, 0)
		if err != nil {
			return ended(ctx, err)
		}
		for _, m := range messages[:n] {
			c.add(m.Addr.(*net.UDPAddr).AddrPort().Addr(), m.N)
		}
		if n < batch {
			time.Sleep(every)
		}
	}
}

func sink(ctx context.Context, data, control string) error {
	received := &counters{bytes: map[netip.Addr]uint64{}}
	mux := http.NewServeMux()
	mux.Handle("GET /received", received)
	udp, err := listenUDP(ctx, data)
	if err != nil {
		return err
	}
	_ = udp.SetReadBuffer(8 << 20)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return serveTCP(ctx, data, received.count) })
	g.Go(func() error { return received.countUDP(ctx, udp) })
	g.Go(func() error { return serveHTTP(ctx, control, mux) })
	return g.Wait()
}

func serveHTTP(ctx context.Context, addr string, h http.Handler) error {
	server := &http.Server{Addr: addr, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
