// Package pid1 is the duty of the first process of a PID namespace: to start
// children, and to reap every process that ends, whoever started it.
package pid1

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// Reaper starts and reaps. Children started through it must not be waited for
// with exec.Cmd.Wait.
type Reaper struct {
	mu      sync.Mutex // also held while reaping: no child is reaped before it is known
	running map[int]*Process
}

// Process is a child.
type Process struct {
	// Pid is its id in the caller's PID namespace.
	Pid int
	// Done is closed when it has ended.
	Done   chan struct{}
	status unix.WaitStatus
}

// New starts reaping, for good: pid 1 never stops.
func New() *Reaper {
	r := &Reaper{running: map[int]*Process{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGCHLD)
	go func() {
		for range signals {
			r.reap()
		}
	}()
	return r
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if p, ok := r.running[pid]; ok {
			delete(r.running, pid)
			p.status = status
			close(p.Done)
		}
	}
}

// Start starts cmd, whose standard streams must be nil or files.
func (r *Reaper) Start(cmd *exec.Cmd) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Pid: cmd.Process.Pid, Done: make(chan struct{})}
	r.running[p.Pid] = p
	_ = cmd.Process.Release() // the reaper waits for it, not os.Process
	return p, nil
}

// Run starts cmd and waits for its end.
func (r *Reaper) Run(cmd *exec.Cmd) error {
	p, err := r.Start(cmd)
	if err != nil {
		return err
	}
	<-p.Done
	return p.Err()
}

// Err tells, once Done is closed, how the process ended: nil for status 0.
func (p *Process) Err() error {
	switch {
	case p.status.Signaled():
		return fmt.Errorf("ended by signal %s", p.status.Signal())
	case p.status.ExitStatus() != 0:
		return fmt.Errorf("ended with status %d", p.status.ExitStatus())
	}
	return nil
}

// Kill ends the process at once and waits until it is gone.
func (p *Process) Kill() {
	_ = unix.Kill(p.Pid, unix.SIGKILL) // ESRCH: gone already
	<-p.Done
}
