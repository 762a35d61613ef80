// Command detnet is the user's tool; installed as kubectl-detnet it is also a
// kubectl plugin.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/internal/program"
)

// version is set by the linker.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := program.UntilSignal()
	defer stop()
	return exitCode(newRootCommand().ExecuteContext(ctx))
}

// sayVersion has --version say it. Cobra's own flag does before it looks at what else stands on
// the line, such as the name of no command.
func sayVersion(root *cobra.Command) {
	asked := root.Flags().BoolP("version", "v", false, "version for "+root.Name())
	help := root.RunE
	root.RunE = func(c *cobra.Command, args []string) error {
		if !*asked {
			return help(c, args)
		}
		_, err := fmt.Fprintf(c.OutOrStdout(), "%s version %s\n", c.Name(), version)
		return err
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:          "detnet",
		Short:        "Deterministic networking for Kubernetes",
		Long:         "Deterministic networking for Kubernetes.\n\nThe exit code is 0 if all is well, 1 if the answer is no (a command says in its help what that is),\nand 2 if there is no answer: a flag, an argument or a file that is no good, a cluster out of reach.",
		SilenceUsage: true,
	}
	root.AddCommand(newDoctorCommand(), newPolicyCommand())
	root.AddCommand(newSimulateCommand())
	root.AddCommand(newExplainCommand(), newImportCommand(), newRecordCommand(), newReplayCommand(), newRestoreCommand(), newTopCommand())
	root.AddCommand(newProbeCommand(), newReflectCommand())
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	sayItself(help)
	help.Args = func(_ *cobra.Command, topic []string) error {
		if of, left, err := root.Find(topic); err != nil || len(left) > 0 {
			return fmt.Errorf("there is no command %q: %s has %s", strings.Join(topic, " "), of.CommandPath(), names(of))
		}
		return nil
	}
	refuseMisuse(root)
	sayVersion(root)
	return root
}
