package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/fabric"
	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/keeper"
	"github.com/detnet/detnet/test/sandbox/machine"
)

const (
	keeperArg0  = "detnet-sandbox-keeper"
	detachedArg = "detached"
	reportFD    = 3
)

// reexecuted says that Reexec was called: without it, starting the keeper would
// run the caller's own main again.
var reexecuted bool

// Reexec plays the role of a sandbox's process and never returns where the
// calling program was started as one by [Up]; otherwise it does nothing. Call
// it first in main or TestMain.
func Reexec() {
	reexecuted = true
	role, ok := map[string]func(*slog.Logger) error{
		keeperArg0:        playKeeper,
		keeper.FabricArg0: playFabric,
		machine.JoinArg0:  playJoin,
		machine.RunArg0:   playMachine,
	}[filepath.Base(os.Args[0])]
	if !ok {
		return
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := role(log); err != nil {
		log.Error("the sandbox ends", "role", os.Args[0], "err", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func playKeeper(log *slog.Logger) error {
	s := new(instance.Spec)
	if err := json.Unmarshal([]byte(os.Args[1]), s); err != nil {
		return fmt.Errorf("read the instance's description: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer stop()
	if len(os.Args) < 3 || os.Args[2] != detachedArg {
		alive, cancel := context.WithCancel(ctx)
		ctx = alive
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin) // however the lifeline ends, it has ended
			cancel()
		}()
	}
	parent := os.NewFile(reportFD, "reports")
	reports := json.NewEncoder(parent)
	// Not closed on exec means inherited: the fabric must not hold the pipe open.
	unix.CloseOnExec(reportFD)
	err := keeper.Run(ctx, s, func() { _ = reports.Encode(report{Ready: true}) }, log)
	if err != nil {
		_ = reports.Encode(report{Error: err.Error()}) // the parent may be gone; the log has it too
	}
	return err
}

func playFabric(log *slog.Logger) error {
	s, err := instance.Read(os.Args[1])
	if err != nil {
		return err
	}
	return fabric.Run(context.Background(), s, os.Stdin, log)
}

func playJoin(*slog.Logger) error {
	s, i, err := machineArguments()
	if err != nil {
		return err
	}
	return machine.Join(s, i)
}

func playMachine(log *slog.Logger) error {
	s, i, err := machineArguments()
	if err != nil {
		return err
	}
	return machine.Run(context.Background(), s, i, log)
}

func machineArguments() (*instance.Spec, int, error) {
	s, err := instance.Read(os.Args[1])
	if err != nil {
		return nil, 0, err
	}
	i, err := strconv.Atoi(os.Args[2])
	return s, i, err
}

// Sweep removes what instances left on the host whose processes were killed
// without a chance to do so. Up does the same first.
func Sweep(ctx context.Context) error {
	spec, err := newSpec(Config{})
	if err != nil {
		return err
	}
	return keeper.Sweep(ctx, spec.Cache, spec.Cgroups.Hierarchies)
}
