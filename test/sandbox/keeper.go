package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/test/sandbox/instance"
)

// closeTimeout bounds how long an instance may take to end.
const closeTimeout = 30 * time.Second

// keeperProcess is the keeper as its parent sees it.
type keeperProcess struct {
	cmd      *exec.Cmd
	lifeline io.Closer
	reports  *json.Decoder
	pipe     io.Closer
	log      string // path
}

// report is what a keeper tells its parent: once that the instance is up, and,
// when it ends, what went wrong.
type report struct {
	Ready bool   `json:",omitempty"`
	Error string `json:",omitempty"`
}

// startKeeper starts the keeper and waits for its word. It is a session of its
// own, so that Ctrl-C reaches the caller alone, which then ends it in order.
// Its standard input is the lifeline; a detached one has none.
func startKeeper(ctx context.Context, s *instance.Spec, detached bool) (*keeperProcess, error) {
	if !reexecuted {
		return nil, errors.New("sandbox.Reexec must be called first in main or TestMain")
	}
	description, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(s.LogDir()), 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(s.LogDir() + ".keeper.log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	fromKeeper, toParent, err := os.Pipe()
	if err != nil {
		return nil, err
	}

	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe") // it ends in order, see stop
	cmd.Args = []string{keeperArg0, string(description)}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{toParent}
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	k := &keeperProcess{cmd: cmd, lifeline: io.NopCloser(nil), reports: json.NewDecoder(fromKeeper), pipe: fromKeeper,
		log: log.Name()}
	if detached {
		cmd.Args = append(cmd.Args, detachedArg)
	} else if k.lifeline, err = cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, fromKeeper.Close(), toParent.Close())
	}
	err = cmd.Start()
	toParent.Close() // the keeper's copy alone is left, so that its end ends the pipe
	if err != nil {
		fromKeeper.Close()
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	if err := k.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, k.stop())
	}
	return k, nil
}

func (k *keeperProcess) awaitReady(ctx context.Context) error {
	first := make(chan error, 1)
	go func() {
		var r report
		err := k.reports.Decode(&r)
		switch {
		case errors.Is(err, io.EOF):
			err = fmt.Errorf("the keeper ended without a word; see %s", k.log)
		case err == nil && !r.Ready:
			err = errors.New(r.Error)
		}
		first <- err
	}()
	select {
	case err := <-first:
		return err
	case <-ctx.Done():
		_ = k.cmd.Process.Signal(unix.SIGTERM) // ended already: fine
		_ = <-first                            //nolint:staticcheck // why it ended is known
		return ctx.Err()
	}
}

// stop ends the keeper, waits for it and returns what it could not take away.
func (k *keeperProcess) stop() error {
	defer k.pipe.Close()
	k.lifeline.Close()
	_ = k.cmd.Process.Signal(unix.SIGTERM) // ended already: fine
	var last report
	err := k.reports.Decode(&last)
	_ = k.cmd.Wait() // its report says more than its status
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("hear from the keeper: %w", err)
	}
	return errors.New(last.Error)
}
