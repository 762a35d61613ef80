// Command fq puts questions to a real fq with a limiter like Cilium's, in a
// virtual machine whose clock is virtual too: how busy this machine is changes
// no figure, and two runs of the same program with the same seed are the same to
// the last digit. It prints tables and writes fq.json.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/detnet/detnet/test/fq/figure"
	"github.com/detnet/detnet/test/fq/vm"
	"github.com/detnet/detnet/test/sandbox/assets"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fq:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	play := flag.String("play", "throughput,change,bands,raise,demo,agents", "scenarios, comma-separated; throughput/udp-1 is a single case, and demo/tcp@4 one of 4 s")
	seed := flag.Int("seed", 1, "of everything that is random")
	seconds := flag.Float64("seconds", 5, "virtual seconds of each case")
	out := flag.String("o", "../out", "folder for fq.json")
	verbose := flag.Bool("v", false, "show what the guest prints")
	limiter := flag.String("limiter", "", "ours if empty; Cilium's own programs are cilium, and cilium- with host-routing, netkit, netkit-l2, wireguard, wireguard-host-routing, wireguard-netkit, vxlan or vxlan-host-routing")
	flag.Parse()
	inside, err := buildPrograms(ctx)
	if err != nil {
		return err
	}
	figures, err := inside.Play(ctx, Run{*play, *seconds, *seed, *limiter}, *verbose)
	if err != nil {
		return err
	}
	if err := table(os.Stdout, figures); err != nil {
		return err
	}
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*out, "fq.json"), append(text, '\n'), 0o644)
}

// modules are what the guest's kernel needs beyond what is built in.
var modules = []string{"veth", "sch_fq", "sch_tbf"}

// Run is what a guest is to do.
type Run struct {
	Play    string  // scenarios, comma-separated
	Seconds float64 // virtual, of each case that does not say its own
	Seed    int
	Limiter string // ours if empty
}

// programs are the guest's, and the agent's as it is in its image.
type programs struct{ guest, agent []byte }

// buildPrograms builds them, static.
func buildPrograms(ctx context.Context) (p programs, err error) {
	dir, err := os.MkdirTemp("", "detnet-fq-")
	if err != nil {
		return p, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // left over, it is in the way of nothing
	for name, to := range map[string]*[]byte{"test/fq/guest": &p.guest, "cmd/detnet-agent": &p.agent} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir+"/", "github.com/detnet/detnet/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
		if *to, err = os.ReadFile(filepath.Join(dir, filepath.Base(name))); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Play boots the guest and returns what it found.
func (p programs) Play(ctx context.Context, r Run, verbose bool) ([]figure.Figure, error) {
	cache, err := assets.Open()
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	parts, err := vm.EnsureParts(ctx, filepath.Join(string(cache), "vm"), log)
	if err != nil {
		return nil, err
	}
	var printed bytes.Buffer
	out := io.Writer(&printed)
	if verbose {
		out = io.MultiWriter(&printed, os.Stderr)
	}
	guest := vm.Guest{
		Program: p.guest, Modules: slices.Concat(modules, tunnelOf(r.Limiter).modules), Memory: 1024,
		Files: map[string][]byte{"detnet-agent": p.agent},
		Args: map[string]string{
			"play": r.Play, "seconds": strconv.FormatFloat(r.Seconds, 'g', -1, 64), "seed": strconv.Itoa(r.Seed), "limiter": r.Limiter,
		},
	}
	if r.Limiter != "" {
		objects, err := ciliumObjects(ctx, string(cache), r.Limiter, log)
		if err != nil {
			return nil, err
		}
		maps.Copy(guest.Files, objects)
	}
	spent, err := parts.Run(ctx, guest, out)
	if err != nil {
		return nil, err
	}
	log.Info("the guest has ended", "cpu", spent)
	return figure.Read(&printed)
}
