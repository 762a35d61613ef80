// Command nodesession shows what a node session is worth: the delay variation that a
// critical app's own echo tells of, and what the agent beside it does, while the
// host's CPUs are taken and while the node's uplink is full. Only the second is
// the network's. It brings up a cluster of its own and prints a table.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/quantile"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/workload"
)

// hogArg makes this program burn one CPU until it is killed.
const hogArg = "burn-a-cpu"

func main() {
	sandbox.Reexec()
	if len(os.Args) == 2 && os.Args[1] == hogArg {
		for n := 0; ; n++ {
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-nodesession:", err)
		os.Exit(1)
	}
}

// capacity is what each node's uplink carries.
const capacity = 100 * bitrate.Mbit

func run(ctx context.Context) (err error) {
	length := flag.Duration("duration", 20*time.Second, "length of each phase")
	hogs := flag.Int("hogs", 4, "busy loops in the second phase")
	flag.Parse()
	d := *length
	images, err := install.BuildImages(ctx)
	if err != nil {
		return err
	}
	cluster, err := sandbox.Up(ctx, sandbox.Config{Name: "nodesession", Images: images, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		if closed := cluster.Close(); err == nil {
			err = closed
		}
	}()
	// Nothing may be done about the congestion that is to be seen.
	if err := install.Detnet(ctx, cluster, map[string]string{"controller.mode": "observe"}); err != nil {
		return err
	}
	s, err := scene.Deploy(ctx, cluster, install.Tag, capacity)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := install.AwaitMeasured(ctx, cluster, 2, len(scene.Senders)); err != nil {
		return err
	}
	elastic, err := scene.NamedLoads("tcp", capacity, d)
	if err != nil {
		return err
	}
	var table []phase
	for _, p := range []struct {
		name  string
		loads scene.Loads
		hogs  int
	}{{"idle", nil, 0}, {"busy host", nil, *hogs}, {"full uplink", elastic, 0}} {
		seen, err := play(ctx, cluster, s, p.loads, p.hogs, d)
		if err != nil {
			return fmt.Errorf("phase %s: %w", p.name, err)
		}
		seen.name = p.name
		table = append(table, seen)
	}
	return write(os.Stdout, table)
}

// phase holds a figure of each look at the status: the worst session's 90th
// percentile of delay variation, in ms.
type phase struct {
	name              string
	apps, nodeSession []float64
}

// play looks at the status for d, under load.
func play(ctx context.Context, cluster *sandbox.Cluster, s *scene.Scene, loads scene.Loads, hogs int, d time.Duration) (phase, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range hogs {
		hog := exec.CommandContext(ctx, "/proc/self/exe", hogArg)
		hog.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := hog.Start(); err != nil {
			return phase{}, fmt.Errorf("take a CPU: %w", err)
		}
		defer func() { cancel(); _ = hog.Wait() }()
	}
	var seen phase
	var failed error
	const settle = 2 * time.Second
	begin := time.Now()
	_, err := s.Run(ctx, "", d, loads, func(scene.Tick) {
		now, err := install.Status(ctx, cluster)
		switch {
		case err != nil:
			failed = err
		case time.Since(begin) > settle:
			seen.add(now)
		}
	})
	if err == nil && len(seen.apps) == 0 {
		err = fmt.Errorf("the status was never readable: %w", failed)
	}
	return seen, err
}

// add takes the apps that answer by themselves, as their echo runs in user
// space; a handshake is the kernel's.
func (p *phase) add(s status.Status) {
	for _, app := range s.Apps {
		if !strings.HasPrefix(app.Probe, string(workload.UDP)) {
			continue
		}
		var own, beside float64
		for _, session := range app.Sessions {
			own = max(own, session.Measured.JitterMs)
			if session.NodeSession != nil {
				beside = max(beside, session.NodeSession.Measured.JitterMs)
			}
		}
		p.apps, p.nodeSession = append(p.apps, own), append(p.nodeSession, beside)
	}
}

func write(out io.Writer, table []phase) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "p90 of delay variation, ms\tthe app's echo\t\tits node session\t\n")
	fmt.Fprint(w, "\tmedian\tworst\tmedian\tworst\n")
	for _, p := range table {
		slices.Sort(p.apps)
		slices.Sort(p.nodeSession)
		fmt.Fprintf(w, "%s\t%.3f\t%.3f\t%.3f\t%.3f\n", p.name,
			quantile.Of(p.apps, 0.5), quantile.Of(p.apps, 1), quantile.Of(p.nodeSession, 0.5), quantile.Of(p.nodeSession, 1))
	}
	return w.Flush()
}
