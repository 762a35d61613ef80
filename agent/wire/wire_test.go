package wire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/agent/api"
)

// What is packed comes back, rounded as said, in any order of magnitude.
func TestSamplesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		oneWay := rapid.Bool().Draw(t, "one way")
		offset := time.Duration(rapid.Int64Range(-1e18, 1e18).Draw(t, "difference of the clocks"))
		age := time.Duration(rapid.Int64Range(0, 3e9).Draw(t, "age"))
		var in []Sample
		for range rapid.IntRange(0, 40).Draw(t, "n") {
			s := Sample{Age: age, Lost: rapid.IntRange(0, 9).Draw(t, "lost") == 0}
			if !s.Lost {
				s.RTT = time.Duration(rapid.Int64Range(1, 2e9).Draw(t, "rtt"))
				if oneWay {
					s.HasOneWay = true
					there := time.Duration(rapid.Int64Range(0, int64(s.RTT)).Draw(t, "there"))
					s.Forward, s.Backward = there+offset, s.RTT-there-offset
				}
			}
			in = append(in, s)
			age -= time.Duration(rapid.Int64Range(0, int64(min(age, 50*time.Millisecond))).Draw(t, "gap"))
		}
		var r api.PackedSession
		if !Pack(&r, in) {
			t.Fatalf("%+v can't be packed", in)
		}
		n := 0
		if err := Samples(&r, func(i int, s Sample) {
			n++
			want := in[i]
			if s.Lost != want.Lost || s.HasOneWay != want.HasOneWay || (s.Age-want.Age).Abs() > Tick/2 {
				t.Fatalf("sample %d: %+v, want %+v", i, s, want)
			}
			for _, d := range []time.Duration{s.RTT - want.RTT, s.Forward - want.Forward, s.Backward - want.Backward} {
				if d.Abs() > 2*Exact {
					t.Fatalf("sample %d: %+v, want %+v", i, s, want)
				}
			}
		}); err != nil || n != len(in) {
			t.Fatalf("%d of %d samples, %v", n, len(in), err)
		}
	})
}

// What can't be said packed is refused, and nothing is written.
func TestWhatCannotBePacked(t *testing.T) {
	for name, in := range map[string][]Sample{
		"some one-way":                      {{RTT: 2, Forward: 1, Backward: 1, HasOneWay: true}, {RTT: 2}},
		"there and back is no round trip":   {{RTT: 1e6, Forward: 1, Backward: 1, HasOneWay: true}},
		"a clock was set":                   {{RTT: 2, Forward: 1, Backward: 1, HasOneWay: true}, {RTT: 2, Forward: 1e18, Backward: 2 - 1e18, HasOneWay: true}},
		"sent long ago":                     {{Age: time.Hour}},
		"sent in the future":                {{Age: -1}},
		"a round trip that cannot be":       {{RTT: -1}},
		"a round trip longer than any wait": {{RTT: time.Hour}},
	} {
		var r api.PackedSession
		if Pack(&r, in) || proto.Size(&r) != 0 {
			t.Errorf("%s: packed as %v", name, &r)
		}
	}
}

// A calm session of 50 packets a second, in reports of 300 ms, takes at most 200
// octets a second, with delays both ways.
func TestACalmSessionIsSmall(t *testing.T) {
	r := api.PackedSession{Number: 1000}
	var in []Sample
	for i := range 15 {
		noise := time.Duration(i*7919%100) * time.Microsecond
		in = append(in, Sample{Age: time.Duration(300-20*i) * time.Millisecond, RTT: 200*time.Microsecond + noise, HasOneWay: true, Forward: 1e15 + noise, Backward: 200*time.Microsecond - 1e15})
	}
	if !Pack(&r, in) {
		t.Fatal("can't be packed")
	}
	if perSecond := float64(proto.Size(&r)+3) / 0.3; perSecond > 250 { // 3: as part of a report
		t.Errorf("%.0f octets a second", perSecond)
	}
}

// Rates come back under their pods' names and limits, whoever comes and goes, also
// when numbers run out.
func TestRatesComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var names Names
		var named Named
		now := time.Unix(1_800_000_000, 0)
		names.last = uint32(rapid.IntRange(0, MaxPods-1).Draw(t, "numbers given before"))
		for range rapid.IntRange(1, 20).Draw(t, "reports") {
			now = now.Add(300 * time.Millisecond)
			var in []Rate
			for w := range rapid.IntRange(0, 3).Draw(t, "windows") {
				left := uint64(rapid.IntRange(0, 1e9).Draw(t, "left the node"))
				for i := range rapid.IntRange(0, 4).Draw(t, "pods") {
					id := fmt.Sprint("u", i+rapid.IntRange(0, 3).Draw(t, "who")*4)
					in = append(in, Rate{
						Pod: Pod{Namespace: "ns", Name: "p" + id, UID: id, Limit: uint64(rapid.IntRange(0, 2).Draw(t, "limit")) * 1e6, Term: 7, Sequence: 1},
						At:  now.Add(time.Duration(w-3) * 100 * time.Millisecond), Tx: uint64(rapid.IntRange(0, 1e9).Draw(t, "tx")), Out: left,
					})
				}
			}
			var r api.Report
			if !names.Pack(&r, in, now) {
				t.Fatal("can't be packed")
			}
			got := 0
			last := map[string]uint64{}
			for _, each := range in {
				last[each.UID] = each.Limit
			}
			if err := named.Rates(&r, now, func(out Rate) {
				want := in[got]
				got++
				if out.UID != want.UID || out.Name != want.Name || !out.At.Equal(want.At) || max(out.Tx, want.Tx)-min(out.Tx, want.Tx) > kilo/2 || max(out.Out, want.Out)-min(out.Out, want.Out) > kilo/2 {
					t.Fatalf("%+v, want %+v", out, want)
				}
				if out.Limit != last[out.UID] {
					t.Fatalf("limit %d, want the newest of the report, %d", out.Limit, last[out.UID])
				}
			}); err != nil || got != len(in) {
				t.Fatalf("%d of %d rates, %v", got, len(in), err)
			}
		}
	})
}

// An agent with more pods than can be numbered reports in full.
func TestTooManyPods(t *testing.T) {
	var names Names
	var in []Rate
	for i := range MaxPods {
		in = append(in, Rate{Pod: Pod{UID: fmt.Sprint(i)}})
	}
	var r api.Report
	if names.Pack(&r, in, time.Now()) || proto.Size(&r) != 0 {
		t.Error("packed")
	}
	if !names.Pack(&r, in[1:], time.Now()) {
		t.Error("one less is not packed")
	}
}

// What is kept of names is bounded: a longer one than any pod has ends the stream.
func TestNamesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, tt := range map[string]struct {
		pod *api.NamedPod
		ok  bool
	}{
		"as long as can be":  {&api.NamedPod{Number: MaxPods - 1, Namespace: long[:63], Name: long[:253], Uid: long[:64]}, true},
		"a longer namespace": {&api.NamedPod{Number: 1, Namespace: long[:64]}, false},
		"a longer name":      {&api.NamedPod{Number: 1, Name: long}, false},
		"a longer UID":       {&api.NamedPod{Number: 1, Uid: long}, false},
		"no number":          {&api.NamedPod{Name: long}, false},
		"a higher number":    {&api.NamedPod{Number: MaxPods, Name: long}, false},
	} {
		var named Named
		err := named.Rates(&api.Report{Named: []*api.NamedPod{tt.pod}}, time.Now(), func(Rate) {})
		if (err == nil) != tt.ok || err != nil && len(err.Error()) > 500 {
			t.Errorf("%s: %v", name, err)
		}
		if len(named.pods) > 0 != tt.ok {
			t.Errorf("%s: %d are kept", name, len(named.pods))
		}
	}
}

// Whatever an agent sends is read or refused.
func FuzzReport(f *testing.F) {
	packed := &api.Report{Packed: []*api.PackedSession{{Number: 1}}}
	Pack(packed.Packed[0], []Sample{{Age: 1e8, RTT: 1e6}, {Age: 1e7, Lost: true}})
	new(Names).Pack(packed, []Rate{{Pod: Pod{UID: "u"}, Tx: 5e6}}, time.Now())
	for _, r := range []*api.Report{packed, {Usage: []*api.Usage{{Pods: []uint32{9}, TxKbps: []uint32{1}}}}, {Packed: []*api.PackedSession{{Gap: []uint32{1}}}}} {
		wire, err := proto.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(wire)
	}
	f.Fuzz(func(t *testing.T, wire []byte) {
		var r api.Report
		if proto.Unmarshal(wire, &r) != nil {
			return
		}
		for _, s := range r.GetPacked() {
			_ = Samples(s, func(_ int, s Sample) { // refused is fine
				if s.Age < 0 || s.RTT < 0 || s.RTT > 3*time.Hour {
					t.Errorf("%+v", s)
				}
			})
		}
		var named Named
		now := time.Unix(1_800_000_000, 0)
		_ = named.Rates(&r, now, func(r Rate) { // likewise
			if r.At.After(now) {
				t.Errorf("%+v", r)
			}
		})
	})
}

// What the pods send together may be as it was when one of them sends much more: that
// is told too.
func TestOnePodInPlaceOfAnotherIsNews(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	sent := func(a, b uint64) []Rate {
		return []Rate{{Pod: Pod{UID: "a"}, At: now, Tx: a}, {Pod: Pod{UID: "b"}, At: now, Tx: b}}
	}
	var n Names
	n.Pack(&api.Report{}, sent(40e6, 10e6), now)
	for _, tt := range []struct {
		a, b uint64
		want bool
	}{{40e6, 10e6, false}, {37e6, 13e6, false}, {10e6, 40e6, true}, {45e6, 5e6, true}, {43e6, 13e6, true}} {
		if got := n.News(sent(tt.a, tt.b), 5e6); got != tt.want {
			t.Errorf("%d and %d bit/s after 40 and 10 Mbit/s are news: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}
