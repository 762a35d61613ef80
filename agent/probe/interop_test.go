package probe_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/agent/probe/stamp"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
)

const interopSecret = "a secret of both ends"

func ring(t *testing.T) *probe.Keyring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, []byte(interopSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := probe.OpenKeyring(path)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// loopbacks are the addresses that the suite runs over.
func loopbacks(t *testing.T) []string {
	t.Helper()
	hosts := []string{"127.0.0.1"}
	if c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback}); err == nil {
		c.Close()
		hosts = append(hosts, "::1")
	}
	return hosts
}

func listen(t *testing.T, host string) *net.UDPConn {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// serve runs the product's reflector and returns a way to ask it.
func serve(t *testing.T, host string, opts probe.ReflectorOptions) (ask func(packet []byte) []byte) {
	t.Helper()
	conn := listen(t, host)
	r, err := probe.NewReflector(conn, opts, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = r.Serve(ctx) })
	t.Cleanup(func() { cancel(); serving.Wait() })
	client, err := net.DialUDP("udp", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return func(packet []byte) []byte {
		t.Helper()
		if _, err := client.Write(packet); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 1<<16)
		return b[:await.Read(t, "an answer", client, b)]
	}
}

// Every base field of an answer, in every mode.
func TestInteropReflector(t *testing.T) {
	for _, host := range loopbacks(t) {
		for _, mode := range []string{"", "authenticated", "PTP", "stateless", "authenticated PTP", "stateless authenticated"} {
			t.Run(host+" "+mode, func(t *testing.T) {
				opts := probe.ReflectorOptions{Stateless: strings.Contains(mode, "stateless")}
				ptp := strings.Contains(mode, "PTP")
				var secret []byte
				if strings.Contains(mode, "authenticated") {
					secret, opts.Keys, opts.AuthOnly = []byte(interopSecret), ring(t), true
				}
				ask := serve(t, host, opts)
				for i, seq := range []uint32{4_000_000_000, 4_000_000_001, 4_000_000_003} {
					sent := time.Now()
					packet := request(seq, 0xabcd, sent, ptp, secret)
					b := ask(packet)
					back := time.Now()
					got, err := readReflected(b, secret)
					if err != nil || len(b) != len(packet) {
						t.Fatalf("%d octets for %d, %v", len(b), len(packet), err)
					}
					want := uint32(i)
					if opts.Stateless {
						want = seq
					}
					if got.seq != want || got.senderSeq != seq || got.ssid != 0xabcd || !got.mustBeZero || secret != nil && !got.authentic {
						t.Errorf("%+v", got)
					}
					if got.senderAt != wireTime(sent, ptp) || got.estimate&0x4000 != 0 != ptp || got.estimate&0xff == 0 || got.ttl != 64 {
						t.Errorf("times and TTL: %+v", got)
					}
					received, at := timeOf(got.received, ptp), timeOf(got.at, ptp)
					if slack := time.Millisecond; received.Before(sent.Add(-slack)) || at.Before(received.Add(-slack)) || back.Add(slack).Before(at) {
						t.Errorf("sent %v, received %v, reflected %v, back %v", sent, received, at, back)
					}
				}
			})
		}
	}
}

// The extensions of RFC 8972 as an independent sender writes them.
func TestInteropReflectorExtensions(t *testing.T) {
	cos := func(b ...byte) []byte { return b }
	for name, secret := range map[string][]byte{"unauthenticated": nil, "authenticated": []byte(interopSecret)} {
		t.Run(name, func(t *testing.T) {
			opts := probe.ReflectorOptions{ReplyDSCP: stamp.Codepoint(46)}
			if secret != nil {
				opts.Keys = ring(t)
			}
			ask := serve(t, "127.0.0.1", opts)
			exts := []extension{
				{0x80, 4, cos(46<<2, 0, 0, 0)},
				{0x80, 5, cos(0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0)},
				{0x80, 200, cos(1, 2, 3)},
			}
			if secret != nil {
				exts = append(exts, extension{0x80, 8, nil})
			}
			exts = append(exts, extension{0x80, 1, make([]byte, 33)})
			packet := request(7, 3, time.Now(), false, secret, exts...)
			b := ask(packet)
			got, err := readReflected(b, secret)
			if err != nil || len(b) != len(packet) || len(got.extensions) != len(exts) {
				t.Fatalf("%d octets for %d, %+v, %v", len(b), len(packet), got, err)
			}
			if secret != nil && (!got.authentic || !got.extensionsAreAuthentic) {
				t.Error("the answer is not authentic")
			}
			for i, e := range got.extensions {
				flags := uint8(0)
				if e.typ == 200 {
					flags = 0x80
				}
				if e.typ != exts[i].typ || e.flags != flags {
					t.Errorf("extension %d: type %d, flags %#x; want %d, %#x", i, e.typ, e.flags, exts[i].typ, flags)
				}
			}
			if v := got.extensions[1].value; be.Uint32(v) != 9 || be.Uint32(v[4:]) != 1 || be.Uint32(v[8:]) != 1 {
				t.Errorf("direct measurement %x", v)
			}
			if v := got.extensions[0].value; v[0]>>2 != 46 || v[1]&3 != 0 {
				t.Errorf("class of service %x", v)
			}
			// A malformed one ends the processing, and what follows stays.
			bad := []extension{{0x80, 1, make([]byte, 4)}, {0x80, 5, make([]byte, 3)}, {0x80, 4, cos(0, 0, 0, 0)}}
			if secret == nil {
				got, err = readReflected(ask(request(8, 3, time.Now(), false, secret, bad...)), secret)
				if err != nil || got.extensions[0].flags != 0 || got.extensions[1].flags != 0x40 || got.extensions[2].flags != 0x80 {
					t.Errorf("malformed: %+v, %v", got.extensions, err)
				}
				return
			}
			// One that is not authentic marks all.
			forged := request(8, 3, time.Now(), false, secret, exts...)
			forged[112+4] ^= 1
			got, err = readReflected(ask(forged), secret)
			if err != nil || !got.authentic {
				t.Fatalf("the base packet is authentic still: %+v, %v", got, err)
			}
			for i, e := range got.extensions {
				if e.flags != 0x20 {
					t.Errorf("forged: flags of extension %d are %#x", i, e.flags)
				}
			}
		})
	}
}

// TWAMP Light senders write 14 octets and padding of their liking.
func TestInteropTWAMPLightSender(t *testing.T) {
	ask := serve(t, "127.0.0.1", probe.ReflectorOptions{})
	for _, length := range []int{14, 40, 41, 44, 64, 1400, 9000} {
		packet := request(uint32(length), 0, time.Now(), false, nil)[:14]
		packet = append(packet, bytes.Repeat([]byte{0xa5, 0x3c, 0x77}, length)...)[:max(14, length)]
		b := ask(packet)
		if len(b) != max(44, length) || be.Uint32(b[24:]) != uint32(length) {
			t.Errorf("%d octets: answered with %d, number %d", length, len(b), be.Uint32(b[24:]))
		}
	}
}

// peer is a reflector that is not ours.
type peer func(packet []byte, received time.Time) []byte

// measure runs the product's session-sender against a peer until it has samples.
func measure(t *testing.T, host string, opts probe.Options, answer peer, samples int) (last probe.Result, all []probe.Sample, sender *probe.Sender) {
	t.Helper()
	conn := listen(t, host)
	var peering sync.WaitGroup
	peering.Go(func() {
		b := make([]byte, 1<<16)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if out := answer(b[:n], time.Now()); out != nil {
				_, _ = conn.WriteToUDPAddrPort(out, from)
			}
		}
	})
	sender = probe.NewSender(opts)
	if err := sender.Assign([]probe.Session{{ID: "x", Protocol: workload.STAMP, Host: host,
		Port: uint16(conn.LocalAddr().(*net.UDPAddr).Port), Interval: 5 * time.Millisecond, Timeout: 5 * time.Second}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	peering.Go(func() { _ = sender.Run(ctx) })
	t.Cleanup(func() { cancel(); conn.Close(); peering.Wait() })
	await.Success(t, "samples", func() error {
		sender.Collect(func(r probe.Result) { last = r; all = append(all, r.Samples...) })
		if len(all) < samples {
			return fmt.Errorf("%d of %d; %+v, dropped %v", len(all), samples, last.Totals, sender.Drops().ByReason())
		}
		return nil
	})
	return last, all, sender
}

// The product's session-sender measures with every kind of reflector, and says of
// each what it does not say.
func TestInteropSender(t *testing.T) {
	secret := []byte(interopSecret)
	plain := func(ttl uint8, ptp bool) peer {
		n := uint32(0)
		return func(b []byte, at time.Time) []byte { n++; return answerTo(b, nil, n-1, at, ptp, ttl) }
	}
	signed := func(edit func([]byte)) peer {
		n := uint32(0)
		return func(b []byte, at time.Time) []byte {
			n++
			out := answerTo(b, secret, n-1, at, false, 61)
			if edit != nil {
				edit(out)
			}
			return out
		}
	}
	cut := func(p peer, length int) peer {
		return func(b []byte, at time.Time) []byte { return p(b, at)[:length] }
	}
	flags := func(first int, flag byte) func([]byte) {
		return func(b []byte) {
			for rest := b[first:]; len(rest) >= 4; rest = rest[4+be.Uint16(rest[2:]):] {
				rest[0] = flag
			}
		}
	}
	ext := probe.Extensions{ClassOfService: true, DirectMeasurement: true}
	for name, tt := range map[string]struct {
		peer    peer
		signed  bool
		ptp     bool // sent
		ext     probe.Extensions
		ttl     uint8
		corrupt bool
	}{
		"RFC 8762":               {peer: plain(61, false), ttl: 61},
		"answers in PTP":         {peer: plain(61, true), ttl: 61},
		"is asked in PTP":        {peer: plain(61, true), ptp: true, ttl: 61},
		"no TTL, 40 octets":      {peer: cut(plain(61, false), 40)},
		"no TTL, 38 octets":      {peer: cut(plain(61, false), 38)},
		"TWAMP Light, 41 octets": {peer: cut(plain(61, false), 41), ttl: 61},
		"knows no SSID": {peer: func(b []byte, at time.Time) []byte {
			out := plain(61, false)(b, at)
			out[14], out[15] = 0, 0
			return out
		}, ttl: 61},
		"knows no extensions":                 {peer: plain(61, false), ext: ext, ttl: 61},
		"authenticated":                       {peer: signed(nil), signed: true, ttl: 61},
		"authenticated, knows no extensions":  {peer: signed(nil), signed: true, ext: ext, ttl: 61},
		"authenticated, sets the I flag":      {peer: signed(flags(112, 0x20)), signed: true, ext: ext, ttl: 61, corrupt: true},
		"authenticated, cannot sign the TLVs": {peer: signed(flags(112, 0)), signed: true, ext: ext, ttl: 61, corrupt: true},
	} {
		for _, host := range loopbacks(t) {
			t.Run(name+" "+host, func(t *testing.T) {
				opts := probe.Options{Extensions: tt.ext, PTP: tt.ptp, HopLimits: true}
				if tt.signed {
					opts.Keys = ring(t)
				}
				r, samples, sender := measure(t, host, opts, tt.peer, 10)
				if r.Totals.Lost != r.Totals.Late || sender.Drops().Total() != 0 || r.TTLThere != tt.ttl || r.Impossible != 0 {
					t.Errorf("%+v, dropped %v, TTL %d, %d impossible", r.Totals, sender.Drops().ByReason(), r.TTLThere, r.Impossible)
				}
				if r.Heard.HasCoS || r.Heard.HasDirect || r.Heard.Corrupt != tt.corrupt {
					t.Errorf("heard %+v", r.Heard)
				}
				for _, s := range samples {
					if !s.HasOneWay || s.Forward+s.Backward != s.RTT || s.Forward < -time.Millisecond || s.Backward < -time.Millisecond {
						t.Fatalf("%+v", s)
					}
				}
			})
		}
	}
}

// What the sender writes, an independent reader understands.
func TestInteropSenderPackets(t *testing.T) {
	secret := []byte(interopSecret)
	for name, key := range map[string][]byte{"unauthenticated": nil, "authenticated": secret} {
		for _, ptp := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				l := layout(key)
				var mu sync.Mutex
				var packets [][]byte
				opts := probe.Options{PTP: ptp, Extensions: probe.Extensions{ClassOfService: true, ReplyDSCP: 10, DirectMeasurement: true}}
				if key != nil {
					opts.Keys = ring(t)
				}
				measure(t, "127.0.0.1", opts, func(b []byte, at time.Time) []byte {
					mu.Lock()
					defer mu.Unlock()
					packets = append(packets, bytes.Clone(b))
					return answerTo(b, key, 0, at, ptp, 64)
				}, 5)
				mu.Lock()
				defer mu.Unlock()
				for i, b := range packets {
					exts, err := extensionsOf(b[l.length:])
					if err != nil || len(exts) < 2 || exts[0].typ != 4 || exts[0].value[0]>>2 != 10 || exts[1].typ != 5 {
						t.Fatalf("extensions %+v, %v", exts, err)
					}
					if n := be.Uint32(exts[1].value); n != uint32(i)+1 {
						t.Errorf("packet %d says that %d were transmitted", i, n)
					}
					if be.Uint32(b) != be.Uint32(packets[0])+uint32(i) || be.Uint16(b[l.ssid:]) == 0 {
						t.Errorf("number %d, SSID %d", be.Uint32(b), be.Uint16(b[l.ssid:]))
					}
					e := be.Uint16(b[l.estimate:])
					if e&0x4000 != 0 != ptp || e&0xff == 0 || time.Since(timeOf(be.Uint64(b[l.at:]), ptp)).Abs() > time.Minute {
						t.Errorf("error estimate %#x, time %v", e, timeOf(be.Uint64(b[l.at:]), ptp))
					}
					if key != nil {
						before := len(b) - 20
						if !bytes.Equal(b[96:112], mac16(key, b[:96])) || exts[2].typ != 8 || !bytes.Equal(exts[2].value, mac16(key, b[:4], b[112:before])) {
							t.Errorf("packet %d is not authentic", i)
						}
					}
				}
			})
		}
	}
}
