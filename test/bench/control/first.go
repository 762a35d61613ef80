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
	before, grouped, err := sessionNiceness()
	if err != nil {
		return nil, err
	}
	if !grouped {
		return func() error { return nil }, nil
	}
	return func() error { return niceSession(before) }, niceSession(ahead)
}

// sessionNiceness reads the niceness of this session's group, where it has one.
func sessionNiceness() (niceness int, grouped bool, err error) {
	text, err := os.ReadFile(autogroup)
	if errors.Is(err, fs.ErrNotExist) { // a kernel that groups none
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	niceness, grouped, err = parseAutogroup(string(text))
	if err != nil {
		return 0, false, fmt.Errorf("read %s: %w", autogroup, err)
	}
	return niceness, grouped, nil
}

// parseAutogroup reads what the kernel says of a session: nothing of one that began with the machine,
// as a container's may have, for it is in no group but the root's.
func parseAutogroup(text string) (niceness int, grouped bool, err error) {
	if text == "" {
		return 0, false, nil
	}
	var number int
	if _, err := fmt.Sscanf(text, "/autogroup-%d nice %d", &number, &niceness); err != nil {
		return 0, false, fmt.Errorf("%q is no group of a session: %w", text, err)
	}
	return niceness, true, nil
}

func niceSession(niceness int) error {
	if err := os.WriteFile(autogroup, []byte(strconv.Itoa(niceness)), 0); err != nil {
		return fmt.Errorf("set the session's niceness to %d: %w", niceness, err)
	}
	return nil
}
