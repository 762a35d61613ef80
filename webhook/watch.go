package webhook

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// watch tells, when a request's time has run out, what it was spent on.
type watch struct {
	start time.Time
	cpu   time.Duration
}

func startWatch() watch { return watch{time.Now(), cpuTime()} }

// explain says whether the policy was slow or the process was not running.
func (w watch) explain(err error) error {
	return ranOut(err, time.Since(w.start), cpuTime()-w.cpu)
}

func ranOut(err error, took, cpu time.Duration) error {
	cause := "some rule goes through too many values, or many pods are created at once"
	if cpu < took/2 {
		cause = "the node is short of CPU: give the webhook a larger request"
	}
	return fmt.Errorf("the time of the request ran out: of %v for the evaluation the webhook was running %v: %s: %w",
		took.Round(time.Millisecond), cpu.Round(time.Millisecond), cause, err)
}

// cpuTime is what the process has used of all processors.
func cpuTime() time.Duration {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
