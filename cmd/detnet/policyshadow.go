package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/policies/trial"
)

// shadowed is what the replicas say of the candidate they try, added up.
type shadowed struct {
	Active    string             `json:"active"` // hashes of the sets
	Candidate string             `json:"candidate"`
	Replicas  int                `json:"replicas"`
	Pods      int                `json:"pods"`
	Changed   int                `json:"changed"`
	Failed    int                `json:"failed"`
	Skipped   int                `json:"skipped"`
	Fields    map[string]int     `json:"fields,omitempty"`
	Examples  []trial.Difference `json:"examples,omitempty"`
}

func newPolicyShadowCommand(dir, output *string) *cobra.Command {
	var at cluster
	cmd := &cobra.Command{
		Use:   "shadow",
		Short: "Show what the candidate policy would change of the pods created lately; fails if it would",
		Long: `The webhook tries a candidate (the chart's policy.shadow) on every pod that is
created, without effect, and counts where it would have decided otherwise. Shadow
adds up what its replicas say, read through the API server. With --dir it makes
sure that this is the candidate they try.

To try a policy on the pods that run already: detnet policy diff --cluster.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := at.connect()
			if err != nil {
				return err
			}
			statuses, err := webhookStatuses(cmd.Context(), client, at.install)
			if err != nil {
				return err
			}
			sum, err := addShadows(statuses)
			if err != nil {
				return err
			}
			if err := isCandidate(*dir, sum.Candidate); err != nil {
				return err
			}
			if err := emit(cmd.OutOrStdout(), *output, sum, func(w io.Writer) { printShadowed(w, sum) }); err != nil {
				return err
			}
			if n := sum.Changed + sum.Failed; n > 0 {
				return found("%d of %d pods would change", n, sum.Pods)
			}
			return nil
		},
	}
	at.addFlags(cmd)
	at.addInstallFlag(cmd)
	return answers(cmd, "a pod would change")
}

// webhookStatuses asks every replica that is ready, by the name of its pod.
func webhookStatuses(ctx context.Context, client kubernetes.Interface, namespace string) (map[string]live.Status, error) {
	replicas, err := live.Replicas(ctx, client, namespace)
	out := map[string]live.Status{}
	for _, r := range replicas {
		if r.Ready {
			out[r.Pod] = r.Status
		}
	}
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no webhook is ready in namespace %s: see kubectl -n %s get pods, or name detnet's namespace with --%s", namespace, namespace, installFlag)
	}
	return out, err
}

var errNoShadow = errors.New("the webhook tries no candidate: give it one in the chart's policy.shadow (--policy-shadow-dir)")

// addShadows adds up what replicas say that try the same candidate.
func addShadows(statuses map[string]live.Status) (shadowed, error) {
	sum := shadowed{Fields: map[string]int{}}
	for _, name := range sortedKeys(statuses) {
		status := statuses[name]
		s := status.Shadow
		switch {
		case s == nil:
			return sum, fmt.Errorf("pod %s: %w", name, errNoShadow)
		case s.LastError != "":
			return sum, fmt.Errorf("pod %s refuses the candidate: %s", name, s.LastError)
		case sum.Candidate != "" && s.Hash != sum.Candidate:
			return sum, fmt.Errorf("pod %s tries candidate %s and others %s: a change is under way, try again in a minute", name, s.Hash, sum.Candidate)
		}
		sum.Active, sum.Candidate = status.Hash, s.Hash
		sum.Replicas++
		sum.Pods, sum.Changed, sum.Failed, sum.Skipped = sum.Pods+s.Pods, sum.Changed+s.Changed, sum.Failed+s.Failed, sum.Skipped+s.Skipped
		for field, n := range s.Fields {
			sum.Fields[field] += n
		}
		sum.Examples = addExamples(sum.Examples, s.Examples)
	}
	return sum, nil
}

// addExamples appends those of workloads that are not there yet.
func addExamples(have, more []trial.Difference) []trial.Difference {
	known := map[string]bool{}
	for _, d := range have {
		known[d.Source] = true
	}
	for _, d := range more {
		if !known[d.Source] {
			have = append(have, d)
		}
	}
	return have
}

// isCandidate checks that the policy in dir, if one is given, is the one that
// the webhook tries.
func isCandidate(dir, hash string) error {
	if dir == "" {
		return nil
	}
	set, err := policySet(dir)
	if err != nil {
		return err
	}
	if set.Hash() != hash {
		return fmt.Errorf("the webhook tries candidate %s, and %s is %s: has it been rolled out?", hash, dir, set.Hash())
	}
	return nil
}

func printShadowed(w io.Writer, s shadowed) {
	fmt.Fprintf(w, "candidate %s beside policy %s on %d replicas\n", s.Candidate, s.Active, s.Replicas)
	printDifferences(w, s.Examples)
	fmt.Fprintf(w, "%d of %d pods would change, %d could not be decided, %d were not compared\n", s.Changed, s.Pods, s.Failed, s.Skipped)
	printFields(w, s.Fields)
}
