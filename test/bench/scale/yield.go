package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
)

// niceness is that of the threads which answer for the agents. In a cluster they are on other
// machines, and take no processor from the leader.
const niceness = 10

// The main goroutine keeps its thread, and so the priority that this process began with: what is started
// from it, the API server and the controllers, has that one too.
func init() { runtime.LockOSThread() }

// yield has the other threads, and those that come of them, run after the rest.
func yield() error {
	for before := true; before; { // until none is left that a thread began which was before the rest itself
		threads, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		before = false
		for _, thread := range threads {
			id, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				return fmt.Errorf("read which threads there are: %w", err)
			}
			if now, err := syscall.Getpriority(syscall.PRIO_PROCESS, id); id == os.Getpid() || err == nil && now == 20-niceness { // getpriority(2): the kernel's own is 20 less niceness
				continue
			}
			before = true
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness); err != nil && !errors.Is(err, syscall.ESRCH) { // it has ended
				return fmt.Errorf("have thread %d of the agents run after the controllers: %w", id, err)
			}
		}
	}
	return nil
}
