//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/workload"
)

var errUnknownName = errors.New("no such host")

type emptyResolver struct{}

func (emptyResolver) LookupHost(context.Context, string) ([]string, error) {
	return nil, errUnknownName
}

// A script that asks for a number of packets gets an end and a reason.
func TestProbeRefusesCodepoints(t *testing.T) {
	for _, bad := range []string{"64", "-1", "AF14", ""} {
		c := newProbeCommand()
		if err := c.ParseFlags([]string{"--dscp=" + bad}); err == nil || !strings.Contains(err.Error(), "from 0 to 63") {
			t.Errorf("--dscp=%s: %v, want an error with the range", bad, err)
		}
		if err := c.ParseFlags([]string{"--dscp=ef", "--dscp", "46"}); err != nil {
			t.Errorf("a codepoint by name and number: %v", err)
		}
	}
}

func TestProbeGivesUp(t *testing.T) {
	unused, err := freeport.Port()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		host     string
		protocol workload.Protocol
		cause    error
	}{
		"unknown name":     {"robot.invalid", workload.STAMP, errUnknownName},
		"refused over TCP": {"127.0.0.1", workload.TCP, syscall.ECONNREFUSED},
		"refused over UDP": {"127.0.0.1", workload.UDP, syscall.ECONNREFUSED},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			session := probe.Session{ID: name, Host: tt.host, Port: uint16(unused), Protocol: tt.protocol, Interval: 20 * time.Millisecond, Timeout: time.Second, Count: 1000}
			r := measuring{sessions: []probe.Session{session}, opts: probe.Options{Resolver: emptyResolver{}}, output: "json", out: io.Discard, messages: io.Discard}
			err := r.until(t.Context())
			if !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), "gave up") {
				t.Errorf("error %v, want to have given up because of: %v", err, tt.cause)
			}
		})
	}
}

// An app that has to accept connections gets few of them, unless asked for.
func TestProbeRates(t *testing.T) {
	for args, want := range map[string]time.Duration{
		"":               20 * time.Millisecond,
		"-p icmp":        20 * time.Millisecond,
		"-p tcp":         200 * time.Millisecond,
		"-p tcp -r 50":   20 * time.Millisecond,
		"-p udp -r 0.5":  2 * time.Second,
		"--rate=2000":    500 * time.Microsecond,
		"-p tcp -r 0.25": 4 * time.Second,
	} {
		var p probing
		c := &cobra.Command{}
		p.flags(c)
		p.pathFlags(c)
		p.stampFlags(c)
		if err := c.ParseFlags(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		sessions, err := p.sessions([]string{"127.0.0.1:9"}, c.Flags().Changed)
		if err != nil || sessions[0].Interval != want {
			t.Errorf("%q: %+v, %v, want a packet each %v", args, sessions, err, want)
		}
	}
}

// A flag that is not carried out is refused, with the exit code for that.
func TestProbeRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"h:1 --protocol=udp --direct":          "need --protocol=stamp",
		"h --protocol=icmp --reply-dscp=10":    "need --protocol=stamp",
		"h --protocol=stamp --reply-dscp=64":   "64",
		"h --protocol=stamp --reply-dscp=high": "high",
		"":                                     "needs a host",
		"h:1 -p udp --auth-key-file=/k":        "need",
		"h -p icmp --auth-key-file=/k":         "need",
		"h:1 -p udp --timestamp-format=ptp":    "need",
		"h:1 -p udp --ssid=4":                  "stamp",
		"h:1 -p tcp --size=400":                "not for tcp",
		"h:1 -p tcp --find-mtu":                "find-mtu",
		"h -4 -6":                              "exclude each other",
		"127.0.0.1 -6":                         "no IPv6 address",
		"fe80::1%nosuch":                       "no such interface",
		"h --rate=2001":                        "from 0.1 to 2000",
		"h --rate=0":                           "from 0.1 to 2000",
		"h --rate=NaN":                         "from 0.1 to 2000",
		"h --timeout=-1s":                      "more than 0",
		"h --timeout=1h":                       "at most 10s",
		"http://h/":                            "must be a host",
		"10.0.0.0/8":                           "must be a host",
		"224.0.0.1":                            "many hosts",
		"255.255.255.255":                      "many hosts",
		"127.0.0.1 --bind=192.0.2.1":           "cannot assign",
		"127.0.0.1 --interface=nosuch":         "no such device",
		"127.0.0.1 --size=10":                  "too short",
		"h --source-port=5-1":                  "range",
		"h --source-port=1-65535":              "more than",
		"h --bind=here":                        "address of this host",
		"h --interval=1ms":                     "at least",
		"h --interval=1s -o csv":               "line a packet",
		"h -o xml":                             "text, json or csv",
		"h --nosuch":                           "unknown flag",
	} {
		c := newRootCommand()
		c.SilenceErrors = true
		c.SetArgs(append([]string{"probe"}, strings.Fields(args)...))
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		} else if exitCode(err) != program.Misuse {
			t.Errorf("%s: exit code %d", args, exitCode(err))
		}
	}
}
