// Command detnet is the user's tool; installed as kubectl-detnet it is also a
// kubectl plugin.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	return exitCode(newRootCommand().ExecuteContext(ctx))
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:          "detnet",
		Short:        "Deterministic networking for Kubernetes",
		SilenceUsage: true,
		Args:         cobra.NoArgs,
		RunE:         func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.AddCommand(newDoctorCommand(), newPolicyCommand())
	root.AddCommand(newSimulateCommand())
	root.AddCommand(newExplainCommand(), newImportCommand(), newRecordCommand(), newReplayCommand(), newRestoreCommand(), newTopCommand())
	root.AddCommand(newProbeCommand(), newReflectCommand())
	return root
}
