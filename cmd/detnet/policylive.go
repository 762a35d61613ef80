package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/policies/trial"
	"github.com/detnet/detnet/webhook"
	"github.com/detnet/detnet/workload"
)

// liveSubjects reads the pods of the cluster that kubectl would talk to, as they
// were before the policy in force, from, stamped them.
func liveSubjects(ctx context.Context, at cluster, from *policies.Engine) ([]trial.Subject, error) {
	config, err := at.config()
	if err != nil {
		return nil, err
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
		in := policies.Input{Pod: object, Namespace: byName[pod.Namespace], Operation: "CREATE"}
		out = append(out, trial.Subject{Source: "Pod " + pod.Namespace + "/" + pod.Name, Input: unstamped(ctx, from, in)})
	}
	return out, nil
}

// unstamped takes off a live pod what the policy in force put on it: otherwise
// the stamp would pass for a wish, and a bound that the old policy gave for one
// that its owner asked for. What differs from the policy's own stamp was asked
// for, and stays, but for the limit, which the controller moves.
func unstamped(ctx context.Context, from *policies.Engine, in policies.Input) policies.Input {
	meta, _ := in.Pod["metadata"].(map[string]any)
	live, _ := meta["annotations"].(map[string]any)
	if live[workload.AnnotationDecision] == nil {
		return in
	}
	bare := maps.Clone(live)
	for _, key := range workload.ManagedAnnotations {
		delete(bare, key)
	}
	labels, _ := meta["labels"].(map[string]any)
	labels = maps.Clone(labels)
	delete(labels, workload.LabelClass)
	meta = maps.Clone(meta)
	meta["annotations"], meta["labels"] = bare, labels
	in.Pod = maps.Clone(in.Pod)
	in.Pod["metadata"] = meta

	d, err := from.Decide(ctx, in)
	if err != nil {
		return in // and the comparison says so
	}
	given := stampOf(d)
	for _, key := range workload.ManagedAnnotations {
		switch key {
		case workload.AnnotationDecision, workload.AnnotationRank, workload.AnnotationInitialBandwidth, workload.AnnotationEgressBandwidth:
			continue
		}
		if text, ok := live[key]; ok && text != given[key] {
			bare[key] = text
		}
	}
	return in
}

// stampOf is the annotations that the decision puts on a pod without any.
func stampOf(d policies.Decision) map[string]string {
	ops, _ := webhook.Patch(&corev1.Pod{}, d, webhook.Setting{})
	for _, op := range ops {
		if members, ok := op.Value.(map[string]string); ok && op.Path == "/metadata/annotations" {
			return members
		}
	}
	return nil
}
