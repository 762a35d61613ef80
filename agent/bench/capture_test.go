package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/workload"
)

// BenchmarkCapture compares each probe's round trip with that of the same
// packets in a capture on the same interface, on an idle machine and beside
// processes that take every core, with the kernel's timestamps and with this
// process's own.
func BenchmarkCapture(b *testing.B) {
	for _, machine := range []string{"idle", "hog"} {
		for _, source := range []string{"kernel", "user"} {
			b.Run(machine+"/"+source, func(b *testing.B) {
				if machine == "hog" {
					hog(b)
				}
				ours, theirs := captured(b, source == "user")
				differences := make([]time.Duration, len(ours))
				for i := range ours {
					differences[i] = (ours[i] - theirs[i]).Abs()
				}
				if source == "kernel" {
					within(b, micros(differences, 0.5), 20, "µs-median-difference")
				} else {
					b.ReportMetric(micros(differences, 0.5), "µs-median-difference")
				}
				b.ReportMetric(micros(differences, 0.99), "µs-p99-difference")
				b.ReportMetric(micros(ours, 0.5), "µs-p50")
				b.ReportMetric(micros(ours, 0.99), "µs-p99")
				b.ReportMetric(micros(theirs, 0.99), "µs-p99-capture")
				b.ReportMetric(float64(len(ours)), "packets")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func micros(values []time.Duration, q float64) float64 {
	values = slices.Sorted(slices.Values(values))
	return float64(quantile.Of(values, q).Nanoseconds()) / 1e3
}

// hog keeps every core busy twice over.
func hog(b *testing.B) {
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command("sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
}

// captured probes a UDP echo for some seconds and returns the round trips as
// the Sender and as tcpdump saw them.
func captured(b *testing.B, user bool) (ours, theirs []time.Duration) {
	near, far := nstest.New(b), nstest.New(b)
	nstest.Veth(b, near, "near", "10.99.0.1/24", far, "far", "10.99.0.2/24")
	var echo *net.UDPConn
	var err error
	far.Do(b, func() { echo, err = net.ListenUDP("udp4", &net.UDPAddr{}) })
	if err != nil {
		b.Fatal(err)
	}
	port := echo.LocalAddr().(*net.UDPAddr).Port
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = probe.ServeEcho(ctx, echo) })

	file := filepath.Join(b.TempDir(), "pcap")
	dump := exec.Command("tcpdump", "-i", "near", "-U", "-n", "--time-stamp-precision=nano", "-Z", "root", "-w", file, "udp port "+strconv.Itoa(port))
	near.Do(b, func() { err = dump.Start() })
	if err != nil {
		b.Skipf("no tcpdump: %v", err)
	}
	time.Sleep(time.Second)

	s := probe.NewSender(probe.Options{UserTimestamps: user})
	if err := s.Assign([]probe.Session{{ID: "x", Protocol: workload.UDP, Host: "10.99.0.2", Port: uint16(port), Interval: 5 * time.Millisecond}}); err != nil {
		b.Fatal(err)
	}
	running.Go(func() { _ = near.Run(func() { _ = s.Run(ctx) }) })
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		s.Collect(func(r probe.Result) {
			for _, sample := range r.Samples {
				ours = append(ours, sample.RTT)
			}
		})
	}
	time.Sleep(500 * time.Millisecond)
	_ = dump.Process.Signal(os.Interrupt)
	_ = dump.Wait()
	cancel()
	running.Wait()
	theirs, err = roundTrips(file, uint16(port))
	if err != nil {
		b.Fatal(err)
	}
	n := min(len(ours), len(theirs))
	if n == 0 {
		b.Fatalf("%d samples, %d packets captured", len(ours), len(theirs))
	}
	return ours[:n], theirs[:n]
}

// roundTrips reads a nanosecond pcap of Ethernet and pairs the packets to and
// from port by the sequence number in the probe's payload.
func roundTrips(file string, port uint16) ([]time.Duration, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var header [24]byte
	if _, err := io.ReadFull(f, header[:]); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(header[:]) != 0xa1b23c4d {
		return nil, errors.New("not a nanosecond pcap of this byte order")
	}
	sent := map[uint32]int64{}
	var trips []time.Duration
	for {
		var record [16]byte
		if _, err := io.ReadFull(f, record[:]); err != nil {
			return trips, nil // the end
		}
		at := int64(binary.LittleEndian.Uint32(record[:]))*1e9 + int64(binary.LittleEndian.Uint32(record[4:]))
		packet := make([]byte, binary.LittleEndian.Uint32(record[8:]))
		if _, err := io.ReadFull(f, packet); err != nil {
			return nil, err
		}
		const udp = 14 + 20
		if len(packet) < udp+8+12 {
			continue
		}
		seq := binary.BigEndian.Uint32(packet[udp+8+8:])
		if binary.BigEndian.Uint16(packet[udp+2:]) == port {
			sent[seq] = at
		} else if left, ok := sent[seq]; ok {
			trips = append(trips, time.Duration(at-left))
		}
	}
}
