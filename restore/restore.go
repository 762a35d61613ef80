// Package restore puts back what detnet changed in a cluster, for when it is
// taken out or is to stop: the limits that pods were admitted with, the
// templates of workloads, and the marks of nodes.
package restore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/marks"
	"github.com/detnet/detnet/controller/rollout"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Change is one object that is not as it was before detnet.
type Change struct {
	Object   string // "pod factory/telemetry-0", "Deployment factory/telemetry", "node worker-1"
	From, To string // its limit, "" for none; a node's marks
	apply    func(context.Context) error
}

// Find lists what would change in namespace; "" is all, nodes included. What
// can't be read is reported and left alone.
func Find(ctx context.Context, client kubernetes.Interface, namespace string) ([]Change, error) {
	var all []Change
	var errs []error
	to := write.New(client, nil, nil, slog.New(slog.DiscardHandler)) // what is refused is told to the caller
	// Templates come first: their pods are replaced anyway.
	finders := []func() ([]Change, error){
		func() ([]Change, error) { return templates(ctx, client, to, namespace) },
		func() ([]Change, error) { return pods(ctx, client, to, namespace, workload.LabelClass, stamped) },
		func() ([]Change, error) { return pods(ctx, client, to, namespace, "!"+workload.LabelClass, unstamped) },
	}
	if namespace == "" {
		finders = append(finders, func() ([]Change, error) { return nodes(ctx, client, to) })
	}
	for _, find := range finders {
		changes, err := find()
		all = append(all, changes...)
		errs = append(errs, err)
	}
	return all, errors.Join(errs...)
}

// Apply makes the changes and calls done after each that was made. Objects that
// have gone meanwhile are no error.
func Apply(ctx context.Context, changes []Change, done func(Change)) error {
	var errs []error
	for _, c := range changes {
		err := c.apply(ctx)
		switch {
		case err == nil:
			done(c)
		case !write.Gone(err):
			errs = append(errs, fmt.Errorf("restore %s: %w", c.Object, err))
		}
	}
	return errors.Join(errs...)
}

// page is the number of pods asked for at once.
const page = 500

func pods(ctx context.Context, client kubernetes.Interface, to *write.Writer, namespace, selector string, before func(map[string]string) (map[string]string, error)) ([]Change, error) {
	var all []Change
	var errs []error
	for options := (metav1.ListOptions{LabelSelector: selector, Limit: page}); ; {
		list, err := client.CoreV1().Pods(namespace).List(ctx, options)
		if err != nil {
			return all, fmt.Errorf("list pods: %w", err)
		}
		for _, pod := range list.Items {
			id := write.Target{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
			annotations, err := before(pod.Annotations)
			switch {
			case err != nil:
				errs = append(errs, fmt.Errorf("%s: annotation %s: %w", id, workload.AnnotationInitialBandwidth, err))
			case annotations != nil && running(&pod):
				all = append(all, Change{
					Object: "pod " + pod.Namespace + "/" + pod.Name, From: pod.Annotations[workload.AnnotationEgressBandwidth], To: annotations[workload.AnnotationEgressBandwidth],
					apply: func(ctx context.Context) error { return to.Do(ctx, write.Change{Target: id, Annotations: annotations}) },
				})
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return all, errors.Join(errs...)
		}
	}
}

func running(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// stamped pods get the limit that they were admitted with; the rest of the
// stamp is theirs for life.
func stamped(has map[string]string) (map[string]string, error) {
	initial, ok := has[workload.AnnotationInitialBandwidth]
	if !ok || has[workload.AnnotationEgressBandwidth] == initial && has[workload.AnnotationLimitDecision] == "" {
		return nil, nil
	}
	if _, err := bitrate.ParseLimit(initial); err != nil {
		return nil, err
	}
	return map[string]string{workload.AnnotationEgressBandwidth: initial, workload.AnnotationLimitDecision: ""}, nil
}

// unstamped pods are those of static targets: nothing of detnet stays on them.
func unstamped(has map[string]string) (map[string]string, error) {
	initial, ok := has[workload.AnnotationInitialBandwidth]
	if !ok {
		return nil, nil
	}
	if initial == workload.NoLimit {
		initial = ""
	}
	return map[string]string{workload.AnnotationEgressBandwidth: initial, workload.AnnotationInitialBandwidth: "", workload.AnnotationLimitDecision: ""}, nil
}

func templates(ctx context.Context, client kubernetes.Interface, to *write.Writer, namespace string) ([]Change, error) {
	changed, err := rollout.Find(ctx, client, namespace)
	var all []Change
	for _, c := range changed {
		all = append(all, Change{c.String(), c.From, c.To, func(ctx context.Context) error { return c.Undo(ctx, to) }})
	}
	return all, err
}

func nodes(ctx context.Context, client kubernetes.Interface, to *write.Writer) ([]Change, error) {
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		if apierrors.IsForbidden(err) {
			err = fmt.Errorf("%w; nodes may still be marked", err)
		}
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	var all []Change
	for _, node := range list.Items {
		if carried := marks.Of(&node); carried != "" {
			all = append(all, Change{"node " + node.Name, carried, "", func(ctx context.Context) error {
				return marks.Clear(ctx, client.CoreV1().Nodes(), to, node.Name)
			}})
		}
	}
	return all, nil
}
