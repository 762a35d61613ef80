//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/detnet/detnet/agent/probe"
)

// reflecting is what the flags of detnet reflect say.
type reflecting struct {
	listen, metrics, keyFile, protocol string
	allow, replyDSCP                   []string
	opts                               probe.ReflectorOptions
}

func newReflectCommand() *cobra.Command {
	var r reflecting
	c := &cobra.Command{
		Annotations: map[string]string{exitOne: "it failed while it served"},
		Use:         "reflect",
		Short:       "Answer the probes of others until stopped",
		Long: `Reflect is a STAMP session-reflector (RFC 8762), or a plain UDP echo. It never
answers with more octets than the standard's symmetry asks for, bounds what one
source gets, and answers nobody who would answer in turn. What it dropped, and
why, it says once a minute and at the end.

The exit code is 1 if it failed while it served, and 2 if what was asked for cannot be done.`,
		Example: "  detnet reflect --listen :8620 --allow 10.0.0.0/8 --metrics 127.0.0.1:9000",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unusable{fmt.Errorf("reflect takes no argument, not %q: use --listen", args[0])}
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := r.check(); err != nil {
				return unusable{err}
			}
			return asFinding(r.serve(c.Context(), c.ErrOrStderr()))
		},
	}
	f := c.Flags()
	f.StringVarP(&r.protocol, "protocol", "p", "stamp", "stamp, or udp for a plain echo")
	f.StringVarP(&r.listen, "listen", "l", ":862", "address to listen on")
	f.StringVar(&r.metrics, "metrics", "", "address to serve Prometheus metrics on, such as 127.0.0.1:9000; empty means none")
	f.StringArrayVar(&r.allow, "allow", nil, "prefix of sources to answer, such as 10.0.0.0/8, or an address; may be repeated; none means all")
	f.Float64Var(&r.opts.Rate, "source-rate", probe.DefaultRate, "packets a second that one source address, or /64 of IPv6, may send")
	f.Uint16Var(&r.opts.MinSourcePort, "min-source-port", probe.DefaultMinSourcePort, "lowest source port that is answered; 1 also answers packets from this reflector's own port number")
	f.StringVar(&r.keyFile, "auth-key-file", "", "file with one or two secrets, each on a line, for the authenticated mode (stamp)")
	f.BoolVar(&r.opts.AuthOnly, "auth-only", false, "answer authenticated packets only (stamp)")
	f.BoolVar(&r.opts.Stateless, "stateless", false, "number answers like the sender did, and keep no state (stamp)")
	f.StringArrayVar(&r.replyDSCP, "allow-reply-dscp", nil, "codepoint, or all, that senders may order for their answers, besides 0 and that of their packets; may be repeated (stamp)")
	return c
}

// check refuses what cannot be carried out, and completes the options.
func (r *reflecting) check() error {
	switch r.protocol {
	case "stamp":
	case "udp":
		if r.keyFile != "" || r.opts.AuthOnly || r.opts.Stateless || len(r.replyDSCP) > 0 {
			return errors.New("--auth-key-file, --auth-only, --stateless and --allow-reply-dscp need --protocol=stamp: an echo does nothing of it")
		}
		r.opts.Echo = true
	default:
		return fmt.Errorf("--protocol=%s must be stamp or udp", r.protocol)
	}
	if !(r.opts.Rate > 0) {
		return fmt.Errorf("--source-rate=%v must be more than 0", r.opts.Rate)
	}
	if r.opts.MinSourcePort == 0 {
		r.opts.MinSourcePort = 1
	}
	for _, text := range r.allow {
		prefix, err := probe.ParseSources(text)
		if err != nil {
			return fmt.Errorf("--allow: %w", err)
		}
		r.opts.Allow = append(r.opts.Allow, prefix)
	}
	for _, text := range r.replyDSCP {
		may, err := probe.ParseReplyDSCP(text)
		if err != nil {
			return fmt.Errorf("--allow-reply-dscp=%s: %w", text, err)
		}
		r.opts.ReplyDSCP |= may
	}
	if r.keyFile == "" {
		if r.opts.AuthOnly {
			return errors.New("--auth-only needs --auth-key-file")
		}
		return nil
	}
	var err error
	r.opts.Keys, err = probe.OpenKeyring(r.keyFile)
	return err
}

// serve reflects until ctx ends.
func (r *reflecting) serve(ctx context.Context, messages io.Writer) error {
	conn, err := probe.ListenReflector("--listen", r.listen)
	if err != nil {
		return unusable{err}
	}
	defer conn.Close()
	registry := prometheus.NewRegistry()
	reflector, err := probe.NewReflector(conn, r.opts, registry)
	if err != nil {
		return unusable{err}
	}
	group, ctx := errgroup.WithContext(ctx)
	if r.metrics != "" {
		if err := serveMetrics(ctx, group, r.metrics, registry); err != nil {
			return unusable{err}
		}
	}
	fmt.Fprintf(messages, "reflecting %s on %v\n", r.protocol, conn.LocalAddr())
	group.Go(func() error { return reflector.Serve(ctx) })
	group.Go(func() error { tell(ctx, reflector, messages, time.Minute); return nil })
	return group.Wait()
}

func serveMetrics(ctx context.Context, group *errgroup.Group, addr string, registry *prometheus.Registry) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve metrics on --metrics=%s: %w", addr, err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 1 << 14}
	context.AfterFunc(ctx, func() { server.Close() })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve metrics: %w", err)
		}
		return nil
	})
	return nil
}

// tell says what a reflector did: each time that something new was dropped, but
// once a period at most, and at the end.
func tell(ctx context.Context, r *probe.Reflector, to io.Writer, period time.Duration) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	told := uint64(0)
	for {
		select {
		case <-ctx.Done():
			describe(to, r.Stats())
			return
		case <-ticker.C:
		}
		if s := r.Stats(); s.Total() > told {
			told = s.Total()
			describe(to, s)
		}
	}
}

func describe(to io.Writer, s probe.ReflectorStats) {
	fmt.Fprintf(to, "%d packets answered, %d dropped\n", s.Answered, s.Total())
	for _, d := range s.Dropped {
		if d.Packets > 0 {
			fmt.Fprintf(to, "  %d for %s: %s\n", d.Packets, d.Reason, d.Advice)
		}
	}
}
