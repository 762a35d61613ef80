package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
// take from work that failed, as detnet's other programs do, and groups of commands refuse
// those that they do not have, which cobra leaves to each of them.
func refuseMisuse(c *cobra.Command) {
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if !errors.As(err, &unknown) {
			return misuse("%s: %w", c.CommandPath(), err)
		}
		if name := unknown.GetSpecifiedName(); (name == "n" || name == "namespace") && c.Flags().Lookup(installFlag) != nil {
			return misuse("%s: %w: it is about no pods; the namespace that detnet is installed in is --%s", c.CommandPath(), err, installFlag)
		}
		return misuse("%s: %w: see %[1]s --help", c.CommandPath(), err)
	})
	if c.HasSubCommands() {
		sayItself(c)
		c.Args = oneOfItsCommands
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	} else if args := c.Args; args != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			err := args(c, given)
			switch {
			case err == nil:
				return nil
			case len(given) > 0 && cobra.NoArgs(c, given).Error() == err.Error(): // which calls it a command
				return misuse("%s takes no argument, not %q; usage: %s", c.CommandPath(), given[0], c.UseLine())
			}
			return misuse("%s: %w; usage: %s", c.CommandPath(), err, c.UseLine())
		}
	}
	for _, sub := range c.Commands() {
		refuseMisuse(sub)
	}
}

// sayItself has --help change nothing about a command that gives help anyway: where it is a
// flag that cobra sees set, whatever else stands on the line is not looked at, such as the name
// of no command.
func sayItself(c *cobra.Command) {
	c.Flags().VarPF(itself{}, "help", "h", "help for "+c.Name()).NoOptDefVal = "true"
}

type itself struct{}

func (itself) Set(string) error { return nil }
func (itself) String() string   { return "false" }
func (itself) Type() string     { return "bool" }

// oneOfItsCommands refuses what is left over where a group of commands runs: the name of none.
func oneOfItsCommands(c *cobra.Command, given []string) error {
	if len(given) == 0 {
		return nil
	}
	return misuse("%s: there is no command %q: want %s", c.CommandPath(), given[0], names(c))
}

// names are those of a group's commands.
func names(c *cobra.Command) string {
	var all []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() || sub.Name() == "help" {
			all = append(all, sub.Name())
		}
	}
	return oneOf(all)
}
