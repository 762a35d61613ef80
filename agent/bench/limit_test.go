package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/bitrate"
)

// BenchmarkLimit is how exactly a limit is kept: by what iperf3's receiver got
// over ten seconds and, beside it, by the octets of the frames that the
// receiving interface counted in the middle of them.
//
// A source that offers less than the limit, for want of processor time, says
// nothing about the limiter; offered shows it.
func BenchmarkLimit(b *testing.B) {
	for _, direction := range []string{"egress", "ingress"} {
		for _, load := range []string{"tcp", "udp"} {
			for _, rate := range []string{"1M", "10M", "100M", "500M"} {
				b.Run(direction+"/"+load+"/"+rate, func(b *testing.B) {
					c := newContest(b, direction, rate)
					var result iperf
					frames := c.frames(b, func() { result = c.iperf(b, load) })
					within(b, c.off(result.End.Received.Rate), 3, "%off")
					b.ReportMetric(c.off(frames), "%off-frames")
					if load == "udp" {
						b.ReportMetric(result.End.Sent.Rate/float64(c.limit), "offered")
					}
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// BenchmarkLimitSegments is the same with another source, which leaves it to
// the kernel to segment what it sends and so has no trouble to offer enough.
func BenchmarkLimitSegments(b *testing.B) {
	for _, rate := range []string{"1M", "10M", "100M", "500M"} {
		b.Run(rate, func(b *testing.B) {
			c := newContest(b, "egress", rate)
			b.ReportMetric(c.off(c.frames(b, func() { c.segments(b) })), "%off-frames")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// contest is a sender and a receiver with a limit between them.
type contest struct {
	limit            bitrate.Rate
	sender, receiver *nstest.Net
	to               string // the receiver's address
}

func newContest(b *testing.B, direction, rate string) contest {
	limit, err := bitrate.Parse(rate)
	if err != nil {
		b.Fatal(err)
	}
	if direction == "ingress" {
		s := newShaped(b, "", rate)
		return contest{limit, s.far, s.pod, "10.88.0.2"}
	}
	s := newShaped(b, rate, "")
	return contest{limit, s.pod, s.far, "10.89.0.2"}
}

// off is how far a rate is from the limit, in percent.
func (c contest) off(rate float64) float64 { return 100 * (rate/float64(c.limit) - 1) }

// length is how long the sources send.
const length = 10 * time.Second

// frames runs a source and returns the rate of the frames that arrived between
// its second second and its last.
func (c contest) frames(b *testing.B, source func()) (bitsPerSecond float64) {
	var running sync.WaitGroup
	running.Go(source)
	defer running.Wait()
	count := func() (uint64, time.Time) {
		link, err := c.receiver.LinkByName("eth0")
		if err != nil {
			b.Fatal(err)
		}
		return link.Attrs().Statistics.RxBytes, time.Now()
	}
	time.Sleep(length / 5)
	before, begin := count()
	time.Sleep(length * 7 / 10)
	after, end := count()
	return float64(8*(after-before)) / end.Sub(begin).Seconds()
}

// iperf is what is read of iperf3's report.
type iperf struct {
	End struct {
		Sent     sum `json:"sum_sent"`
		Received sum `json:"sum_received"`
	}
}

type sum struct {
	Rate float64 `json:"bits_per_second"`
}

// iperf sends by iperf3. Where its sender would not make enough packets of full
// size, it lets the kernel fragment larger ones.
func (c contest) iperf(b *testing.B, load string) iperf {
	server := exec.Command("iperf3", "-s", "-1")
	startIn(b, c.receiver, server)
	defer func() { _ = server.Process.Kill(); _ = server.Wait() }()
	time.Sleep(300 * time.Millisecond)
	args := []string{"-J", "-c", c.to, "-t", fmt.Sprint(length.Seconds())}
	if load == "udp" {
		payload := "1400"
		if c.limit > 100*bitrate.Mbit {
			payload = "8192"
		}
		args = append(args, "-u", "-b", fmt.Sprint(int64(c.limit)*3/2), "-l", payload)
	} else {
		args = append(args, "-C", "cubic")
	}
	var out bytes.Buffer
	client := exec.Command("iperf3", args...)
	client.Stdout = &out
	startIn(b, c.sender, client)
	var result iperf
	if err := client.Wait(); err != nil {
		b.Errorf("iperf3 %v: %v: %s", args, err, &out)
	} else if err := json.Unmarshal(out.Bytes(), &result); err != nil {
		b.Errorf("read iperf3's report: %v", err)
	}
	return result
}

// startIn starts cmd inside n, before everything else that wants the processor:
// the limiter is under test and not the machine.
func startIn(b *testing.B, n *nstest.Net, cmd *exec.Cmd) {
	var err error
	n.Do(b, func() { err = cmd.Start() })
	if err != nil {
		b.Fatal(err)
	}
	first(b, cmd.Process.Pid)
}

// first puts a thread before everything that shares the processors.
func first(b *testing.B, thread int) {
	if err := unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0); err != nil {
		b.Logf("the source has to share the processors: %v", err)
	}
}

// segments sends half as much again as the limit, sixteen packets in a call.
func (c contest) segments(b *testing.B) {
	const segment, batch = 1400, 16
	var conn net.Conn
	var err error
	c.sender.Do(b, func() { conn, err = net.Dial("udp", c.to+":9") })
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT, segment) })
	}
	if err != nil {
		b.Error(err)
		return
	}
	runtime.LockOSThread() // and not unlocked: the thread ends with this source
	first(b, 0)
	packets := make([]byte, batch*segment)
	for sent, begin := 0.0, time.Now(); time.Since(begin) < length; {
		if sent > 1.5*float64(c.limit)*time.Since(begin).Seconds() {
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 200_000}, nil) // keeps the thread
			continue
		}
		_ = raw.Write(func(fd uintptr) bool { _, _ = unix.Write(int(fd), packets); return true }) // nobody listens
		sent += 8 * float64(len(packets))
	}
}
