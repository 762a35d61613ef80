// Package keeper is the one process of a sandbox that lives in the host's
// namespaces. It makes what the host can see (a state folder, cgroups, a
// listener on loopback), starts the fabric, and takes all of it away again
// however the sandbox ends.
package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/enter"
	"github.com/detnet/detnet/test/sandbox/fabric"
	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/sandbox/pki"
)

// FabricArg0 is the name under which the keeper starts the fabric.
const FabricArg0 = "detnet-sandbox-fabric"

const (
	removalTimeout = 20 * time.Second
	lockTimeout    = time.Second
)

// Run keeps an instance until ctx ends or the fabric dies. It calls ready when
// every node is Ready; when it returns, nothing of the instance is left but its
// logs.
func Run(ctx context.Context, s *instance.Spec, ready func(), log *slog.Logger) (err error) {
	// Another instance's leftovers that can't be removed are no reason not to
	// start this one; its own are.
	if err := Sweep(ctx, s.Cache, s.Cgroups.Hierarchies); err != nil {
		log.Warn("remove earlier instances", "err", err)
	}
	lock, err := lock(s)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := remove(ctx, s); err != nil {
		return fmt.Errorf("remove what an earlier instance left: %w", err)
	}
	defer func() {
		if removal := remove(ctx, s); removal != nil {
			err = errors.Join(err, removal)
		}
	}()
	listener, err := prepare(ctx, s)
	if err != nil {
		return err
	}
	defer listener.Close()

	f, err := startFabric(ctx, s)
	if err != nil {
		return fmt.Errorf("start the fabric: %w", err)
	}
	defer f.kill()
	s.Fabric = f.cmd.Process.Pid
	go forward(ctx, listener, enter.Process(s.Fabric), net.JoinHostPort(s.FabricIP().String(), strconv.Itoa(instance.APIPort)))

	starting, cancel := context.WithTimeout(ctx, s.StartWithin)
	defer cancel()
	up := make(chan error, 1)
	go func() { up <- waitReady(starting, s) }()
	select {
	case err := <-up:
		if err != nil {
			return err
		}
	case err := <-f.done:
		return fmt.Errorf("the fabric ended while starting: %w: %s; see %s", err, lastLine(s.Log("fabric")), s.LogDir())
	}
	if err := s.Write(); err != nil { // with Fabric set: Open works from here on
		return err
	}
	ready()
	select {
	case <-ctx.Done():
		return nil
	case err := <-f.done:
		return fmt.Errorf("the fabric ended: %w: %s; see %s", err, lastLine(s.Log("fabric")), s.LogDir())
	}
}

// lock takes the instance's lock. Others hold it for a moment to see whether the
// instance runs, or to sweep it, so one attempt is not enough.
func lock(s *instance.Spec) (*os.File, error) {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(20 * time.Millisecond) {
		f, err := instance.Lock(s.Cache, s.Name)
		if !errors.Is(err, instance.ErrRunning) || time.Now().After(deadline) {
			return f, err
		}
	}
}

// prepare makes what the fabric needs to start, and the listener of the API
// server's address on the host.
func prepare(ctx context.Context, s *instance.Spec) (net.Listener, error) {
	if err := os.RemoveAll(s.LogDir()); err != nil {
		return nil, fmt.Errorf("remove the logs of the last run: %w", err)
	}
	for _, dir := range []string{s.Dir(), s.LogDir()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make a folder of the instance: %w", err)
		}
	}
	if err := s.Cgroups.Create(append(s.NodeNames(), instance.ControlLeaf)...); err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for clients of the API server: %w", err)
	}
	s.Keeper, s.APIServer = os.Getpid(), listener.Addr().String()
	if err := errors.Join(s.Write(), pki.Write(s, time.Now())); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// process is the running fabric.
type process struct {
	cmd      *exec.Cmd
	lifeline io.Closer
	done     chan error
}

// startFabric starts the fabric in its namespaces. The pipe on its standard
// input is its lifeline: it ends with the keeper, even one that is killed.
func startFabric(ctx context.Context, s *instance.Spec) (*process, error) {
	log, err := os.Create(s.Log("fabric"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe") // Run ends it, in order
	cmd.Args = []string{FabricArg0, s.File()}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: fabric.Flags, Setsid: true}
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, lifeline: lifeline, done: make(chan error, 1)}
	go func() {
		p.done <- cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// lastLine is the end of a log, for an error message; empty where there is none.
func lastLine(path string) string {
	log, _ := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return lines[len(lines)-1]
}

// kill ends the fabric, and so every process of the instance, and waits for it.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // gone already: fine
	for range p.done {
	}
}

// remove takes away the instance's cgroups and state, with whatever processes
// an earlier keeper that was killed left in them. It does so also when ctx has
// ended, which is when it is needed.
func remove(ctx context.Context, s *instance.Spec) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTimeout)
	defer cancel()
	if err := s.Cgroups.Remove(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(s.Dir()); err != nil {
		return fmt.Errorf("remove the state folder: %w", err)
	}
	return nil
}
