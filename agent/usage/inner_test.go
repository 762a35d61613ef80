package usage

import (
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/nstest"
	"github.com/detnet/detnet/agent/pods"
	"github.com/detnet/detnet/bitrate"
)

// own is the pod's end of an interface of the host, as the host names it, and a socket of the host's.
func own(t testing.TB, host *nstest.Net, name string) (inner, statsSocket) {
	t.Helper()
	link, err := host.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	var s statsSocket
	host.Do(t, func() { s, err = openStats() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return inner{int32(link.Attrs().NetNsID), int32(link.Attrs().ParentIndex)}, s
}

// The kernel here may have no netkit; the other end of a veth is read the same way.
func TestAPodsOwnEndIsReadFromTheHost(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	layouts["routed"](t, host, pod)
	of, s := own(t, host, "vethpod")
	before, err := s.inner(of)
	if err != nil {
		t.Fatal(err)
	}
	send(t, pod, host, 100, 1000)
	after, err := s.inner(of)
	if err != nil {
		t.Fatal(err)
	}
	const sent = 100 * 1042 // octets, with Ethernet, IP and UDP
	if got := after.tx - before.tx; got < sent || got > sent+uint64(greetings)/8 {
		t.Errorf("the pod's end has sent %d octets, want just above %d", got, sent)
	}
	if _, err := s.inner(inner{of.namespace, 999}); err == nil {
		t.Error("counters of an interface that is not there")
	}
}

func TestWithoutNetAdminAPodsOwnEndIsDenied(t *testing.T) {
	host, pod := nstest.New(t), nstest.New(t)
	layouts["routed"](t, host, pod)
	of, s := own(t, host, "vethpod")
	var err error
	host.Do(t, func() { // on a thread that is thrown away
		var none [2]unix.CapUserData
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err = unix.Capset(&header, &none[0]); err == nil {
			_, err = s.inner(of)
		}
	})
	if !errors.Is(err, errDenied) {
		t.Errorf("%v, want %v", err, errDenied)
	}
}

// overNetkit is counters of a pod whose own end alone counts.
type overNetkit struct {
	pod counters
	err error
}

func (o *overNetkit) read(into map[int]counters) error {
	clear(into)
	into[1] = counters{} // the host's end
	return nil
}

func (o *overNetkit) inner(inner) (counters, error) { return o.pod, o.err }
func (o *overNetkit) close()                        {}

// What is sent while that can't be read is neither nothing, nor all sent at once as it can again.
func TestOverNetkitThePodsOwnEndCounts(t *testing.T) {
	const octets = 1_250_000 // in half a window: 200 Mbit/s
	for name, tt := range map[string]struct {
		errs []error // by half a window
		want int     // windows
	}{
		"counts":                      {make([]error, 20), 10},
		"cannot be read for a moment": {append(make([]error, 6), slices.Concat(slices.Repeat([]error{unix.ENODEV}, 4), make([]error, 10))...), 8},
		"may not be read":             {slices.Repeat([]error{errDenied}, 20), 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &overNetkit{pod: counters{tx: 1 << 40}}
				m := &Meter{
					pods: one{pods.Pod{UID: "u"}}, stats: c, log: slog.New(slog.DiscardHandler), now: map[int]counters{}, before: map[int]counters{},
					known: map[string]*known{"u": {index: 1, inner: &inner{7, 2}}},
				}
				var got []bitrate.Rate
				cursor := uint64(0)
				for _, c.err = range tt.errs {
					time.Sleep(Window / 2)
					c.pod.tx += octets
					if err := m.measure(t.Context()); err != nil {
						t.Fatal(err)
					}
					var rates []Rate
					rates, cursor = m.Since(cursor)
					for _, r := range rates {
						got = append(got, r.Tx)
					}
				}
				if want := slices.Repeat([]bitrate.Rate{200 * bitrate.Mbit}, tt.want); !slices.Equal(got, want) {
					t.Errorf("%v, want %v", got, want)
				}
			})
		})
	}
}

func FuzzParseLink(f *testing.F) {
	f.Add(make([]byte, 60))
	f.Fuzz(func(t *testing.T, msg []byte) {
		if _, err := parseLink(msg); err == nil && len(msg) < unix.SizeofIfInfomsg+statsMinSize {
			t.Errorf("counters from %d octets", len(msg))
		}
	})
}

// Where the pod's own end is not known yet nobody counts, and the host's end is not taken for it.
func TestWhoCounts(t *testing.T) {
	for name, tt := range map[string]struct {
		host  netlink.Link
		want  *inner
		known bool
	}{
		"the host's end":    {&netlink.Veth{LinkAttrs: netlink.LinkAttrs{NetNsID: 3, ParentIndex: 2}}, nil, true},
		"the pod's":         {&netlink.Netkit{LinkAttrs: netlink.LinkAttrs{NetNsID: 3, ParentIndex: 2}}, &inner{3, 2}, true},
		"that is not there": {&netlink.Netkit{LinkAttrs: netlink.LinkAttrs{NetNsID: -1, ParentIndex: 2}}, nil, false},
	} {
		if got, known := innerOf(tt.host); known != tt.known || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, %v", name, got, known)
		}
	}
}

func BenchmarkInner(b *testing.B) {
	host, pod := nstest.New(b), nstest.New(b)
	nstest.Veth(b, host, "vethpod", "10.77.0.1/32", pod, "eth0", "10.77.0.2/24")
	of, s := own(b, host, "vethpod")
	for b.Loop() {
		if _, err := s.inner(of); err != nil {
			b.Fatal(err)
		}
	}
}
