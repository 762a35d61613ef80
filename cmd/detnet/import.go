package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/controller/config/strict"
	"github.com/detnet/detnet/controller/targets"
)

func newImportCommand() *cobra.Command {
	var only string
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn the original's critical-apps.yaml into labels, annotations and values",
		Long: `Turn the critical-apps.yaml of the original controller, also in a ConfigMap, into YAML
documents: values for the chart, then what each workload's template needs. FILE may be
- for the standard input.`,
		Example: `  detnet import critical-apps.yaml --only values | helm upgrade detnet charts/detnet --values -
  detnet import critical-apps.yaml --only workloads | kubectl apply --server-side -f -`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			read := func() ([]byte, error) { return strict.ReadFile(args[0]) }
			if args[0] == "-" {
				read = func() ([]byte, error) { return strict.Read(cmd.InOrStdin()) }
			}
			text, err := read()
			if err != nil {
				return fmt.Errorf("read %s: %w", args[0], err)
			}
			t, err := targets.Parse(text)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if t.IsZero() {
				return fmt.Errorf("%s: says nothing: want critical_apps, best_effort_targets or control", args[0])
			}
			if only != "workloads" {
				err = targets.WriteValues(cmd.OutOrStdout(), t)
			}
			if err == nil && only != "values" {
				err = targets.WriteWorkloads(cmd.OutOrStdout(), t)
			}
			return err
		},
	}
	cmd.Flags().Var(&choice{&only, []string{"values", "workloads"}}, "only", "values or workloads; default both")
	return cmd
}
