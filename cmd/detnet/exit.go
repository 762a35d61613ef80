package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/internal/program"
)

// unusable marks an error as one of the command line, or of this host.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// misuse is an error of what stands on the command line.
func misuse(format string, args ...any) error { return unusable{fmt.Errorf(format, args...)} }

// exitCode is the code that err ends the program with. Of the commands that measure
// program.Failed says that no packet of some target was answered.
func exitCode(err error) int {
	var u unusable
	switch {
	case err == nil:
		return 0
	case errors.As(err, &u):
		return program.Misuse
	}
	return program.Failed
}

// refuseMisuse has c and the commands below it tell flags and arguments that they do not
// take from work that failed, as detnet's other programs do.
func refuseMisuse(c *cobra.Command) {
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return unusable{err} })
	if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := args(c, given); err != nil {
				return misuse("%w; usage: %s", err, c.UseLine())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		refuseMisuse(sub)
	}
}
