//go:build !linux

package enter

import (
	"errors"
	"os/exec"
)

// Net needs Linux.
func (t Target) Net(func() error) error { return errors.ErrUnsupported }

// Run needs Linux.
func (t Target) Run(*exec.Cmd) error { return errors.ErrUnsupported }
