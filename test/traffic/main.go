// Command traffic plays the parts of the demo and of the end-to-end tests: the
// critical services that answer probes, the best-effort senders that flood the
// uplink, and the sink that counts what arrives. One static binary, one role a
// pod.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := &cobra.Command{Use: "traffic", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(newEchoCommand(), newAcceptCommand(), newSinkCommand(), newSenderCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		return 1
	}
	return 0
}

func newEchoCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "echo",
		Short: "Answer every UDP datagram with itself (robot-control)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			slog.Info("echoing", "udp", addr)
			return echo(cmd.Context(), addr)
		},
	}
	cmd.Flags().StringVar(&addr, "udp", ":5201", "address to listen on")
	return cmd
}

func newAcceptCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use:   "accept",
		Short: "Accept TCP connections and close them when the peer does (safety-scanner)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			slog.Info("accepting", "tcp", addr)
			return serveTCP(cmd.Context(), addr, outlast)
		},
	}
	cmd.Flags().StringVar(&addr, "tcp", ":5202", "address to listen on")
	return cmd
}

func newSinkCommand() *cobra.Command {
	var data, control string
	cmd := &cobra.Command{
		Use:   "sink",
		Short: "Discard TCP and UDP and count the payload of each source (GET /received)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			slog.Info("discarding", "data", data, "control", control)
			return sink(cmd.Context(), data, control)
		},
	}
	cmd.Flags().StringVar(&data, "data", ":5001", "TCP and UDP address to discard on")
	cmd.Flags().StringVar(&control, "control", ":8080", "HTTP address of the counters")
	return cmd
}

func newSenderCommand() *cobra.Command {
	var control string
	cmd := &cobra.Command{
		Use:   "sender",
		Short: "Send when told to (POST /load with a JSON load, DELETE /load)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			slog.Info("waiting for a load", "control", control)
			return sender(cmd.Context(), control)
		},
	}
	cmd.Flags().StringVar(&control, "control", ":8080", "HTTP address to be told on")
	return cmd
}
