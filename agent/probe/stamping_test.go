package probe

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/workload"
)

// Nothing is sent before the kernel stamps what arrives, since the answers would
// say nothing; a kernel that never does is waited for a tenth of a second only.
func TestFirstPacketsWaitForStamps(t *testing.T) {
	s := NewSender(Options{})
	if err := s.Assign([]Session{{ID: "x", Protocol: workload.UDP, Host: "127.0.0.1", Port: 9, Interval: time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	defer s.closeProbers()
	s.stamping = newStamping(0)
	if s.stamping == nil {
		t.Fatal("no socket to itself")
	}
	if err := unix.SetsockoptInt(s.stamping.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, 0); err != nil { // as if it had not begun
		t.Fatal(err)
	}
	for now := int64(0); now < int64(stampingPatience); now += int64(time.Millisecond) {
		s.step(now)
	}
	if got := s.sessions[0].totals.Sent; got != 0 {
		t.Errorf("%d packets sent that no timestamp would be of", got)
	}
	for now := int64(stampingPatience); now < 2*int64(stampingPatience); now += int64(time.Millisecond) {
		s.step(now)
	}
	if got := s.sessions[0].totals.Sent; got == 0 {
		t.Error("nothing is sent where the kernel gives no timestamps")
	}
}

// Where the kernel stamps, a packet to itself shows it.
func TestStampingIsSeen(t *testing.T) {
	s := newStamping(0)
	defer s.close()
	for tries := 0; !s.ready(0); tries++ {
		if tries == 10_000 {
			t.Fatal("no packet of ten thousand was stamped")
		}
		time.Sleep(time.Millisecond)
	}
}
