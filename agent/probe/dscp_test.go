package probe

import (
	"encoding/binary"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

// Every packet of a session carries its codepoint, as a capture on the other
// side of the link sees it, and STAMP's answers carry it back.
func TestCodepointIsOnTheWire(t *testing.T) {
	l := newLab(t)
	stamp, _ := l.reflect(t, ReflectorOptions{})
	udp, tcp := l.echoUDP(t, nil), l.listenTCP(t)
	targets := []Session{
		{ID: "stamp", Protocol: workload.STAMP, Host: "10.99.0.2", Port: stamp, DSCP: 46},
		{ID: "udp", Protocol: workload.UDP, Host: "10.99.0.2", Port: udp, DSCP: 34},
		{ID: "tcp", Protocol: workload.TCP, Host: "10.99.0.2", Port: tcp, DSCP: 8},
		{ID: "icmp", Protocol: workload.ICMP, Host: "10.99.0.2", DSCP: 1},
		{ID: "stamp6", Protocol: workload.STAMP, Host: "fd99::2", Port: stamp, DSCP: 10},
		{ID: "tcp6", Protocol: workload.TCP, Host: "fd99::2", Port: tcp, DSCP: 63},
	}
	seen := l.capture(t)
	l.start(t, targets...)
	want := map[flow]uint8{}
	for _, s := range targets {
		there := flow{v6: s.Host == "fd99::2", protocol: s.Protocol, port: s.Port}
		want[there] = s.DSCP
		if s.Protocol == workload.STAMP {
			there.back = true
			want[there] = s.DSCP
		}
	}
	await.Success(t, "packets of all sessions", func() error {
		for len(want) > 0 {
			select {
			case p := <-seen:
				dscp, ours := want[p.flow]
				if !ours {
					continue
				}
				if p.dscp != dscp {
					t.Errorf("%+v: codepoint %d on the wire, want %d", p.flow, p.dscp, dscp)
				}
				delete(want, p.flow)
			default:
				return fmt.Errorf("not seen: %+v", want)
			}
		}
		return nil
	})
}

// flow is a direction of a session, as far as a capture tells.
type flow struct {
	v6       bool
	protocol workload.Protocol
	port     uint16 // of the target
	back     bool
}

type captured struct {
	flow
	dscp uint8
}

// capture gives the packets of the far end's interface for the length of the
// test. UDP without the echo's magic is STAMP.
func (l lab) capture(t *testing.T) <-chan captured {
	t.Helper()
	var fd int
	var err error
	l.far.Do(t, func() {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}); err != nil {
		t.Fatal(err)
	}
	out, stop, ended := make(chan captured, 1024), make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(stop); <-ended; unix.Close(fd) })
	go func() {
		defer close(ended)
		b := make([]byte, 2048)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err != nil {
				continue // the timeout, most likely
			}
			if p, ok := dissect(b[:n]); ok {
				select {
				case out <- p:
				default:
				}
			}
		}
	}()
	return out
}

// dissect reads an IP packet between the lab's two ends.
func dissect(b []byte) (captured, bool) {
	var p captured
	var next byte
	var to net.IP
	switch {
	case len(b) > 28 && b[0] == 0x45:
		p.dscp, next, to, b = b[1]>>2, b[9], net.IP(b[16:20]), b[20:]
	case len(b) > 48 && b[0]>>4 == 6:
		p.v6, p.dscp, next, to, b = true, (b[0]<<4|b[1]>>4)>>2, b[6], net.IP(b[24:40]), b[40:]
	default:
		return p, false
	}
	p.back = to.Equal(net.ParseIP("10.99.0.1")) || to.Equal(net.ParseIP("fd99::1"))
	port := binary.BigEndian.Uint16(b[2:])
	if p.back {
		port = binary.BigEndian.Uint16(b)
	}
	switch next {
	case unix.IPPROTO_UDP:
		p.protocol, p.port = workload.STAMP, port
		if len(b) >= 12 && binary.BigEndian.Uint32(b[8:]) == echoMagic {
			p.protocol = workload.UDP
		}
	case unix.IPPROTO_TCP:
		p.protocol, p.port = workload.TCP, port
	case unix.IPPROTO_ICMP:
		p.protocol = workload.ICMP
	default:
		return p, false
	}
	return p, true
}
