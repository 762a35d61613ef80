package live

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// replicas lists the chart's webhook pods that run.
func replicas(ctx context.Context, client kubernetes.Interface, namespace string) ([]corev1.Pod, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/name=detnet,app.kubernetes.io/component=webhook", FieldSelector: "status.phase=Running",
	})
	if err != nil {
		return nil, fmt.Errorf("find the webhook's pods in namespace %s: %w", namespace, err)
	}
	return pods.Items, nil
}

// Replica is a webhook of the chart, and what it says of its policy.
type Replica struct {
	Pod    string
	Ready  bool
	Status Status
}

// Replicas asks every replica of the webhook. It takes the permissions to list pods and to get
// pods/proxy. One that is not ready and does not answer is left out.
func Replicas(ctx context.Context, client kubernetes.Interface, namespace string) ([]Replica, error) {
	pods, err := replicas(ctx, client, namespace)
	if err != nil {
		return nil, err
	}
	var out []Replica
	for _, pod := range pods {
		raw, err := client.CoreV1().Pods(namespace).ProxyGet("http", pod.Name, metricsPort(&pod), "status", nil).DoRaw(ctx)
		if err != nil && !ready(&pod) && !apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("ask pod %s/%s for its status (this takes the permission get on pods/proxy): %w", namespace, pod.Name, err)
		}
		var answer struct{ Policy Status }
		if err := json.Unmarshal(raw, &answer); err != nil {
			return nil, fmt.Errorf("read the status of pod %s/%s: %w", namespace, pod.Name, err)
		}
		out = append(out, Replica{pod.Name, ready(&pod), answer.Policy})
	}
	return out, nil
}

// metricsPort is where a replica answers; the API server does not look names of ports up.
func metricsPort(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == "metrics" {
				return strconv.Itoa(int(p.ContainerPort))
			}
		}
	}
	return "8080"
}

func ready(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
