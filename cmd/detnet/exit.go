package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/internal/program"
)

// unusable marks an error as one of the command line, or of this host, also where a
// finding is around it.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// misuse is an error of what stands on the command line.
func misuse(format string, args ...any) error { return unusable{fmt.Errorf(format, args...)} }

// finding marks an error as the answer to what was asked: a pod is refused, a check found a
// problem. All others say that there is no answer.
type finding struct{ error }

func (f finding) Unwrap() error { return f.error }

// found is a finding.
func found(format string, args ...any) error { return finding{fmt.Errorf(format, args...)} }

// asFinding is a finding of a command that does no more than look.
func asFinding(err error) error {
	if err == nil {
		return nil
	}
	return finding{err}
}

// exitCode is the code that err ends the program with: as with grep and diff, 1 is an answer
// and 2 that there is none.
func exitCode(err error) int {
	var (
		u unusable
		f finding
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &f) && !errors.As(err, &u):
		return program.Failed
	}
	return program.Misuse
}

// exitOne is the annotation of a command that says of what its exit code 1 is the answer.
const exitOne = "detnet.dev/exit-1"

// answers has c's help, and the reference, say when it exits with 1.
func answers(c *cobra.Command, when string) *cobra.Command {
	c.Annotations = map[string]string{exitOne: when}
	if c.Long == "" {
		c.Long = c.Short + "."
	}
	c.Long += "\n\nThe exit code is 1 if " + when + ", and 2 if there is no answer: a file that can't be read, a cluster out of reach."
	return c
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
