package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/policies"
)

func newPolicyTestCommand(dir, output *string) *cobra.Command {
	var atLeast float64
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the policy's own tests; fails if one fails or coverage is too low",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := policySet(*dir)
			if err != nil {
				return err
			}
			report, err := policies.Test(cmd.Context(), set)
			if err != nil {
				return err
			}
			failed := 0
			for _, r := range report.Results {
				if r.Failed {
					failed++
				}
			}
			if err := emit(cmd.OutOrStdout(), *output, report, func(w io.Writer) { printTests(w, report) }); err != nil {
				return err
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d tests failed", failed, len(report.Results))
			}
			if report.Coverage < atLeast {
				return fmt.Errorf("the tests reach %.1f %% of the rules, --coverage asks for %.1f %%", report.Coverage, atLeast)
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&atLeast, "coverage", 0, "least share of the rules' lines that the tests must reach, in percent")
	return cmd
}

func printTests(w io.Writer, report policies.TestReport) {
	for _, r := range report.Results {
		verdict := "ok  "
		if r.Failed {
			verdict = "FAIL"
		}
		fmt.Fprintf(w, "%s  %s  (%s:%d)\n", verdict, r.Name, r.File, r.Line)
		if r.Failed {
			fmt.Fprintf(w, "      %s\n", r.Reason())
		}
	}
	fmt.Fprintf(w, "%d tests, coverage %.1f %%\n", len(report.Results), report.Coverage)
}

// checked is what "policy check" says of a good set.
type checked struct {
	Hash  string `json:"hash"`
	Tests int    `json:"tests"`
}

func newPolicyCheckCommand(dir, output *string) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Check that the webhook would take this policy",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := policySet(*dir)
			if err != nil {
				return err
			}
			engine, err := policies.Load(cmd.Context(), set)
			if err != nil {
				return err
			}
			report, err := policies.Test(cmd.Context(), set)
			if err != nil {
				return err
			}
			result := checked{engine.Hash(), len(report.Results)}
			return emit(cmd.OutOrStdout(), *output, result, func(w io.Writer) {
				fmt.Fprintf(w, "policy %s is good: it compiles and passes its %d tests\n", result.Hash, result.Tests)
			})
		},
	}
}
