package probe_test

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

// relay is a path in a process: it delays datagrams, loses, doubles and holds
// back some of them, and notes what it delivered. It needs no netem.
type relay struct {
	delay          time.Duration // one way
	lossThere      float64
	lossBack       float64
	doubled, held  float64 // of what comes back
	holdFor        time.Duration
	random         *rand.Rand
	near, far      *net.UDPConn
	client         netip.AddrPort
	mu             sync.Mutex
	queue          deliveries
	wake           chan struct{}
	delivered      []uint32 // sender's numbers of answers, in the order of delivery
	came           int      // requests
	lostTo, lostOf int
}

type delivery struct {
	at    time.Time
	order int
	data  []byte
	back  bool
}

type deliveries []delivery

func (d deliveries) Len() int { return len(d) }
func (d deliveries) Less(i, j int) bool {
	if d[i].at.Equal(d[j].at) {
		return d[i].order < d[j].order
	}
	return d[i].at.Before(d[j].at)
}
func (d deliveries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deliveries) Push(x any)   { *d = append(*d, x.(delivery)) }
func (d *deliveries) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

// run joins clients of near to the reflector until ctx ends.
func (r *relay) run(ctx context.Context, done *sync.WaitGroup) {
	r.wake = make(chan struct{}, 1)
	context.AfterFunc(ctx, func() { r.near.Close(); r.far.Close() })
	done.Go(func() { r.read(r.near, false) })
	done.Go(func() { r.read(r.far, true) })
	done.Go(func() { r.deliver(ctx) })
}

func (r *relay) read(conn *net.UDPConn, back bool) {
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		r.mu.Lock()
		if !back {
			r.client = from
			r.came++
		}
		r.pass(append([]byte(nil), b[:n]...), back)
		r.mu.Unlock()
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// pass decides what becomes of a datagram.
func (r *relay) pass(data []byte, back bool) {
	at := time.Now().Add(r.delay)
	switch chance := r.random.Float64(); {
	case !back && chance < r.lossThere:
		r.lostTo++
		return
	case back && chance < r.lossBack:
		r.lostOf++
		return
	case back && chance < r.lossBack+r.doubled:
		heap.Push(&r.queue, delivery{at, r.came, data, back})
	case back && chance < r.lossBack+r.doubled+r.held:
		at = at.Add(r.holdFor)
	}
	heap.Push(&r.queue, delivery{at, r.came, data, back})
}

func (r *relay) deliver(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		r.mu.Lock()
		wait := time.Hour
		for len(r.queue) > 0 {
			if wait = time.Until(r.queue[0].at); wait > 0 {
				break
			}
			next := heap.Pop(&r.queue).(delivery)
			if next.back {
				r.delivered = append(r.delivered, be.Uint32(next.data[24:]))
				_, _ = r.near.WriteToUDPAddrPort(next.data, r.client)
			} else {
				_, _ = r.far.Write(next.data)
			}
			wait = time.Hour
		}
		r.mu.Unlock()
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
	}
}

// truth is what a capture beside the sender would count: of each number the first
// answer is received, a further one is a copy, and one behind a later number is
// out of order.
func (r *relay) truth() (received, duplicated, reordered uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[uint32]bool{}
	var highest uint32
	for i, n := range r.delivered {
		switch {
		case seen[n]:
			duplicated++
			continue
		case i > 0 && int32(n-highest) < 0:
			reordered++
		default:
			highest = n
		}
		seen[n] = true
		received++
	}
	return received, duplicated, reordered
}

// Losses, copies and another order are counted as the path made them, in each
// direction, and to the packet. Where answers came late the machine stood still, and did
// more than the path: it is played again.
func TestCountsAreThePaths(t *testing.T) {
	const packets = 2000
	last, state, path := overRelay(t, packets)
	for last.Totals.Late > 0 {
		last, state, path = overRelay(t, packets)
	}
	received, duplicated, reordered := path.truth()
	want := probe.Totals{Sent: packets, Received: received, Lost: packets - received, Duplicated: duplicated, Reordered: reordered}
	if last.Totals != want {
		t.Errorf("%+v, the path made %+v", last.Totals, want)
	}
	if duplicated == 0 || reordered < packets/100 || want.Lost < packets/50 {
		t.Errorf("the path did too little: %+v", want)
	}
	lost := uint64(0)
	for _, isLost := range state {
		if isLost {
			lost++
		}
	}
	if lost != want.Lost || len(state) != packets {
		t.Errorf("by the samples %d of %d are lost, want %d", lost, len(state), want.Lost)
	}
	// What was lost behind the newest answer no reflector has told yet.
	h, there, back := last.Heard, path.lostTo, path.lostOf
	if !h.HasDirect || int(h.LostForward()) > there || int(h.LostForward()) < there-3 || int(h.LostBackward()) > back+3 || int(h.LostBackward()) < back-3 {
		t.Errorf("lost there %d, back %d; the path lost %d and %d", h.LostForward(), h.LostBackward(), there, back)
	}
}

// overRelay sends packets over a path that loses, copies and holds some, and returns what
// is counted in the end, and which packets are lost as the samples say.
func overRelay(t *testing.T, packets uint64) (last probe.Result, state map[uint32]bool, path *relay) {
	t.Helper()
	conn := listen(t, "127.0.0.1")
	reflector, err := probe.NewReflector(conn, probe.ReflectorOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	far, err := net.DialUDP("udp", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() { _ = reflector.Serve(ctx) })
	path = &relay{delay: 2 * time.Millisecond, lossThere: 0.03, lossBack: 0.02, doubled: 0.01, held: 0.05, holdFor: 15 * time.Millisecond,
		random: rand.New(rand.NewPCG(8762, 8972)), near: listen(t, "127.0.0.1"), far: far}
	path.run(ctx, &running)
	sender := probe.NewSender(probe.Options{Extensions: probe.Extensions{DirectMeasurement: true}})
	if err := sender.Assign([]probe.Session{{ID: "x", Protocol: workload.STAMP, Host: "127.0.0.1",
		Port: uint16(path.near.LocalAddr().(*net.UDPAddr).Port), Interval: 2 * time.Millisecond, Timeout: 5 * time.Second, Count: packets}}); err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = sender.Run(ctx) })
	state = map[uint32]bool{}
	copies := func() bool { // a copy may be on its way when all are answered
		_, duplicated, _ := path.truth()
		return last.Totals.Duplicated < duplicated
	}
	await.Success(t, "the end of all packets", func() error {
		sender.Collect(func(r probe.Result) {
			last = r
			for _, s := range r.Samples {
				state[s.Number] = s.Lost
			}
		})
		if last.Totals.Sent < packets || last.Open > 0 || copies() {
			return fmt.Errorf("%+v, %d open", last.Totals, last.Open)
		}
		return nil
	})
	return last, state, path
}
