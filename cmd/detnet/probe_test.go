//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/detnet/detnet/agent/probe"
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
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(unused.Addr().(*net.TCPAddr).Port)
	unused.Close()
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
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			session := probe.Session{ID: name, Host: tt.host, Port: port, Protocol: tt.protocol, Interval: 20 * time.Millisecond, Timeout: time.Second, Count: 1000}
			err := probeUntil(ctx, session, probe.Options{Resolver: emptyResolver{}}, "json", io.Discard)
			if !errors.Is(err, tt.cause) || !strings.Contains(err.Error(), "gave up") {
				t.Errorf("error %v, want to have given up because of: %v", err, tt.cause)
			}
			if ctx.Err() != nil {
				t.Error("it did not end by itself")
			}
		})
	}
}

// Extensions are STAMP's, and a DSCP has six bits.
func TestProbeRefusesExtensions(t *testing.T) {
	for args, want := range map[string]string{
		"h:1 --protocol=udp --direct":          "need --protocol=stamp",
		"h --protocol=icmp --reply-dscp=10":    "need --protocol=stamp",
		"h --protocol=stamp --reply-dscp=64":   "64",
		"h --protocol=stamp --reply-dscp=high": "high",
	} {
		c := newProbeCommand()
		c.SilenceUsage, c.SilenceErrors = true, true
		c.SetArgs(strings.Fields(args))
		if err := c.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		}
	}
}
