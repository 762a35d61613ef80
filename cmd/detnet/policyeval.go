package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	jsonpatch "gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
	"github.com/detnet/detnet/webhook"
)

// evaluated is what a policy makes of one pod.
type evaluated struct {
	Source   string                `json:"source"`
	Decision policies.Decision     `json:"decision"`
	Patch    []jsonpatch.Operation `json:"patch,omitempty"`
	Warnings []string              `json:"warnings,omitempty"`
	Error    string                `json:"error,omitempty"`
	Rules    []policies.Fired      `json:"rules,omitempty"`

	pod corev1.Pod
}

func newPolicyEvalCommand(dir, output *string) *cobra.Command {
	var labels map[string]string
	var complete bool
	cmd := &cobra.Command{
		Use:     "eval FILE...",
		Short:   "Show what the policy makes of manifests; fails if a pod is refused",
		Example: "  detnet policy eval deployment.yaml\n  helm template . | detnet policy eval -d policy/ --namespace-labels detnet.dev/allow-critical=true -",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return evalManifests(cmd, *dir, *output, files, labels, false, complete)
		},
	}
	namespaceLabels(cmd, &labels)
	cmd.Flags().BoolVar(&complete, "complete", false, "fail if a kind was skipped, because detnet does not know whether it makes pods")
	return answers(cmd, "a pod is refused")
}

func newPolicyExplainCommand(dir, output *string) *cobra.Command {
	var labels map[string]string
	cmd := &cobra.Command{
		Use:   "explain FILE...",
		Short: "Show which rules led to the decision on manifests",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			return evalManifests(cmd, *dir, *output, files, labels, true, false)
		},
	}
	namespaceLabels(cmd, &labels)
	return answers(cmd, "a pod is refused")
}

func namespaceLabels(cmd *cobra.Command, labels *map[string]string) {
	cmd.Flags().StringToStringVar(labels, "namespace-labels", nil, "labels of namespaces that the manifests do not describe")
}

var (
	errRefused     = finding{errors.New("at least one pod is refused")}
	errUnevaluated = unusable{errors.New("at least one pod could not be evaluated")}
)

func evalManifests(cmd *cobra.Command, dir, output string, files []string, labels map[string]string, explain, complete bool) error {
	set, err := policySet(dir)
	if err != nil {
		return err
	}
	engine, err := policies.Compile(cmd.Context(), set)
	if err != nil {
		return err
	}
	m, err := readManifests(cmd.InOrStdin(), files)
	if err != nil {
		return err
	}
	var results []evaluated
	var refused, unevaluated error
	for _, s := range subjects(m, labels) {
		result := evaluate(cmd, engine, s, explain)
		if result.Error != "" {
			unevaluated = errUnevaluated
		} else if len(result.Decision.Deny) > 0 {
			refused = errRefused
		}
		results = append(results, result)
	}
	if err := emit(cmd.OutOrStdout(), output, results, func(w io.Writer) { printEvaluated(w, results) }); err != nil {
		return err
	}
	if text := skipped(m); text != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), strings.TrimPrefix(text, "; "))
		if complete {
			unevaluated = errors.Join(unevaluated, unusable{errors.New("--complete: a kind was skipped")})
		}
	}
	return errors.Join(refused, unevaluated)
}

// evaluate decides and patches as the webhook would, where the classes that
// the decision names exist.
func evaluate(cmd *cobra.Command, engine *policies.Engine, s trial.Subject, explain bool) evaluated {
	result := evaluated{Source: s.Source}
	raw, err := json.Marshal(s.Input.Pod)
	if err == nil {
		err = json.Unmarshal(raw, &result.pod)
	}
	if err == nil && explain {
		result.Decision, result.Rules, err = engine.Explain(cmd.Context(), s.Input)
	} else if err == nil {
		result.Decision, err = engine.Decide(cmd.Context(), s.Input)
	}
	if err != nil {
		result.Error = err.Error()
		return result
	}
	wanted := &schedulingv1.PriorityClass{}
	wanted.Name = result.Decision.PriorityClassName
	ops, warnings := webhook.Patch(&result.pod, result.Decision, webhook.Setting{Priorities: webhook.Priorities{Wanted: wanted}})
	for _, op := range ops {
		// Their values are the cluster's, which is not asked.
		if op.Path != "/spec/priority" && op.Path != "/spec/preemptionPolicy" {
			result.Patch = append(result.Patch, op)
		}
	}
	result.Warnings = result.Decision.Warn()
	for _, w := range warnings {
		result.Warnings = append(result.Warnings, w.Message)
	}
	return result
}

func printEvaluated(w io.Writer, results []evaluated) {
	for _, r := range results {
		class := r.Decision.Class
		if class == "" {
			class = "left alone"
		}
		fmt.Fprintf(w, "%s: %s\n", r.Source, class)
		if r.Error != "" {
			fmt.Fprintf(w, "  error: %s\n", r.Error)
		}
		for _, reason := range r.Decision.Deny {
			fmt.Fprintf(w, "  refused: %s\n", reason)
		}
		for _, warning := range r.Warnings {
			fmt.Fprintf(w, "  warning: %s\n", warning)
		}
		for _, op := range r.Patch {
			printOperation(w, op, r.pod)
		}
		for _, p := range r.Decision.NetworkPolicies {
			fmt.Fprintf(w, "  + CiliumNetworkPolicy %s\n", p.Name)
		}
		for _, f := range r.Rules {
			fmt.Fprintf(w, "  by %s  %s:%d\n", f.Rule, f.File, f.Line)
		}
	}
}

// printOperation shows an operation as a line of a diff.
func printOperation(w io.Writer, op jsonpatch.Operation, pod corev1.Pod) {
	path := strings.NewReplacer("~1", "/", "~0", "~").Replace(strings.TrimPrefix(op.Path, "/"))
	if members, ok := op.Value.(map[string]string); ok {
		for _, key := range sortedKeys(members) {
			fmt.Fprintf(w, "  + %s/%s: %s\n", path, key, members[key])
		}
		return
	}
	old := ""
	if key, ok := strings.CutPrefix(path, "metadata/annotations/"); ok {
		old = pod.Annotations[key]
	} else if key, ok := strings.CutPrefix(path, "metadata/labels/"); ok {
		old = pod.Labels[key]
	}
	if old != "" {
		fmt.Fprintf(w, "  - %s: %s\n", path, old)
	}
	if op.Operation == "remove" {
		return
	}
	value, ok := op.Value.(string)
	if !ok {
		raw, _ := json.Marshal(op.Value)
		value = string(raw)
	}
	fmt.Fprintf(w, "  + %s: %s\n", path, value)
}
