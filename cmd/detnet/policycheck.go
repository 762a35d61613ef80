package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/policies"
)

func newPolicyTestCommand(dir, output *string) *cobra.Command {
	var atLeast float64
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Run the policy's own tests; fails if one fails or coverage is too low",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(atLeast >= 0 && atLeast <= 100) {
				return misuse("--coverage %v: want from 0 to 100 percent", atLeast)
			}
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
				return found("%d of %d tests failed", failed, len(report.Results))
			}
			if report.Coverage < atLeast {
				return found("the tests reach %.1f %% of the rules, --coverage asks for %.1f %%", report.Coverage, atLeast)
			}
			return nil
		},
	}
	cmd.Flags().Float64Var(&atLeast, "coverage", 0, "least share of the rules' lines that the tests must reach, in percent")
	return answers(cmd, "a test failed or coverage is too low")
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
	Hash     string   `json:"hash"`
	Tests    int      `json:"tests"`
	Warnings []string `json:"warnings,omitempty"`
}

func newPolicyCheckCommand(dir, output *string) *cobra.Command {
	var ask bool
	var at cluster
	cmd := &cobra.Command{
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
				return finding{err}
			}
			report, err := policies.Test(cmd.Context(), set)
			if err != nil {
				return err
			}
			result := checked{Hash: engine.Hash(), Tests: len(report.Results)}
			var asked *cluster
			if ask {
				asked = &at
			}
			if result.Warnings, err = priorityClassWarnings(cmd.Context(), engine, asked); err != nil {
				return err
			}
			return emit(cmd.OutOrStdout(), *output, result, func(w io.Writer) {
				for _, warning := range result.Warnings {
					fmt.Fprintln(w, "warning:", warning)
				}
				fmt.Fprintf(w, "policy %s is good: it compiles and passes its %d tests\n", result.Hash, result.Tests)
			})
		},
	}
	at.addFlags(cmd)
	cmd.Flags().BoolVar(&ask, "cluster", false, "also ask the current cluster for the PriorityClasses that classes name")
	return answers(cmd, "the webhook would not take the policy")
}

// priorityClassWarnings tells of PriorityClasses that a class names and that the
// cluster lacks or, if none is asked, that neither the chart makes nor Kubernetes.
func priorityClassWarnings(ctx context.Context, engine *policies.Engine, ask *cluster) ([]string, error) {
	var known []string
	what := "which the cluster does not have"
	if ask != nil {
		c, err := ask.connect()
		if err != nil {
			return nil, err
		}
		list, err := c.SchedulingV1().PriorityClasses().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list PriorityClasses: %w", err)
		}
		for _, class := range list.Items {
			known = append(known, class.Name)
		}
	} else {
		plain, err := policies.Compile(ctx, policies.Default())
		if err != nil {
			return nil, err
		}
		known = append(plain.PriorityClasses(), "system-cluster-critical", "system-node-critical")
		what = "which the chart does not make: see that the cluster has it (--cluster asks)"
	}
	var out []string
	for _, name := range engine.PriorityClasses() {
		if !slices.Contains(known, name) {
			out = append(out, fmt.Sprintf("classes name PriorityClass %s, %s; without it their pods keep the priority that they have", name, what))
		}
	}
	return out, nil
}
