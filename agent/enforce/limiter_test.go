package enforce

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/internal/await"
)

// A change keeps what waits: every datagram that entered the limiter leaves it.
func TestChangeLosesNothing(t *testing.T) {
	n := newNode(t)
	n.annotate("1M", "")
	var receiver net.PacketConn
	var sender net.Conn
	var err error
	n.host.Do(t, func() { receiver, err = net.ListenPacket("udp", "10.88.0.1:0") })
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Close()
	n.pod.Do(t, func() { sender, err = net.Dial("udp", receiver.LocalAddr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	const packets = 50
	for range packets { // 50 kB at 1 Mbit/s: half of it waits, and all of it fits
		if _, err := sender.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	for _, rate := range []string{"2M", "50M", "1M", "1500k", ""} {
		n.annotate(rate, "")
	}
	for i := range packets {
		await.Read(t, fmt.Sprint("packet ", i), receiver.(net.Conn), make([]byte, 2000))
	}
}

// A change of a limit lets nothing through beside the limit, however often it comes: what a
// filled bucket held would queue where many limits meet.
func TestAChangeFillsNoBucket(t *testing.T) {
	n := newNode(t)
	n.annotate("80k", "")
	began := time.Now()
	n.flood(t, 0)
	for i := range 20 {
		n.annotate(fmt.Sprintf("%dk", 80+i%2), "")
	}
	n.within(t, began, 81*bitrate.Kbit)
}

// No priority that a pod gives its packets, as one with CAP_NET_RAW may, has them pass by its limit.
func TestNoPriorityPassesALimit(t *testing.T) {
	for name, priority := range map[string]uint32{"root": rootHandle, "no class": rootHandle | 7, "queue": queueHandle} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.annotate("80k", "")
			direct := n.direct(t) // what the ifb itself sent as it came up, before its class was there
			began := time.Now()
			n.flood(t, priority)
			n.within(t, began, 80*bitrate.Kbit)
			if by := n.direct(t) - direct; by != 0 {
				t.Errorf("%d packets passed by", by)
			}
		})
	}
}

// direct is how many packets went through the pod's limiter without a class.
func (n *node) direct(t *testing.T) uint32 {
	t.Helper()
	now, err := kernel{n.host.Handle}.limiter(n.behind(t).Attrs().Index)
	if err != nil {
		t.Fatal(err)
	}
	return now.root.(*netlink.Htb).DirectPkts
}

// What waits behind a limit that is lifted leaves, also where the packet before it is paid for
// at the old rate until after the next verification.
func TestALiftedLimitLosesNothing(t *testing.T) {
	n := newNode(t)
	var got net.PacketConn
	var err error
	n.host.Do(t, func() { got, err = net.ListenPacket("udp4", "10.88.0.1:9") })
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	n.annotate("80k", "")
	n.flood(t, 0)
	n.annotate("", "")
	for n.enforcer.reconcile(true); len(n.enforcer.draining) > 0; n.enforcer.reconcile(true) {
		time.Sleep(drainTime)
	}
	if _, err := n.host.LinkByName(ifbName("uid-1")); err == nil {
		t.Error("the limiter is still there")
	}
	for i := range 50 {
		await.Read(t, fmt.Sprintf("packet %d of 50", i), got.(net.Conn), make([]byte, 2000))
	}
}

// Every limit that may be asked for is in force as it was meant, and seen to be.
func TestLimitsOfAllSizes(t *testing.T) {
	n := newNode(t)
	for _, limit := range []string{"1k", "80k", "1M", "34359738k", "34359739k", "100G", "400G", "1k"} {
		n.annotate(limit, limit)
		if text := n.enforcer.applied["uid-1"].err; text != "" {
			t.Errorf("%s: %s", limit, text)
			continue
		}
		rate, err := bitrate.ParseLimit(limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, index := range []int{n.behind(t).Attrs().Index, n.index} {
			now, err := kernel{n.host.Handle}.limiter(index)
			if err != nil {
				t.Fatal(err)
			}
			want := bucketOf(rate).class(index)
			if is := now.class; is.Rate != want.Rate || is.Ceil != want.Ceil || is.Buffer != want.Buffer || now.queue.Limit != bucketOf(rate).limit {
				t.Errorf("%s: %+v, %+v", limit, is, now.queue)
			}
		}
	}
}

// flood sends 50 kB from the pod, which its limiter has room for, with a priority of the socket.
func (n *node) flood(t *testing.T, priority uint32) {
	t.Helper()
	n.pod.Do(t, func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, int(int32(priority))); err != nil {
			t.Error(err)
		}
		for range 50 {
			if err := unix.Sendto(fd, make([]byte, 1000), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{10, 88, 0, 1}}); err != nil {
				t.Error(err)
			}
		}
	})
}

// within fails if more has left the limiter since a time than a full bucket and a limit explain.
func (n *node) within(t *testing.T, since time.Time, limit bitrate.Rate) {
	t.Helper()
	await.Until(t, "something leaves the limiter", func() bool { return n.passed(t) > 0 })
	passed := n.passed(t)
	may := leastBurst + 1514 + uint64(float64(bucketOf(limit).rate)*time.Since(since).Seconds())
	if passed > may {
		t.Errorf("%d octets left the limiter, want no more than %d", passed, may)
	}
}

// passed is how much has left the pod's limiter, in octets.
func (n *node) passed(t *testing.T) uint64 {
	t.Helper()
	return n.behind(t).Attrs().Statistics.TxBytes
}

// behind is the ifb of the pod.
func (n *node) behind(t *testing.T) netlink.Link {
	t.Helper()
	link, err := n.host.LinkByName(ifbName("uid-1"))
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// What an agent before this one left, whole or half made, is replaced by what holds the
// limit now, at the same interfaces.
func TestWhatAFormerAgentLeftIsReplaced(t *testing.T) {
	const tbf = " root handle de7e: tbf rate 1mbit burst 24244 limit 64kb peakrate 40gbit mtu 24244"
	const htb = " root handle de7f: htb default 1"
	for name, left := range map[string]string{
		"a token bucket filter": tbf,
		"htb without its class": htb,
		"a class without queue": htb + "\nclass add dev %s parent de7f: classid de7f:1 htb rate 1mbit",
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.annotate("1M", "1M")
			was := n.behind(t).Attrs().Index
			for _, dev := range []string{ifbName("uid-1"), "vethpod"} {
				n.tc(t, "qdisc del dev "+dev+" root")
				root, class, _ := strings.Cut(left, "\n")
				n.tc(t, "qdisc add dev "+dev+root)
				if class != "" {
					n.tc(t, fmt.Sprintf(class, dev))
				}
			}
			n.restart(t)
			n.annotate("2M", "3M")
			if text := n.enforcer.applied["uid-1"].err; text != "" {
				t.Fatal(text)
			}
			if got := n.buckets(t); got["vethpod"] != bucketOf(3*bitrate.Mbit).rate || got[ifbName("uid-1")] != bucketOf(2*bitrate.Mbit).rate {
				t.Errorf("in force: %v", got)
			}
			if n.behind(t).Attrs().Index != was || !n.redirected(t) {
				t.Error("the ifb was made anew")
			}
			if waited := n.transfer(t, n.pod, n.host, "10.88.0.1:30080"); waited < 100_000 {
				t.Errorf("%d octets passed the new limiter", waited)
			}
			n.annotate("", "")
			n.enforcer.reconcile(true)
			if got := n.buckets(t); len(got) != 0 {
				t.Errorf("after the removal: %v", got)
			}
		})
	}
}
