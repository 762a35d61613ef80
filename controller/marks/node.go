package marks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// taint replaces the whole list, the only way there is, so it must be the list
// that was read: a change in between is a conflict, and the next round's matter.
func taint(ctx context.Context, to *write.Writer, node *corev1.Node, congested bool) error {
	taints := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool { return t.Key == workload.TaintCongested })
	if congested {
		taints = append(taints, corev1.Taint{Key: workload.TaintCongested, Effect: corev1.TaintEffectPreferNoSchedule})
	}
	return to.Do(ctx, write.Change{
		Target: target(node), Version: node.ResourceVersion,
		Merge: map[string]any{"spec": map[string]any{"taints": taints}},
	})
}

// advertise writes the capacity; the kubelet makes it allocatable. 0 takes the
// resource away.
func advertise(ctx context.Context, to *write.Writer, node *corev1.Node, r bitrate.Rate) error {
	var value any
	if r != 0 {
		value = resource.NewQuantity(int64(r), resource.DecimalSI)
	}
	return to.Do(ctx, write.Change{
		Target: target(node), Subresource: "status",
		Merge: map[string]any{"status": map[string]any{"capacity": map[string]any{workload.BestEffortBandwidth: value}}},
	})
}

func target(node *corev1.Node) write.Target {
	return write.Target{Kind: "Node", Name: node.Name, UID: node.UID}
}

// Of names the marks that a node carries; "" is none.
func Of(node *corev1.Node) string {
	var all []string
	if slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == workload.TaintCongested }) {
		all = append(all, "taint "+workload.TaintCongested)
	}
	if q, ok := node.Status.Capacity[workload.BestEffortBandwidth]; ok {
		all = append(all, workload.BestEffortBandwidth+" "+q.String())
	}
	if found := node.Annotations[workload.AnnotationUplinkFound]; found != "" {
		all = append(all, workload.AnnotationUplinkFound+" "+found)
	}
	return strings.Join(all, ", ")
}

// Clear takes all marks off a node.
func Clear(ctx context.Context, nodes corev1client.NodeInterface, to *write.Writer, name string) error {
	node, err := nodes.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", name, err)
	}
	errs := []error{taint(ctx, to, node, false), advertise(ctx, to, node, 0)}
	if _, noted := node.Annotations[workload.AnnotationUplinkFound]; noted {
		errs = append(errs, remember(ctx, to, node, workload.Found{}))
	}
	return errors.Join(errs...)
}
