package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
)

const (
	bulkPort = 5001
	payload  = 1400        // of a datagram
	framing  = 14 + 20 + 8 // Ethernet, IPv4 and UDP
)

// now is the guest's monotonic clock, that of the limiter.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// arrival is octets that came in at a time, since the one before.
type arrival struct {
	at     time.Duration
	octets int
}

// sink takes in what is sent to one port, over UDP and TCP, and counts what
// comes in by the wire: an application gets what TCP had to wait for in bursts.
// The probes are counted too, 0.04 Mbit/s.
type sink struct {
	datagrams *net.UDPConn
	listener  *net.TCPListener

	mu       sync.Mutex
	arrivals []arrival
	running  sync.WaitGroup
	stop     chan struct{}
}

func newSink(on *host, port int) (*sink, error) {
	s := &sink{}
	err := on.do(func() (err error) {
		if s.datagrams, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port}); err != nil {
			return err
		}
		s.listener, err = net.ListenTCP("tcp4", &net.TCPAddr{Port: port})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	_ = s.datagrams.SetReadBuffer(4 << 20)
	s.stop = make(chan struct{})
	s.running.Go(func() { s.watch(on) })
	s.running.Go(func() { s.drain(s.datagrams) })
	s.running.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.running.Go(func() { defer conn.Close(); s.drain(conn) })
		}
	})
	return s, nil
}

func (s *sink) drain(from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := from.Read(buffer); err != nil {
			return
		}
	}
}

// watch reads the interface's counter, Ethernet headers and all, until the sink
// closes.
func (s *sink) watch(on *host) {
	ticker := time.NewTicker(resolution / 4)
	defer ticker.Stop()
	var before uint64
	for first := true; ; first = false {
		if link, err := on.LinkByName("eth0"); err == nil {
			came := link.Attrs().Statistics.RxBytes
			if !first {
				s.mu.Lock()
				s.arrivals = append(s.arrivals, arrival{now(), int(came - before)})
				s.mu.Unlock()
			}
			before = came
		}
		select {
		case <-s.stop:
			return
		case <-ticker.C:
		}
	}
}

// close waits for every sender to have ended.
func (s *sink) close() {
	close(s.stop)
	s.datagrams.Close()
	s.listener.Close()
	s.running.Wait()
}

// rate is what came in between two times, in Mbit/s.
func (s *sink) rate(from, to time.Duration) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	octets := 0
	for _, a := range s.arrivals {
		if a.at >= from && a.at < to {
			octets += a.octets
		}
	}
	return float64(octets) * 8 / 1e6 / (to - from).Seconds()
}

// sendTCP opens flows to the peer that send all they can.
func sendTCP(ctx context.Context, pod *host, flows int) (wait func(), err error) {
	dialer := net.Dialer{Timeout: 2 * time.Second}
	return each(flows, func() (func(), error) {
		var conn net.Conn
		err := pod.do(func() (err error) {
			conn, err = dialer.DialContext(ctx, "tcp4", net.JoinHostPort(peerAddr, fmt.Sprint(bulkPort)))
			return err
		})
		if err != nil {
			return nil, err
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.(*net.TCPConn).SetLinger(0); conn.Close() })
		return func() {
			defer stop()
			buffer := make([]byte, 16<<10)
			for {
				if _, err := conn.Write(buffer); err != nil {
					return
				}
			}
		}, nil
	})
}

// sendBursts opens flows again and again that send all they can for on, and pauses.
func sendBursts(ctx context.Context, pod *host, flows int, on, off time.Duration) (wait func(), err error) {
	var sending sync.WaitGroup
	sending.Go(func() {
		for ctx.Err() == nil {
			burst, stop := context.WithTimeout(ctx, on)
			if wait, err := sendTCP(burst, pod, flows); err == nil {
				wait()
			}
			<-burst.Done()
			stop()
			select {
			case <-ctx.Done():
			case <-time.After(off):
			}
		}
	})
	return sending.Wait, nil
}

// sendUDP offers rate in all, by so many flows, whatever becomes of it. Where on
// is positive it sends for so long and then pauses as long.
func sendUDP(ctx context.Context, pod *host, flows int, rate bitrate.Rate, on time.Duration) (wait func(), err error) {
	gap := time.Duration(float64(flows) * (payload + framing) * 8 / float64(rate) * float64(time.Second))
	return each(flows, func() (func(), error) {
		var conn net.Conn
		err := pod.do(func() (err error) {
			conn, err = (&net.Dialer{}).DialContext(ctx, "udp4", net.JoinHostPort(peerAddr, fmt.Sprint(bulkPort)))
			return err
		})
		if err != nil {
			return nil, err
		}
		return func() {
			defer conn.Close()
			pour(ctx, conn, gap, on)
		}, nil
	})
}

// pour sends a datagram each gap; those due within a millisecond go together.
func pour(ctx context.Context, conn net.Conn, gap, on time.Duration) {
	datagram := make([]byte, payload)
	start := now()
	for next := start; ctx.Err() == nil; next += gap {
		if on > 0 && (next-start)/on%2 == 1 {
			next = start + ((next-start)/on+1)*on
		}
		if early := next - now(); early > time.Millisecond {
			time.Sleep(early)
		}
		if _, err := conn.Write(datagram); err != nil && !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
	}
}

// each starts n senders, all of them opened before the first one sends: what waits in the
// limiter would hold up the others' handshakes by as much as its horizon. Wait returns when
// all have ended.
func each(n int, open func() (func(), error)) (wait func(), err error) {
	senders := make([]func(), n)
	for i := range senders {
		if senders[i], err = open(); err != nil {
			return nil, fmt.Errorf("open a flow: %w", err)
		}
	}
	var sending sync.WaitGroup
	for _, send := range senders {
		sending.Go(send)
	}
	return sending.Wait, nil
}
