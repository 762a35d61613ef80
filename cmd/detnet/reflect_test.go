//go:build linux

package main

import (
	"io"
	"net"
	"strings"
	"testing"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/internal/program"
)

// What a plain echo cannot do is refused, not left out.
func TestReflectRefuses(t *testing.T) {
	busy, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	for args, want := range map[string]string{
		"-p udp --auth-only":              "need --protocol=stamp",
		"-p udp --auth-key-file=/k":       "need --protocol=stamp",
		"-p udp --stateless":              "need --protocol=stamp",
		"-p udp --allow-reply-dscp=EF":    "need --protocol=stamp",
		"-p tcp":                          "must be stamp or udp",
		"--auth-only":                     "needs --auth-key-file",
		"--allow=10":                      "prefix",
		"--source-rate=0":                 "more than 0",
		"--source-rate=NaN":               "more than 0",
		"--allow-reply-dscp=64":           "64",
		":862":                            "use --listen",
		"--nosuch":                        "unknown flag",
		"-l " + busy.LocalAddr().String(): "another program has port",
		"-l 192.0.2.1:8620":               "does not have the address",
	} {
		c := newRootCommand()
		c.SilenceErrors = true
		c.SetErr(io.Discard)
		c.SetArgs(append([]string{"reflect"}, strings.Fields(args)...))
		err := c.ExecuteContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", args, err, want)
		} else if exitCode(err) != program.Misuse {
			t.Errorf("%s: exit code %d", args, exitCode(err))
		}
	}
}

// Sources, rates and ports are for the echo as well.
func TestEchoTakesSourceFlags(t *testing.T) {
	r := reflecting{protocol: "udp", allow: []string{"10.0.0.0/8", "192.0.2.1"}}
	r.opts.Rate, r.opts.MinSourcePort = 5, 2000
	if err := r.check(); err != nil || len(r.opts.Allow) != 2 || r.opts.Allow[1].Bits() != 32 || !r.opts.Echo || r.opts.Rate != 5 || r.opts.MinSourcePort != 2000 {
		t.Errorf("%+v, %v", r.opts, err)
	}
}

// A reflector says how many packets it dropped, why, and what to do.
func TestReflectTells(t *testing.T) {
	var b strings.Builder
	describe(&b, probe.ReflectorStats{Answered: 7, Dropped: []probe.Dropped{
		{Reason: "rate", Packets: 0, Advice: "slower"}, {Reason: "unauthenticated", Packets: 3, Advice: "compare the key files"}}})
	if want := "7 packets answered, 3 dropped\n  3 for unauthenticated: compare the key files\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}
