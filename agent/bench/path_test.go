package bench

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/nstest"
)

// impaired is a link between two namespaces that delays frames, loses, doubles and
// holds back some of them: netem is not in every kernel. How precise it is
// matters to nobody: what is compared has gone through it and been captured
// behind it. Frames that are no IPv4 pass at once.
type impaired struct {
	least, spread       time.Duration // one-way delay: least to least + spread, uniform
	lostThere, lostBack float64
	doubled, held       float64 // of what comes back
	holdFor             time.Duration
}

// emulator runs it.
type emulator struct {
	impaired
	fds    [2]int // near, far
	wake   chan struct{}
	done   chan struct{}
	mu     sync.Mutex
	random *rand.Rand
	queue  frames
	order  int
}

type frame struct {
	at    time.Time
	order int
	data  []byte // with the virtio header of a packet socket, for checksums yet to be made
	to    int    // index of the socket
}

type frames []frame

func (f frames) Len() int { return len(f) }
func (f frames) Less(i, j int) bool {
	if f[i].at.Equal(f[j].at) {
		return f[i].order < f[j].order
	}
	return f[i].at.Before(f[j].at)
}
func (f frames) Swap(i, j int) { f[i], f[j] = f[j], f[i] }
func (f *frames) Push(x any)   { *f = append(*f, x.(frame)) }
func (f *frames) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}

// joined makes two namespaces, 10.99.0.1 and 10.99.0.2, with p between them.
func joined(b *testing.B, p impaired) (near, far *nstest.Net) {
	near, far = nstest.New(b), nstest.New(b)
	middle := nstest.New(b)
	nstest.Veth(b, near, "near", "10.99.0.1/24", middle, "m0", "")
	nstest.Veth(b, far, "far", "10.99.0.2/24", middle, "m1", "")
	e := &emulator{impaired: p, wake: make(chan struct{}, 1), done: make(chan struct{}), random: rand.New(rand.NewPCG(8762, 8972))}
	for i, name := range []string{"m0", "m1"} {
		link, err := middle.LinkByName(name)
		if err != nil {
			b.Fatal(err)
		}
		e.fds[i] = packetSocket(b, middle, link.Attrs().Index, unix.SOCK_RAW)
		for _, option := range []int{unix.PACKET_IGNORE_OUTGOING, unix.PACKET_VNET_HDR} {
			if err := unix.SetsockoptInt(e.fds[i], unix.SOL_PACKET, option, 1); err != nil {
				b.Fatal(err)
			}
		}
	}
	var running sync.WaitGroup
	running.Go(func() { e.read(0) })
	running.Go(func() { e.read(1) })
	running.Go(e.deliver)
	b.Cleanup(func() {
		close(e.done)
		running.Wait()
		unix.Close(e.fds[0])
		unix.Close(e.fds[1])
	})
	return near, far
}

// packetSocket sees every frame of an interface; reading it waits 50 ms at most.
func packetSocket(b *testing.B, n *nstest.Net, index, typ int) (fd int) {
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	var err error
	n.Do(b, func() { fd, err = unix.Socket(unix.AF_PACKET, typ|unix.SOCK_CLOEXEC, int(all)) })
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index})
	}
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	}
	if err != nil {
		b.Fatal(err)
	}
	return fd
}

const virtio = 10 // octets of the virtio header

// read takes frames from one end and decides what becomes of them.
func (e *emulator) read(end int) {
	b := make([]byte, 1<<16)
	for {
		select {
		case <-e.done:
			return
		default:
		}
		n, _, err := unix.Recvfrom(e.fds[end], b, 0)
		if err != nil || n < virtio+14 {
			continue
		}
		e.mu.Lock()
		e.pass(frame{at: time.Now(), data: append([]byte(nil), b[:n]...), to: 1 - end})
		e.mu.Unlock()
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
}

func (e *emulator) pass(f frame) {
	back, copies := f.to == 0, 1
	if binary.BigEndian.Uint16(f.data[virtio+12:]) == unix.ETH_P_IP {
		f.at = f.at.Add(e.least + time.Duration(e.random.Int64N(int64(e.spread)+1)))
		switch chance := e.random.Float64(); {
		case !back && chance < e.lostThere, back && chance < e.lostBack:
			copies = 0
		case back && chance < e.lostBack+e.doubled:
			copies = 2
		case back && chance < e.lostBack+e.doubled+e.held:
			f.at = f.at.Add(e.holdFor)
		}
	}
	for range copies {
		e.order++
		f.order = e.order
		heap.Push(&e.queue, f)
	}
}

func (e *emulator) deliver() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := time.Hour
		e.mu.Lock()
		for len(e.queue) > 0 {
			if wait = time.Until(e.queue[0].at); wait > 0 {
				break
			}
			next := heap.Pop(&e.queue).(frame)
			_, _ = unix.Write(e.fds[next.to], next.data)
			wait = time.Hour
		}
		e.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-e.done:
			return
		case <-e.wake:
		case <-timer.C:
		}
	}
}
