package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/cmd/detnet/text"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/manifest"
	"github.com/detnet/detnet/policies/trial"
)

func newPolicyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Test, check and try the policy that decides what pods get",
		Long: `A policy is a directory of *.rego and *.yaml files, laid over the default set:
a file of the same name replaces the default's, other data is merged into it.
Without --dir the default set itself is used.`,
	}
	var dir, output string
	cmd.PersistentFlags().StringVarP(&dir, "dir", "d", "", "directory of the policy")
	cmd.PersistentFlags().VarP(format(&output, "text", "json", "yaml"), "output", "o", "text, json or yaml")
	cmd.AddCommand(
		newPolicyTestCommand(&dir, &output),
		newPolicyCheckCommand(&dir, &output),
		newPolicyEvalCommand(&dir, &output),
		newPolicyDiffCommand(&dir, &output),
		newPolicyExplainCommand(&dir, &output),
		newPolicyShadowCommand(&dir, &output),
	)
	return cmd
}

// policySet is the set in dir, over the default one.
func policySet(dir string) (policies.Set, error) {
	if dir == "" {
		return policies.Default(), nil
	}
	site, err := policies.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(site) == 0 {
		return nil, fmt.Errorf("policy directory %s: no *.rego or *.yaml files directly in it", dir)
	}
	return site.Over(policies.Default()), nil
}

// emit writes v as JSON or YAML, or calls text.
func emit(w io.Writer, output string, v any, write func(io.Writer)) error {
	switch output {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(v)
	case "yaml":
		out, err := yaml.Marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(out)
		return err
	}
	write(text.Plain(w))
	return nil
}

// readManifests reads files, "-" being the standard input.
func readManifests(stdin io.Reader, files []string) (manifest.Manifest, error) {
	all := manifest.Manifest{Namespaces: map[string]policies.Namespace{}, Skipped: map[string]int{}}
	for _, name := range files {
		m, err := readManifest(stdin, name)
		if err != nil {
			return all, fmt.Errorf("read manifest %s: %w", name, err)
		}
		all.Pods = append(all.Pods, m.Pods...)
		for name, ns := range m.Namespaces {
			all.Namespaces[name] = ns
		}
		for kind, n := range m.Skipped {
			all.Skipped[kind] += n
		}
	}
	if len(all.Pods) == 0 {
		return all, fmt.Errorf("no pods in these manifests%s: want Pods, ReplicationControllers, Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs, CronJobs, Argo Rollouts, DeploymentConfigs, Knative Services or JobSets", skipped(all))
	}
	return all, nil
}

// skipped names the kinds of which nothing is known, "" if there are none.
func skipped(m manifest.Manifest) string {
	var kinds []string
	for _, kind := range sortedKeys(m.Skipped) {
		kinds = append(kinds, fmt.Sprintf("%s (%d)", kind, m.Skipped[kind]))
	}
	if kinds == nil {
		return ""
	}
	return "; skipped, because detnet does not know whether they make pods: " + strings.Join(kinds, ", ")
}

func readManifest(stdin io.Reader, name string) (manifest.Manifest, error) {
	from := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return manifest.Manifest{}, err
		}
		defer f.Close()
		from = f
	}
	bounded := &io.LimitedReader{R: from, N: maxManifest}
	m, err := manifest.Read(bounded)
	if bounded.N == 0 {
		return m, fmt.Errorf("it has %d MiB or more: split it", maxManifest>>20)
	}
	return m, err
}

// maxManifest bounds a manifest, in bytes: thousands of pods, as kubectl writes them.
const maxManifest = 64 << 20

// subjects are the pods of m in their namespaces; labels are added to those
// that the manifests do not describe.
func subjects(m manifest.Manifest, labels map[string]string) []trial.Subject {
	out := make([]trial.Subject, len(m.Pods))
	for i, p := range m.Pods {
		ns, ok := m.Namespaces[p.Namespace]
		if !ok {
			ns = policies.Namespace{Name: p.Namespace, Labels: labels}
		}
		out[i] = trial.Subject{Source: p.Source, Input: policies.Input{Pod: p.Object, Namespace: ns, Operation: "CREATE"}}
	}
	return out
}
