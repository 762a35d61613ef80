package main

import "errors"

// Exit codes of the commands that measure, which scripts tell apart; the other
// commands know 0 and 1.
const (
	exitOK       = 0
	exitNothing  = 1 // no packet of some target was answered
	exitUnusable = 2 // what was asked for cannot be carried out
)

// unusable marks an error as one of the command line, or of this host.
type unusable struct{ error }

func (u unusable) Unwrap() error { return u.error }

// exitCode is the code that err ends the program with.
func exitCode(err error) int {
	var u unusable
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &u):
		return exitUnusable
	}
	return exitNothing
}
