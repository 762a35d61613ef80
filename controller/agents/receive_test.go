package agents

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/agent/wire"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
)

// counting is a Pool with sessions s0… and pods p0…, numbered from 1, that counts how
// often it looks at the time of a sample or a rate.
func counting(n int) (p *Pool, from inventory.Agent, looks *int) {
	p, from, looks = New(insecure.NewCredentials(), slog.New(slog.DiscardHandler)), inventory.Agent{UID: "a1", Node: "worker-1"}, new(int)
	for i := range n {
		id := fmt.Sprintf("s%d", i)
		s := &session{agent: from.UID, number: uint32(i + 1)}
		s.samples.at = func(s plan.Sample) plan.Instant { *looks++; return s.At }
		p.sessions[id], p.numbers[s.number] = s, s
		pod := plan.PodID{Namespace: "factory", Name: fmt.Sprintf("p%d", i)}
		r := &rates{uid: "u", node: from.Node}
		r.tx.at = func(r plan.TxRate) plan.Instant { *looks++; return r.At }
		p.rates[pod] = r
	}
	return p, from, looks
}

// full fills what is kept of every session and pod.
func full(p *Pool) {
	for _, s := range p.sessions {
		for i := range maxItems {
			s.samples.items = append(s.samples.items, plan.Sample{At: plan.At(epoch.Add(time.Duration(i-maxItems) * time.Millisecond))})
		}
	}
	for _, r := range p.rates {
		for i := range maxItems {
			r.tx.items = append(r.tx.items, plan.TxRate{At: plan.At(epoch.Add(time.Duration(i-maxItems) * time.Millisecond))})
		}
	}
}

func names(n int) (out []*api.NamedPod) {
	for i := range n {
		out = append(out, &api.NamedPod{Number: uint32(i + 1), Namespace: "factory", Name: fmt.Sprintf("p%d", i), Uid: "u"})
	}
	return out
}

// A report of a hostile agent, as large as gRPC takes, costs in proportion to its size,
// or ends the stream: also where nothing in it is in order.
func TestAReportCostsItsSize(t *testing.T) {
	const n, many = 100, 200_000 // of these some 4 MB, as large as gRPC takes
	window := func(age uint32, pods ...uint32) *api.Usage {
		return &api.Usage{AgeUs: age, Pods: pods, TxKbps: make([]uint32, len(pods))}
	}
	all := make([]uint32, n)
	for i := range all {
		all[i] = uint32(i + 1)
	}
	for name, tt := range map[string]struct {
		add  func(r *api.Report, i uint32)
		want bool // it is taken
		n    int  // times to add
	}{
		"windows of long ago, in order": {func(r *api.Report, i uint32) { r.Usage = append(r.Usage, window(1_900_000-i*1000, all...)) }, true, wire.MaxWindows},
		"more windows than are kept":    {func(r *api.Report, i uint32) { r.Usage = append(r.Usage, window(0, 1)) }, false, many},
		"windows out of order":          {func(r *api.Report, i uint32) { r.Usage = append(r.Usage, window(i*1000, all...)) }, false, wire.MaxWindows},
		"a pod again and again":         {func(r *api.Report, i uint32) { r.Usage = append(r.Usage, window(0, 1, 1, 1, 1)) }, false, wire.MaxWindows},
		"a window of endless pods":      {func(r *api.Report, i uint32) { r.Usage = append(r.Usage, window(0, make([]uint32, 2<<20)...)) }, false, 1},
		"rates in full, out of order": {func(r *api.Report, i uint32) {
			r.Pods = append(r.Pods, &api.PodRate{Namespace: "factory", Name: "p0", AgeNs: int64(i) * 1000})
		}, false, many},
		"a session again and again": {func(r *api.Report, i uint32) {
			r.Sessions = append(r.Sessions, &api.SessionReport{Id: "s0", AgeNs: []int64{int64(i)}, RttNs: []int64{1}})
		}, false, many},
		"a packed session again and again": {func(r *api.Report, i uint32) {
			r.Packed = append(r.Packed, &api.PackedSession{Number: 1, Gap: []uint32{i % 1000}, RttUs: []uint32{1}})
		}, false, many},
		"in full and packed": {func(r *api.Report, i uint32) {
			r.Sessions = append(r.Sessions, &api.SessionReport{Id: "s0"})
			r.Packed = append(r.Packed, &api.PackedSession{Number: 1})
		}, false, 1},
		"samples out of order": {func(r *api.Report, i uint32) {
			s := &api.SessionReport{Id: fmt.Sprintf("s%d", i)}
			for k := range 1000 {
				s.AgeNs, s.RttNs = append(s.AgeNs, int64(k*7919%1999)*1e6), append(s.RttNs, 1)
			}
			r.Sessions = append(r.Sessions, s)
		}, true, n},
	} {
		t.Run(name, func(t *testing.T) {
			p, from, looks := counting(n)
			full(p)
			r, items := &api.Report{Named: names(n)}, 0
			for i := range tt.n {
				tt.add(r, uint32(i))
			}
			for _, u := range r.GetUsage() {
				items += len(u.GetTxKbps())
			}
			for _, s := range r.GetSessions() {
				items += len(s.GetAgeNs())
			}
			items += len(r.GetPods()) + len(r.GetPacked())
			*looks = 0
			if err := p.receive(&speech{from: from}, r, epoch); (err == nil) != tt.want {
				t.Errorf("taken: %v, want %v", err, tt.want)
			}
			// Each of what is kept is looked at a few times, of what comes log n times where
			// it has to be put in order.
			if most := 2*n*6*maxItems + 40*items; *looks > most {
				t.Errorf("%d looks for %d items, want at most %d", *looks, items, most)
			}
			inOrder(t, p)
		})
	}
}

// What a session or pod has twice at one time stays in the order in which it came.
func TestMergedIsStable(t *testing.T) {
	byTens := func(a, b int) int { return a/10 - b/10 }
	if got := merged([]int{10, 20, 30}, []int{11, 21, 22, 40}, byTens); !slices.Equal(got, []int{10, 11, 20, 21, 22, 30, 40}) {
		t.Errorf("%v", got)
	}
}

func inOrder(t *testing.T, p *Pool) {
	t.Helper()
	for id, s := range p.sessions {
		if items := s.samples.items; len(items) > maxItems || !slices.IsSortedFunc(items, func(a, b plan.Sample) int { return a.At.Compare(b.At) }) {
			t.Errorf("session %s: %d samples, or out of order", id, len(items))
		}
	}
	for pod, r := range p.rates {
		if items := r.tx.items; len(items) > maxItems || !slices.IsSortedFunc(items, func(a, b plan.TxRate) int { return a.At.Compare(b.At) }) {
			t.Errorf("pod %v: %d rates, or out of order", pod, len(items))
		}
	}
}

// Whatever reports come, what is kept is bounded, in order and of the past.
func FuzzReceive(f *testing.F) {
	usage := &api.Report{Named: names(2), TakesLimits: true, Usage: []*api.Usage{{AgeUs: 2e5, Pods: []uint32{1, 2}, TxKbps: []uint32{5, 6}}, {AgeUs: 1e5, TxKbps: []uint32{7, 8}}}}
	for _, r := range []*api.Report{
		usage,
		{Sessions: []*api.SessionReport{{Id: "s0", AgeNs: []int64{5, -1, 7}, RttNs: []int64{1, -1, 3}}}},
		{Sessions: []*api.SessionReport{{Id: "s1", AgeNs: []int64{math.MaxInt64}, RttNs: []int64{math.MaxInt64}, ForwardNs: []int64{math.MinInt64}, BackwardNs: []int64{1}}}},
		// So long ago that it would be in the future.
		{Sessions: []*api.SessionReport{{Id: "s2", AgeNs: []int64{6.5e18}, RttNs: []int64{1}}}, Pods: []*api.PodRate{{Namespace: "factory", Name: "p1", AgeNs: 6.5e18}}},
		{Packed: []*api.PackedSession{{Number: 2, Gap: []uint32{9, 1}, RttUs: []uint32{1, 0}}}},
		{Pods: []*api.PodRate{{Namespace: "factory", Name: "p0", AgeNs: 1e9}, {Namespace: "factory", Name: "p0"}}},
	} {
		raw, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, raw)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		p, from, looks := counting(3)
		said := &speech{from: from}
		for i, raw := range [][]byte{first, second} {
			var r api.Report
			if proto.Unmarshal(raw, &r) != nil {
				return
			}
			now := epoch.Add(time.Duration(i) * 100 * time.Millisecond)
			_ = p.receive(said, &r, now) // refused is fine
			inOrder(t, p)
			for _, s := range p.sessions {
				for _, sample := range s.samples.items {
					if sample.At.After(now) || sample.RTT < 0 || sample.RTT > 2*longestTrip || sample.Forward.Abs() > farthest+2*longestTrip {
						t.Errorf("%+v at %v", sample, now)
					}
				}
			}
		}
		for pod, r := range p.rates {
			for _, rate := range r.tx.items {
				if rate.At.After(epoch.Add(100 * time.Millisecond)) {
					t.Errorf("pod %v: %+v", pod, rate)
				}
			}
		}
		if most := 1000 + 60*(len(first)+len(second)); *looks > most {
			t.Errorf("%d looks for %d octets", *looks, len(first)+len(second))
		}
	})
}
