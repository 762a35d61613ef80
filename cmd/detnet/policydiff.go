package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
)

// compared is the outcome of "policy diff".
type compared struct {
	From        string             `json:"from"` // hashes of the sets
	To          string             `json:"to"`
	Pods        int                `json:"pods"`
	Fields      map[string]int     `json:"fields,omitempty"` // pods by the field that changes
	Differences []trial.Difference `json:"differences,omitempty"`
}

func newPolicyDiffCommand(dir, output *string) *cobra.Command {
	var labels map[string]string
	var against string
	var live bool
	var at cluster
	cmd := &cobra.Command{
		Use:   "diff [FILE...]",
		Short: "Compare two policies over manifests or the running pods; fails if they differ",
		Long: `Diff decides on every pod by the policy of --against (the default set where it is
not given) and by that of --dir, and shows in which fields they differ.

Running pods are taken as they were before they were stamped; for that, --against is
best the policy in force.`,
		Example: "  detnet policy diff -d new/ --against old/ deploy/*.yaml\n  detnet policy diff -d new/ --cluster",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, files []string) error {
			if live == (len(files) > 0) {
				return misuse("policy diff: give either manifests, as files, or --cluster")
			}
			from, err := compileDir(cmd.Context(), against)
			if err != nil {
				return err
			}
			to, err := compileDir(cmd.Context(), *dir)
			if err != nil {
				return err
			}
			var pods []trial.Subject
			if live {
				pods, err = liveSubjects(cmd.Context(), at, from)
			} else {
				pods, err = diffSubjects(cmd, files, labels)
			}
			if err != nil {
				return err
			}
			return diffPolicies(cmd, from, to, *output, pods)
		},
	}
	namespaceLabels(cmd, &labels)
	cmd.Flags().StringVar(&against, "against", "", "directory of the policy to compare with; empty: the default set")
	at.addFlags(cmd)
	cmd.Flags().BoolVar(&live, "cluster", false, "compare over the running pods of the current cluster")
	return answers(cmd, "a pod would change")
}

func diffSubjects(cmd *cobra.Command, files []string, labels map[string]string) ([]trial.Subject, error) {
	m, err := readManifests(cmd.InOrStdin(), files)
	return subjects(m, labels), err
}

func diffPolicies(cmd *cobra.Command, from, to *policies.Engine, output string, pods []trial.Subject) error {
	differences, err := trial.Run(cmd.Context(), from, to, pods)
	if err != nil {
		return err
	}
	result := compared{From: from.Hash(), To: to.Hash(), Pods: len(pods), Fields: map[string]int{}, Differences: differences}
	for _, d := range differences {
		for _, c := range d.Changes {
			result.Fields[c.Field]++
		}
	}
	if err := emit(cmd.OutOrStdout(), output, result, func(w io.Writer) { printCompared(w, result) }); err != nil {
		return err
	}
	if len(differences) > 0 {
		return found("%d of %d pods would change", len(differences), len(pods))
	}
	return nil
}

func compileDir(ctx context.Context, dir string) (*policies.Engine, error) {
	set, err := policySet(dir)
	if err != nil {
		return nil, err
	}
	return policies.Compile(ctx, set)
}

func printCompared(w io.Writer, c compared) {
	printDifferences(w, c.Differences)
	fmt.Fprintf(w, "%d of %d pods would change\n", len(c.Differences), c.Pods)
	printFields(w, c.Fields)
}

func printDifferences(w io.Writer, differences []trial.Difference) {
	for _, d := range differences {
		fmt.Fprintln(w, d.Source)
		if d.Error != "" {
			fmt.Fprintf(w, "  error: %s\n", d.Error)
		}
		for _, change := range d.Changes {
			fmt.Fprintf(w, "  %s: %s -> %s\n", change.Field, show(change.From), show(change.To))
		}
	}
}

// printFields says on how many pods each field differs.
func printFields(w io.Writer, fields map[string]int) {
	for _, field := range sortedKeys(fields) {
		fmt.Fprintf(w, "  %s: %d\n", field, fields[field])
	}
}

func show(v any) string {
	if v == nil {
		return "(none)"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
