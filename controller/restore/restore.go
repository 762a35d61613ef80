// Package restore puts the limits that pods were admitted with back, for when
// detnet is taken out or is to stop.
package restore

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Change is one pod whose limit is not the one it was admitted with.
type Change struct {
	Pod      plan.PodID
	UID      types.UID
	From, To string // annotation values
}

// Find lists what would change in namespace, "" for all. A pod whose original
// limit can't be read is reported and left alone.
func Find(ctx context.Context, pods corev1client.PodsGetter, namespace string) ([]Change, error) {
	list, err := pods.Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: workload.LabelClass})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	var changes []Change
	var errs []error
	for _, pod := range list.Items {
		initial, ok := pod.Annotations[workload.InitialBandwidth]
		now := pod.Annotations[workload.EgressBandwidth]
		if !ok || now == initial {
			continue
		}
		id := plan.PodID{Namespace: pod.Namespace, Name: pod.Name}
		if _, err := bitrate.Parse(initial); err != nil {
			errs = append(errs, fmt.Errorf("pod %s: annotation %s: %w", id, workload.InitialBandwidth, err))
			continue
		}
		changes = append(changes, Change{id, pod.UID, now, initial})
	}
	return changes, errors.Join(errs...)
}

// Apply makes the changes and calls done after each that was made. Pods that
// have gone meanwhile are no error.
func Apply(ctx context.Context, to actuate.Annotator, changes []Change, done func(Change)) error {
	var errs []error
	for _, c := range changes {
		err := to.Annotate(ctx, c.Pod, c.UID, map[string]string{workload.EgressBandwidth: c.To})
		switch {
		case err == nil:
			done(c)
		case !actuate.Gone(err):
			errs = append(errs, fmt.Errorf("restore pod %s: %w", c.Pod, err))
		}
	}
	return errors.Join(errs...)
}
