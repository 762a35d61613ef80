//go:build !linux

package main

import (
	"errors"

	"github.com/spf13/cobra"
)

var errLinuxOnly = errors.New("measuring needs Linux: it uses the kernel's packet timestamps")

func newProbeCommand() *cobra.Command {
	return &cobra.Command{Use: "probe", Short: "Measure a path (on Linux)", Args: cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error { return errLinuxOnly }}
}

func newReflectCommand() *cobra.Command {
	return &cobra.Command{Use: "reflect", Short: "Answer the probes of others (on Linux)", Args: cobra.ArbitraryArgs,
		RunE: func(*cobra.Command, []string) error { return errLinuxOnly }}
}
