package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/detnet/detnet/workload"
)

// kind of a create.
type kind string

const (
	// dryRun goes all the way through the API server but for the last step.
	dryRun kind = "dry-run"
	// kept is stored; no scheduler takes it, so that no kubelet disturbs.
	kept kind = "kept"
)

// outcome of a create.
type outcome struct {
	took    time.Duration
	err     error
	stamped bool
	policy  string // what the stamp says about rules and policy
}

// create creates one pod.
func (b *bench) create(ctx context.Context, namespace string, k kind) outcome {
	var options metav1.CreateOptions
	if k == dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	pod := typicalPod()
	start := time.Now()
	created, err := b.client.CoreV1().Pods(namespace).Create(ctx, pod, options)
	o := outcome{took: time.Since(start), err: err}
	if err == nil {
		o.stamped = created.Labels[workload.LabelClass] != ""
		o.policy = created.Annotations[workload.AnnotationDecision]
	}
	return o
}

// typicalPod gets from the default policy a class, limits, a priority, an
// affinity and a Cilium policy.
func typicalPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "erp-dashboard-7d9c5b6f4-",
			Labels: map[string]string{
				workload.LabelPriority:        "best-effort",
				"app.kubernetes.io/name":      "erp-dashboard",
				"app.kubernetes.io/component": "web",
				"pod-template-hash":           "7d9c5b6f4",
			},
			Annotations: map[string]string{"prometheus.io/scrape": "true", workload.AnnotationMaxBandwidth: "400M"},
		},
		Spec: corev1.PodSpec{
			SchedulerName: "nobody",
			Containers: []corev1.Container{{
				Name:  "web",
				Image: "example.com/erp/dashboard:1.4.2",
				Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}},
				Env:   []corev1.EnvVar{{Name: "LISTEN", Value: ":80"}, {Name: "LOG_LEVEL", Value: "info"}},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
				}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}}},
			}},
		},
	}
}

// sweep deletes the pods that were kept.
func (b *bench) sweep(ctx context.Context) error {
	for _, namespace := range []string{served, ignored} {
		if err := b.client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			return fmt.Errorf("delete the pods of %s: %w", namespace, err)
		}
	}
	return nil
}
