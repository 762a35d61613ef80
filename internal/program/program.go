// Package program is what detnet's programs have in common: how they take their
// flags, log and end.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Program is one that serves until it is told to end.
type Program interface {
	// Flags adds its flags to f.
	Flags(f *flag.FlagSet)
	// Check is called when the flags were read; an error says which of them
	// cannot be, and what is taken.
	Check() error
	// Serve runs until ctx ends or a part fails.
	Serve(ctx context.Context, log *slog.Logger) error
}

// Exit codes besides 0, which is also that of a request for help.
const (
	Failed = 1
	Misuse = 2 // what was asked for cannot be carried out
)

// UntilSignal returns a context that ends with the first signal to end in order; a second
// signal ends the program at once. Call stop when done.
func UntilSignal() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Run runs p and returns its exit code. A signal ends it in order, a second one
// at once.
func Run(name string, args []string, p Program) int {
	log, err := Parse(name, args, p, os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v (-h lists the flags)\n", name, err)
		return Misuse
	}
	keepToMemory(os.Getenv, debug.SetMemoryLimit)
	ctx, stop := UntilSignal()
	defer stop()
	if err := p.Serve(ctx, log); err != nil {
		log.Error(name+" failed", "err", err)
		return Failed
	}
	return 0
}

// Parse reads the flags of p, all of them: what is left over would be a flag or
// a value that somebody believes in force. Help goes to help, and is
// flag.ErrHelp.
func Parse(name string, args []string, p Program, help io.Writer) (*slog.Logger, error) {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	var l logFlags
	f.TextVar(&l.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	f.StringVar(&l.format, "log-format", "json", "json or text")
	p.Flags(f)
	f.SetOutput(io.Discard) // the caller says what is wrong, once
	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		f.SetOutput(help)
		f.Usage()
		return nil, err
	case err != nil:
		return nil, err
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is no flag, and flags behind it would not be read: flags begin with --", f.Arg(0))
	}
	log, err := l.logger(os.Stderr)
	if err != nil {
		return nil, err
	}
	return log, p.Check()
}

// EveryReplica runs on leaders and standbys alike. It is a Runnable of
// controller-runtime's manager.
type EveryReplica func(context.Context) error

// Start runs it.
func (run EveryReplica) Start(ctx context.Context) error { return run(ctx) }

// NeedLeaderElection is false.
func (EveryReplica) NeedLeaderElection() bool { return false }
