//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/workload"
)

// Packets a second unless --rate says otherwise. A handshake is a connection that
// an app accepts, and often logs: whoever wants many of them says so.
const (
	usualRate  = 50.0
	gentleRate = 5.0
)

// probing is what the flags of detnet probe say.
type probing struct {
	session  probe.Session // of every target
	opts     probe.Options
	protocol string
	output   string
	keyFile  string
	rate     float64
	duration time.Duration
	interval time.Duration // of the reports; 0: one at the end
	findMTU  bool

	four, six   bool
	bind        string
	sourcePorts string
	format      string
	number      uint32
}

func newProbeCommand() *cobra.Command {
	var p probing
	c := &cobra.Command{
		Annotations: map[string]string{exitOne: "a host did not answer"},
		Use:         "probe HOST[:PORT] ...",
		Short:       "Measure a path: round trip, delay variation, loss and direction",
		Long: `Probe sends small packets to one or more hosts and shows how long their answers
take, by the kernel's timestamps. It ends after --count packets, after
--duration, or by Ctrl-C, and then waits for the packets in flight, for the
timeout at most; a second Ctrl-C ends it at once. It gives up on a name that does
not exist, and with --count on a host that refuses five times in a row.

The exit code is 0 if every host answered, 1 if one did not, and 2 if what was
asked for cannot be done.`,
		Example: `  detnet probe 10.1.2.3 --protocol stamp --dscp EF --reply-dscp EF --direct
  detnet probe robot.lab:5201 --protocol udp --rate 100 --count 1000 -o json
  detnet probe 10.1.2.3 --source-port 50000-50007 --duration 10s   # equal-cost paths apart
  detnet probe 10.1.2.3 --find-mtu
  detnet probe 10.1.2.3 10.1.2.4 --interval 10s -o json >> history.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return unusable{errors.New("probe needs a host: detnet probe HOST[:PORT], and as many more as you like")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			sessions, err := p.sessions(args, c.Flags().Changed)
			if err != nil {
				return unusable{err}
			}
			ctx := c.Context()
			if p.findMTU {
				return findMTU(ctx, sessions, p.opts, c.OutOrStdout())
			}
			if p.duration > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, p.duration)
				defer cancel()
			}
			m := measuring{sessions: sessions, opts: p.opts, output: p.output, interval: p.interval, out: c.OutOrStdout(), messages: c.ErrOrStderr()}
			return m.until(ctx)
		},
	}
	p.flags(c)
	p.pathFlags(c)
	p.stampFlags(c)
	return c
}

func (p *probing) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&p.protocol, "protocol", "p", "stamp", "stamp, udp (any echo), tcp (handshake) or icmp")
	f.Float64VarP(&p.rate, "rate", "r", 0, fmt.Sprintf("packets a second and host, on average (default %v; of tcp %v, since the app has to accept each)", usualRate, gentleRate))
	f.Uint64VarP(&p.session.Count, "count", "c", 0, "packets to send; 0 means until stopped")
	f.DurationVar(&p.duration, "duration", 0, "how long to measure; 0 means until stopped")
	f.DurationVar(&p.session.Timeout, "timeout", time.Second, "age at which an unanswered packet is lost")
	f.DurationVar(&p.interval, "interval", 0, "report each such time what was measured in it, as a line; 0 means once, at the end")
	f.BoolVar(&p.opts.UserTimestamps, "user-timestamps", false, "do not use the kernel's timestamps, to see what they are worth")
	f.StringVarP(&p.output, "output", "o", "text", "text, json, or csv with a line a packet")
}

// pathFlags are how packets leave.
func (p *probing) pathFlags(c *cobra.Command) {
	f := c.Flags()
	f.Func("dscp", "DSCP of the packets: `codepoint` from 0 to 63 or a name, such as EF or AF41", func(text string) error {
		d, err := workload.ParseDSCP(text)
		p.session.DSCP = uint8(d)
		return err
	})
	f.IntVar(&p.session.Size, "size", 0, "length of the IP packets in octets; 0 means as short as the protocol allows")
	f.BoolVar(&p.session.DontFragment, "dont-fragment", false, "have packets dropped that are too long for a link, not cut up")
	f.BoolVar(&p.findMTU, "find-mtu", false, "search for the longest packet that passes, and end")
	f.Uint8Var(&p.session.TTL, "ttl", 0, "hop limit of the packets; 0 means 255")
	f.BoolVarP(&p.four, "ipv4", "4", false, "use IPv4 addresses of names only")
	f.BoolVarP(&p.six, "ipv6", "6", false, "use IPv6 addresses of names only")
	f.StringVar(&p.bind, "bind", "", "`address` of this host to send from")
	f.StringVar(&p.session.Interface, "interface", "", "`name` of the interface to send by")
	f.StringVar(&p.sourcePorts, "source-port", "", "`port` to send from; several (50000-50007, or 50000,50100) measure each on its own, which tells equal-cost paths apart")
}

// stampFlags are about STAMP alone.
func (p *probing) stampFlags(c *cobra.Command) {
	f := c.Flags()
	f.Func("reply-dscp", "`codepoint` that the answers are to have; also shows with which packets arrive (stamp, RFC 8972 §4.4)", func(text string) error {
		d, err := workload.ParseDSCP(text)
		p.opts.Extensions.ClassOfService, p.opts.Extensions.ReplyDSCP = true, uint8(d)
		return err
	})
	f.BoolVar(&p.opts.Extensions.DirectMeasurement, "direct", false, "have the reflector count packets, to tell in which direction they are lost (stamp, RFC 8972 §4.5)")
	f.StringVar(&p.keyFile, "auth-key-file", "", "file with the secret of STAMP's authenticated mode: text, hex:… or base64:…; lines with # are comments")
	f.Uint16Var(&p.session.SSID, "ssid", 0, "session identifier (stamp, RFC 8972 §3); further sessions have the next ones; 0 means random ones")
	f.Uint32Var(&p.number, "first-number", 0, "sequence number of the first packet; random unless given")
	f.StringVar(&p.format, "timestamp-format", "ntp", "of the packets' timestamps: ntp or ptp (stamp)")
}

// sessions are what the flags and the targets ask for.
func (p *probing) sessions(targets []string, given func(flag string) bool) ([]probe.Session, error) {
	if !given("rate") {
		p.rate = usualRate
		if p.protocol == string(workload.TCP) {
			p.rate = gentleRate
		}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	if given("first-number") {
		p.opts.FirstNumber = &p.number
	}
	p.opts.PTP, p.opts.HopLimits = p.format == "ptp", true
	if p.keyFile != "" {
		var err error
		if p.opts.Keys, err = probe.OpenKeyring(p.keyFile); err != nil {
			return nil, err
		}
	}
	locals, err := localAddresses(p.bind, p.sourcePorts)
	if err != nil {
		return nil, err
	}
	var sessions []probe.Session
	for _, text := range targets {
		for _, local := range locals {
			s := p.session
			s.Local = local
			if err := target(&s, text); err != nil {
				return nil, err
			}
			if local.IsValid() || local.Port() != 0 {
				s.ID += " from " + local.String()
			}
			sessions = append(sessions, s)
		}
	}
	return sessions, nil
}

// check refuses what cannot be carried out, and completes the rest.
func (p *probing) check() error {
	s := &p.session
	s.Protocol = workload.Protocol(p.protocol)
	if !(p.rate >= 0.1 && p.rate <= 2000) {
		return fmt.Errorf("--rate=%v must be from 0.1 to 2000 packets a second", p.rate)
	}
	s.Interval = time.Duration(float64(time.Second) / p.rate)
	if s.Timeout <= 0 || s.Timeout > probe.MaxTimeout {
		return fmt.Errorf("--timeout=%v must be more than 0 and at most %v", s.Timeout, probe.MaxTimeout)
	}
	s.Timeout = max(s.Timeout, s.Interval)
	if s.Protocol != workload.STAMP {
		switch {
		case p.opts.Extensions != (probe.Extensions{}):
			return fmt.Errorf("--reply-dscp and --direct need --protocol=stamp, not %s", p.protocol)
		case p.keyFile != "":
			return fmt.Errorf("--auth-key-file needs --protocol=stamp: packets of %s cannot be authenticated", p.protocol)
		case p.format != "ntp":
			return fmt.Errorf("--timestamp-format needs --protocol=stamp: packets of %s have no timestamps", p.protocol)
		}
	}
	switch {
	case p.format != "ntp" && p.format != "ptp":
		return fmt.Errorf("--timestamp-format=%s must be ntp or ptp", p.format)
	case p.output != "text" && p.output != "json" && p.output != "csv":
		return fmt.Errorf("--output=%s must be text, json or csv", p.output)
	case p.interval < 0 || p.interval > 0 && p.interval < 100*time.Millisecond:
		return fmt.Errorf("--interval=%v must be 0 or at least 100ms", p.interval)
	case p.interval > 0 && p.output == "csv":
		return errors.New("--interval is for -o text and json: csv has a line a packet anyway")
	case p.duration < 0:
		return fmt.Errorf("--duration=%v must not be negative", p.duration)
	case p.four && p.six:
		return errors.New("-4 and -6 exclude each other")
	case p.findMTU && s.Protocol == workload.TCP:
		return errors.New("--find-mtu needs --protocol=stamp, udp or icmp: a handshake has no padding")
	case p.findMTU && s.Size != 0:
		return errors.New("--find-mtu and --size exclude each other")
	case p.four:
		s.Family = probe.IPv4
	case p.six:
		s.Family = probe.IPv6
	}
	return nil
}
