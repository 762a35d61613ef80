// Command sandbox brings real Kubernetes clusters up and down on this host.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/sandbox/assets"
)

const usage = `usage: sandbox [--name NAME] COMMAND

  up [--nodes N] [--image ARCHIVE]... [--ipv6-first] [--start-within 2m] [--foreground]   bring a cluster up
  down                                                 take it away
  status                                               list clusters and how to reach them
  exec NODE COMMAND...                                 run a command inside a node
  kubectl ARGS...  |  helm ARGS...                     talk to the cluster
  load ARCHIVE...                                      load images into every node
  shape NODE [RATE|off [QUEUE_BYTES]]                  set the capacity of a node's uplink, or show it
  restart NODE                                         cut a node's power and turn it on again
  crds                                                 apply Cilium's policy kinds
  assets [--only apiserver|prometheus|cilium-1.19|cilium-1.20]   build what is missing, print its folder
`

func main() {
	sandbox.Reexec()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && errors.Unwrap(err) == nil: // of a command that the user gave, which has said why
		os.Exit(exit.ExitCode())
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := newFlags("sandbox")
	name := flags.String("name", sandbox.DefaultName, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		return flag.ErrHelp
	}
	command, rest := flags.Arg(0), flags.Args()[1:]
	switch command {
	case "up":
		return up(ctx, *name, rest)
	case "status":
		return status(os.Stdout)
	case "assets":
		return printAssets(ctx, rest)
	case "down":
		return down(ctx, *name)
	}
	action, ok := actions[command]
	if !ok {
		return fmt.Errorf("no command %q; sandbox --help lists them", command)
	}
	c, err := sandbox.Open(*name)
	if err != nil {
		return err
	}
	return action(ctx, c, rest)
}

func newFlags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return flags
}

// list collects a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func up(ctx context.Context, name string, args []string) error {
	flags := newFlags("up")
	cfg := sandbox.Config{Name: name, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags.IntVar(&cfg.Nodes, "nodes", 3, "")
	flags.BoolVar(&cfg.IPv6First, "ipv6-first", false, "")
	flags.DurationVar(&cfg.StartWithin, "start-within", 0, "")
	foreground := flags.Bool("foreground", false, "")
	flags.Var((*list)(&cfg.Images), "image", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg.Detached = !*foreground
	c, err := sandbox.Up(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Printf("export KUBECONFIG=%s\n", c.Kubeconfig())
	if *foreground {
		<-ctx.Done()
		return c.Close()
	}
	return nil
}

// down also removes what is left of clusters that were killed.
func down(ctx context.Context, name string) error {
	c, err := sandbox.Open(name)
	if errors.Is(err, sandbox.ErrNotRunning) {
		fmt.Fprintf(os.Stderr, "sandbox: %s is not running\n", name)
		return sandbox.Sweep(ctx)
	}
	if err != nil {
		return err
	}
	return c.Close()
}

func status(w io.Writer) error {
	names, err := sandbox.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := sandbox.Open(name)
		if err != nil {
			continue // ended meanwhile
		}
		fmt.Fprintf(w, "%s\tnodes %s\tKUBECONFIG=%s\tlogs %s\n", name, strings.Join(c.Nodes(), ","), c.Kubeconfig(), c.Logs())
	}
	return nil
}

func printAssets(ctx context.Context, args []string) error {
	flags := newFlags("assets")
	only := flags.String("only", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	which, ok := map[string]assets.Which{"": assets.All, "apiserver": assets.APIServer, "prometheus": assets.Prometheus,
		"cilium-1.19": assets.Cilium119, "cilium-1.20": assets.Cilium120}[*only]
	if !ok {
		return fmt.Errorf("--only %s: want apiserver, prometheus, cilium-1.19 or cilium-1.20", *only)
	}
	cache, err := assets.Open()
	if err != nil {
		return err
	}
	if err := cache.Ensure(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)), which); err != nil {
		return err
	}
	folder := cache.Bin()
	if which == assets.Cilium119 || which == assets.Cilium120 {
		folder = cache.Cilium(which)
	}
	fmt.Println(folder)
	return nil
}
