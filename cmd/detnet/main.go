// Command detnet is the user's tool; installed as kubectl-detnet it is also a
// kubectl plugin.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/internal/program"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := program.UntilSignal()
	defer stop()
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
	root.InitDefaultCompletionCmd()
	refuseMisuse(root)
	return root
}
