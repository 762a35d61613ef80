// Package threads has the threads of a benchmark run before or after what it measures.
package threads

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// Nice gives all threads of this program, and those that come of them, a niceness (sched(7)), but for
// those that keep theirs. Threads are begun while others are told to: it ends when none is left that was
// begun by one which had not been.
func Nice(niceness int, keep ...int) error {
	for left := true; left; {
		left = false
		all, err := filepath.Glob("/proc/self/task/*")
		if err != nil {
			return err
		}
		for _, thread := range all {
			id, err := strconv.Atoi(filepath.Base(thread))
			if err != nil {
				return fmt.Errorf("read which threads there are: %w", err)
			}
			now, err := syscall.Getpriority(syscall.PRIO_PROCESS, id)
			if slices.Contains(keep, id) || err == nil && now == 20-niceness { // getpriority(2): the kernel's own is 20 less niceness
				continue
			}
			left = true
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, niceness); err != nil && !errors.Is(err, syscall.ESRCH) { // it has ended
				return fmt.Errorf("give thread %d of %d the niceness %d: %w", id, os.Getpid(), niceness, err)
			}
		}
	}
	return nil
}
