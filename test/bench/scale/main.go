// Command scale measures the controller on many nodes: a real API server and etcd,
// two real controllers with TLS and leader election, and one process that answers
// for the agents of all nodes, over the real gRPC contract, each with a queue and
// limiters of its own, so that the loop is closed. At last the real webhook, with 10,000
// pods in its cache.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

type options struct {
	nodes, pods int
	cached      int
	road        string
	hold        time.Duration
	controller  string // program
	webhook     string // likewise
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run() error {
	sizes := flag.String("nodes", "10,30,100", "numbers of nodes, one run each, at most 1,000")
	pods := flag.Int("pods", 10, "throttleable pods a node, at most 60; there is one critical pod a node")
	cached := flag.Int("cached", 10_000, "pods that the webhook has in its cache, at least, when creates are measured; 0: they are not")
	road := flag.String("road", "tc", "tc: the agents enforce; annotation: limits act a while after they are written, as on Cilium")
	hold := flag.Duration("hold", 10*time.Second, "how long each phase lasts; the calm one eleven times that")
	out := flag.String("o", "", "`file` for the figures as JSON")
	picture := flag.String("svg", "", "`file` for a picture of the figures against the number of nodes")
	flag.Parse()
	if *road != "tc" && *road != "annotation" {
		return fmt.Errorf("-road=%q must be tc or annotation", *road)
	}
	if *pods < 1 || *pods > maxPods {
		return fmt.Errorf("-pods=%d must be from 1 to %d", *pods, maxPods)
	}
	if *cached < 0 || *cached > maxCached {
		return fmt.Errorf("-cached=%d must be from 0 to %d", *cached, maxCached)
	}
	ctrllog.SetLogger(logr.Discard())
	if err := yield(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "detnet-scale")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // left over, it is in the way of nothing
	o := options{pods: *pods, cached: *cached, road: *road, hold: *hold, controller: filepath.Join(dir, "detnet-controller"), webhook: filepath.Join(dir, "detnet-webhook")}
	programs := []string{o.controller, o.webhook}
	if o.cached == 0 {
		programs = programs[:1]
	}
	for _, program := range programs {
		build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/detnet/detnet/cmd/"+filepath.Base(program))
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("build %s: %w", filepath.Base(program), err)
		}
	}
	var all []Figures
	for text := range strings.SplitSeq(*sizes, ",") {
		if o.nodes, err = strconv.Atoi(text); err != nil || o.nodes < 3 || o.nodes > 1000 {
			return fmt.Errorf("-nodes: %q must be from 3 to 1,000", text)
		}
		f, err := measure(ctx, o, dir)
		if err != nil {
			f.print(os.Stderr) // as far as it came
			return fmt.Errorf("with %d nodes: %w", o.nodes, err)
		}
		all = append(all, f)
		f.print(os.Stdout)
	}
	if len(all) > 1 {
		table(os.Stdout, all)
	}
	if *picture != "" {
		if err := drawAll(*picture, all); err != nil {
			return fmt.Errorf("draw %s: %w", *picture, err)
		}
	}
	if *out == "" {
		return nil
	}
	body, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(*out, append(body, '\n'), 0o644)
}
