package bench

import (
	"encoding/binary"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/nstest"
)

// capture is what went over an interface, by whom it was.
type capture struct {
	mu   sync.Mutex
	sent map[key]int64
	back []answer
}

// key is one packet of one tool, by its own number.
type key struct {
	tool   string
	id     uint64
	number uint32
}

type answer struct {
	key
	at int64
}

// sniff captures an interface until the benchmark ends.
func sniff(b *testing.B, n *nstest.Net, name string) *capture {
	link, err := n.LinkByName(name)
	if err != nil {
		b.Fatal(err)
	}
	fd := packetSocket(b, n, link.Attrs().Index, unix.SOCK_DGRAM)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1); err != nil {
		b.Fatal(err)
	}
	c := &capture{sent: map[key]int64{}}
	stop := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { c.read(fd, stop) })
	b.Cleanup(func() { close(stop); reading.Wait(); unix.Close(fd) })
	return c
}

func (c *capture) read(fd int, stop <-chan struct{}) {
	packet, control := make([]byte, 2048), make([]byte, 256)
	for {
		select {
		case <-stop:
			return
		default:
		}
		n, cn, _, _, err := unix.Recvmsg(fd, packet, control, 0)
		if err != nil {
			continue
		}
		k, back, ok := classify(packet[:min(n, len(packet))])
		messages, err := unix.ParseSocketControlMessage(control[:cn])
		if !ok || err != nil || len(messages) == 0 {
			continue
		}
		stamp := messages[0].Data
		at := int64(binary.NativeEndian.Uint64(stamp))*int64(time.Second) + int64(binary.NativeEndian.Uint64(stamp[8:]))
		c.mu.Lock()
		if back {
			c.back = append(c.back, answer{k, at})
		} else {
			c.sent[k] = at
		}
		c.mu.Unlock()
	}
}

const (
	irttPort = 2112
	pingSize = 8 + 56 // octets of ICMP, by which ping and fping are told apart
)

// classify says whose IPv4 packet this is, and in which direction it went.
func classify(p []byte) (k key, back, ok bool) {
	if len(p) < 20+8 || p[0] != 0x45 {
		return k, false, false
	}
	body := p[28:]
	from, to := binary.BigEndian.Uint16(p[20:]), binary.BigEndian.Uint16(p[22:])
	switch {
	case p[9] == unix.IPPROTO_ICMP && (p[20] == 8 || p[20] == 0):
		k = key{"fping", uint64(binary.BigEndian.Uint16(p[24:])), uint32(binary.BigEndian.Uint16(p[26:]))}
		if binary.BigEndian.Uint16(p[2:]) == 20+pingSize {
			k.tool = "ping"
		}
		return k, p[20] == 0, true
	case p[9] != unix.IPPROTO_UDP:
	case to == stampPort && len(body) >= 44: // RFC 8762 §4.2.1
		return key{"detnet", uint64(from), binary.BigEndian.Uint32(body)}, false, true
	case from == stampPort && len(body) >= 44: // and §4.3.1
		return key{"detnet", uint64(to), binary.BigEndian.Uint32(body[24:])}, true, true
	case (to == irttPort || from == irttPort) && len(body) >= 16 && body[3]&^2 == 0: // flags: none but that of a reply
		return key{"irtt", binary.LittleEndian.Uint64(body[4:]), binary.LittleEndian.Uint32(body[12:])}, from == irttPort, true
	}
	return k, false, false
}

// counts are what became of a tool's packets.
type counts struct{ sent, received, duplicated, reordered int }

// of returns what the capture saw of one tool: the round trips in ascending
// order, and the counts. An answer behind one to a later packet is out of order.
func (c *capture) of(tool string) (trips []time.Duration, n counts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.sent {
		if k.tool == tool {
			n.sent++
		}
	}
	seen := map[key]bool{}
	newest := int64(0) // time of sending
	for _, a := range c.back {
		left, ok := c.sent[a.key]
		if a.tool != tool || !ok {
			continue
		}
		if seen[a.key] {
			n.duplicated++
			continue
		}
		seen[a.key] = true
		n.received++
		trips = append(trips, time.Duration(a.at-left))
		if left < newest {
			n.reordered++
		}
		newest = max(newest, left)
	}
	slices.Sort(trips)
	return trips, n
}
