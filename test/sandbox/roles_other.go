//go:build !linux

package sandbox

import "context"

const (
	keeperArg0  = ""
	detachedArg = ""
)

// reexecuted is never asked for: newSpec fails first.
const reexecuted = false

// Reexec does nothing: no sandbox can run here.
func Reexec() {}

// Sweep reports [ErrUnsupported].
func Sweep(context.Context) error { return supported() }

func setShape(int, shape) error { return supported() }

func removeShape(int) error { return supported() }

func readShape(int) (*UplinkStats, error) { return nil, supported() }
