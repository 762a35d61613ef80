//go:build linux

package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/agent/probe"
)

func newReflectCommand() *cobra.Command {
	var listen, keyFile, protocol string
	var allow []string
	opts := probe.ReflectorOptions{}
	c := &cobra.Command{
		Use:   "reflect",
		Short: "Answer the probes of others until stopped",
		Long: `Reflect is a STAMP session-reflector (RFC 8762), or a plain UDP echo. It never
answers with more octets than the standard's symmetry asks for, and bounds what
one source gets.`,
		Example: "  detnet reflect --listen :8620 --allow 10.0.0.0/8",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, text := range allow {
				prefix, err := netip.ParsePrefix(text)
				if err != nil {
					return fmt.Errorf("--allow=%s: %w", text, err)
				}
				opts.Allow = append(opts.Allow, prefix)
			}
			if keyFile != "" {
				var err error
				if opts.Keys, err = probe.OpenKeyring(keyFile); err != nil {
					return err
				}
			}
			addr, err := net.ResolveUDPAddr("udp", listen)
			if err != nil {
				return fmt.Errorf("--listen=%s: %w", listen, err)
			}
			conn, err := net.ListenUDP("udp", addr)
			if err != nil {
				return fmt.Errorf("open the reflector (a port below 1024 needs root or NET_BIND_SERVICE): %w", err)
			}
			defer conn.Close()
			fmt.Fprintf(os.Stderr, "reflecting %s on %v\n", protocol, conn.LocalAddr())
			switch protocol {
			case "stamp":
				r, err := probe.NewReflector(conn, opts, nil)
				if err != nil {
					return err
				}
				return r.Serve(c.Context())
			case "udp":
				return probe.ServeEcho(c.Context(), conn)
			}
			return fmt.Errorf("--protocol=%s must be stamp or udp", protocol)
		},
	}
	f := c.Flags()
	f.StringVarP(&protocol, "protocol", "p", "stamp", "stamp, or udp for a plain echo")
	f.StringVarP(&listen, "listen", "l", ":862", "address to listen on")
	f.StringArrayVar(&allow, "allow", nil, "prefix of sources to answer, such as 10.0.0.0/8; may be repeated; none means all (stamp)")
	f.StringVar(&keyFile, "auth-key-file", "", "file with one or two secrets, each on a line, for the authenticated mode")
	f.BoolVar(&opts.AuthOnly, "auth-only", false, "answer authenticated packets only")
	f.BoolVar(&opts.Stateless, "stateless", false, "number answers like the sender did, and keep no state")
	f.Float64Var(&opts.Rate, "source-rate", probe.DefaultRate, "packets a second that one source address may send")
	return c
}
