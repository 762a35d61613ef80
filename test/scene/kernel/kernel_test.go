package kernel

import (
	"cmp"
	"encoding/binary"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
)

// told is a socket on which the kernel tells of one limit, and then of nothing until it is closed
// or an error says that some was lost.
type told struct {
	said   bool
	lost   error
	closed chan struct{}
}

func (k *told) Receive() ([]syscall.NetlinkMessage, *unix.SockaddrNetlink, error) {
	if !k.said {
		k.said = true
		return []syscall.NetlinkMessage{class(50 * bitrate.Mbit)}, nil, nil
	}
	if k.lost == nil {
		<-k.closed
	}
	return nil, nil, cmp.Or(k.lost, net.ErrClosed)
}

func (k *told) Close() error {
	close(k.closed)
	return nil
}

// class is how the kernel tells of one that was made.
func class(rate bitrate.Rate) syscall.NetlinkMessage {
	parameters := make([]byte, 12)
	binary.NativeEndian.PutUint32(parameters[8:], uint32(rate/8))
	options := nl.NewRtAttr(nl.TCA_OPTIONS, nil)
	options.AddRtAttr(nl.TCA_HTB_PARMS, parameters)
	return syscall.NetlinkMessage{
		Header: syscall.NlMsghdr{Type: unix.RTM_NEWTCLASS},
		Data:   append(make([]byte, nl.SizeofTcMsg), options.Serialize()...),
	}
}

// A first cut that the kernel had no room to tell of is not one that never came.
func TestWhatTheKernelDidNotTellIsSaid(t *testing.T) {
	for _, lost := range []error{nil, unix.ENOBUFS} {
		synctest.Test(t, func(t *testing.T) {
			stop := watch(&told{lost: lost, closed: make(chan struct{})})
			synctest.Wait()
			seen, err := stop()
			if !errors.Is(err, lost) || lost == nil && (len(seen) != 1 || seen[0].To != 50*bitrate.Mbit) {
				t.Errorf("%v: seen %v, %v", lost, seen, err)
			}
		})
	}
}

// The first cut is the first limit below what a sender has of the link after the onset, not one of before or a loose one.
func TestFirstBelow(t *testing.T) {
	onset := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int, mbit bitrate.Rate) Limited {
		return Limited{onset.Add(time.Duration(ms) * time.Millisecond), mbit * bitrate.Mbit}
	}
	limits := []Limited{at(-10, 50), at(60, 150), at(80, 90), at(90, 40)}
	if got, ok := FirstBelow(limits, onset, 100*bitrate.Mbit); !ok || got != 80*time.Millisecond {
		t.Errorf("%v, %v; want 80ms", got, ok)
	}
	if got, ok := FirstBelow(limits[:2], onset, 100*bitrate.Mbit); ok {
		t.Errorf("%v without a cut", got)
	}
}
