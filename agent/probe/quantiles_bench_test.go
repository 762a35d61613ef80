package probe

import (
	"encoding/binary"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/workload"
)

// BenchmarkQuantiles compares the quantiles of a session with those of a capture
// of the same packets on the same interface. The path is an echo that holds each
// packet for up to two milliseconds.
func BenchmarkQuantiles(b *testing.B) {
	l := newLab(b)
	port := l.echoUDP(b, func(p []byte) [][]byte {
		time.Sleep(rand.N(2 * time.Millisecond))
		return [][]byte{p}
	})
	trips := l.roundTrips(b, port)
	s := l.start(b, Session{ID: "x", Protocol: workload.UDP, Host: "10.99.0.2", Port: port, Interval: 10 * time.Millisecond})
	measured := map[uint32]time.Duration{}
	for len(measured) < 1500 {
		time.Sleep(50 * time.Millisecond)
		s.Collect(func(r Result) {
			for _, sample := range r.Samples {
				if !sample.Lost {
					measured[sample.Number+s.sessions[0].origin] = sample.RTT
				}
			}
		})
	}
	var ours, theirs []time.Duration
	for seq, trip := range trips() {
		if rtt, ok := measured[seq]; ok {
			ours, theirs = append(ours, rtt), append(theirs, trip)
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	for _, q := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}} {
		difference := quantile.Of(ours, q.at) - quantile.Of(theirs, q.at)
		b.ReportMetric(float64(difference.Abs().Nanoseconds())/1e3, "µs-"+q.name+"-difference")
	}
	b.ReportMetric(quantile.Of(ours, 0.5).Seconds()*1e6, "µs-p50")
	b.ReportMetric(float64(len(ours)), "packets")
	b.ReportMetric(0, "ns/op")
}

// roundTrips captures the near end's interface with the kernel's timestamps, and
// pairs the echo's packets to and from port by their numbers.
func (l lab) roundTrips(b *testing.B, port uint16) func() map[uint32]time.Duration {
	var fd int
	var err error
	l.near.Do(b, func() {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})))
	})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	}
	if err != nil {
		b.Fatal(err)
	}
	var mu sync.Mutex
	trips := map[uint32]time.Duration{}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		sent := map[uint32]int64{}
		packet, control := make([]byte, 2048), make([]byte, 256)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, cn, _, _, err := unix.Recvmsg(fd, packet, control, 0)
			if err != nil || n < 20+8+echoSize || packet[0] != 0x45 || packet[9] != unix.IPPROTO_UDP {
				continue
			}
			messages, err := unix.ParseSocketControlMessage(control[:cn])
			if err != nil || len(messages) == 0 {
				continue
			}
			at := timespec(messages[0].Data)
			udp := packet[20:]
			seq := binary.BigEndian.Uint32(udp[8+8:])
			mu.Lock()
			if binary.BigEndian.Uint16(udp[2:]) == port {
				sent[seq] = at
			} else if left, ok := sent[seq]; ok && binary.BigEndian.Uint16(udp) == port {
				trips[seq] = time.Duration(at - left)
			}
			mu.Unlock()
		}
	})
	b.Cleanup(func() { close(stop); reading.Wait(); unix.Close(fd) })
	return func() map[uint32]time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(trips)
	}
}
