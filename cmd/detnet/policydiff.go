package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	cmd := &cobra.Command{
		Use:   "diff [FILE...]",
		Short: "Compare two policies over manifests or the running pods; fails if they differ",
		Long: `Diff decides on every pod by the policy of --against (the default set where it is
not given) and by that of --dir, and shows in which fields they differ.`,
		Example: "  detnet policy diff -d new/ --against old/ deploy/*.yaml\n  detnet policy diff -d new/ --cluster",
		RunE: func(cmd *cobra.Command, files []string) error {
			if live == (len(files) > 0) {
				return errors.New("give either manifests or --cluster")
			}
			pods, err := diffSubjects(cmd, files, labels, live)
			if err != nil {
				return err
			}
			return diffPolicies(cmd, against, *dir, *output, pods)
		},
	}
	namespaceLabels(cmd, &labels)
	cmd.Flags().StringVar(&against, "against", "", "directory of the policy to compare with; empty: the default set")
	cmd.Flags().BoolVar(&live, "cluster", false, "compare over the running pods of the current cluster")
	return cmd
}

func diffSubjects(cmd *cobra.Command, files []string, labels map[string]string, live bool) ([]trial.Subject, error) {
	if live {
		return liveSubjects(cmd.Context())
	}
	m, err := readManifests(cmd.InOrStdin(), files)
	return subjects(m, labels), err
}

func diffPolicies(cmd *cobra.Command, against, dir, output string, pods []trial.Subject) error {
	from, err := compileDir(cmd.Context(), against)
	if err != nil {
		return err
	}
	to, err := compileDir(cmd.Context(), dir)
	if err != nil {
		return err
	}
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
		return fmt.Errorf("%d of %d pods would change", len(differences), len(pods))
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

// liveSubjects reads the pods of the cluster that kubectl would talk to.
func liveSubjects(ctx context.Context) ([]trial.Subject, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		return nil, fmt.Errorf("connect to the cluster: %w", err)
	}
	var namespaces corev1.NamespaceList
	if err := c.List(ctx, &namespaces); err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	byName := map[string]policies.Namespace{}
	for _, ns := range namespaces.Items {
		byName[ns.Name] = policies.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var out []trial.Subject
	for i := range pods.Items {
		pod := &pods.Items[i]
		raw, err := json.Marshal(pod)
		if err != nil {
			return nil, err
		}
		object, err := policies.ReadObject(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, trial.Subject{
			Source: "Pod " + pod.Namespace + "/" + pod.Name,
			Input:  policies.Input{Pod: object, Namespace: byName[pod.Namespace], Operation: "CREATE"},
		})
	}
	return out, nil
}
