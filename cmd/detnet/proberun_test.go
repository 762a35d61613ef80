//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/workload"
)

// reflector serves STAMP on the loopback for the length of the test.
func reflector(t *testing.T) (port uint16) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := probe.NewReflector(conn, probe.ReflectorOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() { _ = r.Serve(ctx) })
	t.Cleanup(func() { cancel(); serving.Wait() })
	return uint16(conn.LocalAddr().(*net.UDPAddr).Port)
}

func toLoopback(port uint16, id string, count uint64) probe.Session {
	return probe.Session{ID: id, Protocol: workload.STAMP, Host: "127.0.0.1", Port: port, Interval: 5 * time.Millisecond, Timeout: probe.MaxTimeout, Count: count}
}

// The CSV has a line a packet in the order of sending, lost ones where they were
// sent, and the report is on stderr.
func TestProbeCSV(t *testing.T) {
	var out, messages bytes.Buffer
	m := measuring{sessions: []probe.Session{toLoopback(reflector(t), "x", 30)}, output: "csv", out: &out, messages: &messages}
	if err := m.until(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 31 || strings.Join(lines[0], " ") != "number sent lost rtt_ms raw_rtt_ms forward_ms backward_ms own_queue_ms" {
		t.Fatalf("%d lines, %v: %v", len(lines), err, lines[:1])
	}
	lost := 0 // where the machine stood still for longer than the timeout
	for i, line := range lines[1:] {
		rtt, _ := strconv.ParseFloat(line[3], 64)
		raw, _ := strconv.ParseFloat(line[4], 64)
		if line[2] == "true" {
			lost++
		} else if rtt <= 0 || raw < rtt || line[5] == "" {
			t.Errorf("line %d: %v", i, line)
		}
		if line[0] != strconv.Itoa(i) {
			t.Errorf("line %d: %v", i, line)
		}
	}
	if want := fmt.Sprintf("30 sent, %d received, %d (", 30-lost, lost); lost == 30 || !strings.Contains(messages.String(), want) {
		t.Errorf("on stderr: %q", messages.String())
	}
}

// Rows wait for those before them, and what was said to be lost is corrected.
func TestRowsAreInOrder(t *testing.T) {
	var out bytes.Buffer
	session := toLoopback(1, "x", 0)
	r, err := newRows("csv", &out, []probe.Session{session})
	if err != nil {
		t.Fatal(err)
	}
	m := measuring{sessions: []probe.Session{session}, output: "csv", out: io.Discard}
	if err := m.prepare(); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	give := func(samples ...probe.Sample) {
		r.add(0, now, probe.Result{Session: session, Samples: samples}, m.measured[0].series)
	}
	give(probe.Sample{Number: 2, RTT: 3}, probe.Sample{Number: 0, Lost: true}, probe.Sample{Number: 3, Lost: true})
	give(probe.Sample{Number: 1, RTT: 4}, probe.Sample{Number: 0, RTT: 5, Corrected: true})
	if err := r.finish([]probe.Session{session}); err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(lines) != 5 {
		t.Fatalf("%v, %v", lines, err)
	}
	for i, lost := range []string{"false", "false", "false", "true"} {
		if lines[i+1][0] != strconv.Itoa(i) || lines[i+1][2] != lost {
			t.Errorf("line %d: %v", i, lines[i+1])
		}
	}
}

// Several hosts are a list in JSON and a table in text; one that does not answer
// makes the exit code 1, and the others are measured.
func TestProbeSeveral(t *testing.T) {
	port := reflector(t)
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	sessions := []probe.Session{toLoopback(port, "answers", 10), toLoopback(uint16(silent.LocalAddr().(*net.UDPAddr).Port), "silent", 10)}
	sessions[1].Timeout = time.Second
	for _, output := range []string{"json", "text"} {
		var out bytes.Buffer
		m := measuring{sessions: sessions, output: output, out: &out, messages: io.Discard}
		err := m.until(t.Context())
		if err == nil || exitCode(err) != program.Failed || !strings.Contains(err.Error(), "silent: no packet was answered") {
			t.Errorf("%s: %v", output, err)
		}
		if output == "text" {
			if text := out.String(); !strings.HasPrefix(text, "target") || !strings.Contains(text, "100.00") || !strings.Contains(text, "no packet was answered") {
				t.Errorf("%s", text)
			}
			continue
		}
		var got []struct {
			Received int
			Loss     *float64 `json:"loss_ratio"`
			RTT      any
			Missing  map[string]string
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || len(got) != 2 || got[0].Received == 0 || got[0].RTT == nil ||
			got[1].RTT != nil || *got[1].Loss != 1 || got[1].Missing["rtt"] == "" {
			t.Errorf("%v: %s", err, out.String())
		}
	}
}

// Reports of intervals are a JSON object a line, and add up to the last one.
func TestProbeIntervals(t *testing.T) {
	var out bytes.Buffer
	m := measuring{sessions: []probe.Session{toLoopback(reflector(t), "x", 60)}, output: "json", interval: 100 * time.Millisecond, out: &out, messages: io.Discard}
	if err := m.until(t.Context()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) < 2 {
		t.Fatalf("%d lines", len(lines))
	}
	sum := 0
	for i, line := range lines {
		var got struct {
			Sent int
			From *string
		}
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		last := i == len(lines)-1
		if (got.From == nil) != last {
			t.Errorf("line %d of %d begins at %v", i, len(lines), got.From)
		}
		if sum += got.Sent; last && (got.Sent != 60 || sum > 120) {
			t.Errorf("%d sent, and %d in the intervals", got.Sent, sum-got.Sent)
		}
	}
}

// The longest packet of the loopback is found.
func TestFindMTU(t *testing.T) {
	loopback, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := findMTU(t.Context(), []probe.Session{toLoopback(reflector(t), "x", 0)}, probe.Options{}, &out); err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(min(loopback.MTU, probe.MaxSize)); !strings.Contains(out.String(), "path MTU "+want+" octets") {
		t.Errorf("%q, want %s octets", out.String(), want)
	}
}

// An answer that takes as long as --timeout lets it shows that its packet passed.
func TestFindMTUWaits(t *testing.T) {
	far, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	go func() {
		b := make([]byte, probe.MaxSize)
		for n := 0; ; n++ {
			size, from, err := far.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if n == 0 {
				time.Sleep(600 * time.Millisecond)
			}
			_, _ = far.WriteToUDPAddrPort(b[:size], from)
		}
	}()
	s := toLoopback(uint16(far.LocalAddr().(*net.UDPAddr).Port), "x", 0)
	s.Protocol = workload.UDP
	var out bytes.Buffer
	if err := findMTU(t.Context(), []probe.Session{s}, probe.Options{}, &out); err != nil || !strings.Contains(out.String(), "path MTU") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// That no packet passes is an answer; that none can be sent, that the search was interrupted
// and that its answer can't be written are none.
func TestNoMTUIsNoFailure(t *testing.T) {
	port := reflector(t)
	silent := func(bind string) probe.Session {
		s := toLoopback(1, "x", 0)
		s.Timeout = time.Second
		s.Local = netip.AddrPortFrom(netip.MustParseAddr(bind), 0)
		return s
	}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	for name, tt := range map[string]struct {
		ctx     context.Context //nolint:containedctx // it is what is varied
		session probe.Session
		out     io.Writer
		want    int
	}{
		"nobody answers":          {t.Context(), silent("127.0.0.1"), io.Discard, program.Failed},
		"another host's address":  {t.Context(), silent("192.0.2.1"), io.Discard, program.Misuse},
		"interrupted":             {interrupted, toLoopback(port, "x", 0), io.Discard, program.Misuse},
		"the answer has no place": {t.Context(), toLoopback(port, "x", 0), fullDisk{}, program.Misuse},
	} {
		if err := findMTU(tt.ctx, []probe.Session{tt.session}, probe.Options{}, tt.out); exitCode(err) != tt.want {
			t.Errorf("%s: %v ends with %d, want %d", name, err, exitCode(err), tt.want)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// A second Ctrl-C is not needed where nothing is in flight, and a name that does
// not exist ends a run without an end.
func TestUnknownNameEndsAtOnce(t *testing.T) {
	s := toLoopback(1, "x", 0)
	s.Host = "robot.invalid"
	m := measuring{sessions: []probe.Session{s}, opts: probe.Options{Resolver: notFound{}}, output: "json", out: io.Discard, messages: io.Discard}
	if err := m.until(t.Context()); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("%v", err)
	}
}

type notFound struct{}

func (notFound) LookupHost(_ context.Context, host string) ([]string, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}
