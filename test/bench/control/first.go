package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/detnet/detnet/test/bench/threads"
)

// ahead is the niceness of the instruments: five times the weight of the cluster's cgroup.
const ahead = -20

// Where the kernel groups the processes of a session by themselves (sched(7)), niceness
// counts within the group alone, and the group has one of its own.
const autogroup = "/proc/self/autogroup"

// first has the threads of this program, and those that come of them, run before the cluster,
// whose busy world is to delay its services and not what measures them: without an answer for
// five seconds an agent gives its caller up. What the cluster runs began before, as it was.
// undo gives the session back what it had.
func first() (undo func() error, err error) {
	if err := threads.Nice(ahead); err != nil {
		return nil, fmt.Errorf("have the instruments run first: %w", err)
	}
	before, err := sessionNiceness()
	if errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error { return niceSession(before) }, niceSession(ahead)
}

func sessionNiceness() (niceness int, err error) {
	text, err := os.ReadFile(autogroup)
	if err != nil {
		return 0, err
	}
	var number int
	if _, err := fmt.Sscanf(string(text), "/autogroup-%d nice %d", &number, &niceness); err != nil {
		return 0, fmt.Errorf("read %s, %q: %w", autogroup, text, err)
	}
	return niceness, nil
}

func niceSession(niceness int) error {
	if err := os.WriteFile(autogroup, []byte(strconv.Itoa(niceness)), 0); err != nil {
		return fmt.Errorf("set the session's niceness to %d: %w", niceness, err)
	}
	return nil
}
