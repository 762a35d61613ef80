package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// deployed checks a Deployment: that it is there, that it is what was last asked
// for, and that every replica of that is available. While a new replica crash-loops
// the old ones serve on, with what was asked for before.
func deployed(name, without string) func(context.Context, client.Client, Install) (problem, advice string, err error) {
	return func(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
		var d appsv1.Deployment
		if err := c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, &d); err != nil {
			return "", "", err
		}
		wanted := int32(1)
		if d.Spec.Replicas != nil {
			wanted = *d.Spec.Replicas
		}
		status := d.Status
		switch {
		case wanted == 0:
			problem = "it is scaled to no replicas: " + without
		case status.ObservedGeneration < d.Generation:
			problem = "its last change has not been taken up: is the kube-controller-manager there?"
		case status.AvailableReplicas == 0:
			problem = "none of its replicas is available: " + without
		case status.UpdatedReplicas < wanted || status.AvailableReplicas < wanted || status.UnavailableReplicas > 0:
			problem = fmt.Sprintf("%d of %d replicas are available, %d of them as last asked for", status.AvailableReplicas, wanted, status.UpdatedReplicas)
		default:
			return "", "", nil
		}
		return problem + unready(ctx, c, i, d.Spec.Template.Labels), fmt.Sprintf("kubectl -n %s describe deployment %s, and its pods' logs", i.Namespace, name), nil
	}
}

// agentsRun checks both agents on every node that should have them.
func agentsRun(ctx context.Context, c client.Client, i Install) (problem, advice string, err error) {
	var problems []string
	for _, name := range []string{"detnet-agent-probe", "detnet-agent-node"} {
		var d appsv1.DaemonSet
		if err := c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, &d); err != nil {
			return "", "", err
		}
		status := d.Status
		switch ready := fmt.Sprintf("%s is ready on %d of %d nodes", name, status.NumberReady, status.DesiredNumberScheduled); {
		case status.NumberReady < status.DesiredNumberScheduled || status.DesiredNumberScheduled == 0:
			problems = append(problems, ready+unready(ctx, c, i, d.Spec.Template.Labels))
		case status.ObservedGeneration < d.Generation || status.UpdatedNumberScheduled < status.DesiredNumberScheduled:
			problems = append(problems, fmt.Sprintf("%s, on %d as last asked for", ready, status.UpdatedNumberScheduled))
		}
	}
	if len(problems) == 0 {
		return "", "", nil
	}
	return strings.Join(problems, "; "), fmt.Sprintf("kubectl -n %s get pods -o wide; what these nodes carry is not measured", i.Namespace), nil
}

// nodeAgent returns the DaemonSet without which no interface is read and no limit
// set, or what is wrong where it runs nowhere.
func nodeAgent(ctx context.Context, c client.Client, i Install) (d appsv1.DaemonSet, problem, advice string, err error) {
	const name = "detnet-agent-node"
	err = c.Get(ctx, client.ObjectKey{Namespace: i.Namespace, Name: name}, &d)
	switch {
	case apierrors.IsNotFound(err):
		return d, "there is no DaemonSet " + name + ": nobody reads what pods send", "helm upgrade the release", nil
	case err != nil:
		return d, "", "", err
	case d.Status.NumberReady == 0:
		return d, name + " is ready on no node: nobody reads what pods send", fmt.Sprintf("kubectl -n %s describe daemonset %s", i.Namespace, name), nil
	}
	return d, "", "", nil
}

// unready names the pods that are not ready, and why as far as the API server knows.
func unready(ctx context.Context, c client.Client, i Install, labels map[string]string) string {
	// What a template's other labels say, such as the version, old pods lack.
	selector := client.MatchingLabels{}
	for _, key := range []string{"app.kubernetes.io/name", "app.kubernetes.io/component"} {
		if value, ok := labels[key]; ok {
			selector[key] = value
		}
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(i.Namespace), selector); err != nil {
		return ""
	}
	var all []string
	for _, pod := range pods.Items {
		if why := notReady(pod); why != "" {
			all = append(all, pod.Name+" "+why)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// notReady says why a pod is not; empty if it is, or has ended.
func notReady(pod corev1.Pod) string {
	for _, s := range pod.Status.ContainerStatuses {
		if w := s.State.Waiting; w != nil && w.Reason != "" {
			if last := s.LastTerminationState.Terminated; last != nil {
				return fmt.Sprintf("%s after %d restarts, exit code %d%s", w.Reason, s.RestartCount, last.ExitCode, lastWords(last.Message))
			}
			return w.Reason
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return "can't be scheduled: " + condition.Message
		}
		if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionFalse && condition.Reason != "PodCompleted" {
			return "is not ready"
		}
	}
	return ""
}

// lastWords is what a program that failed said of it: the last line of its log, or the
// error in it. The kubelet keeps it, 2 KiB or 80 lines.
func lastWords(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	last := lines[len(lines)-1]
	var line struct {
		Err string `json:"err"`
	}
	if json.Unmarshal([]byte(last), &line) == nil {
		last = line.Err
	}
	if last == "" {
		return ""
	}
	return ": " + last
}
