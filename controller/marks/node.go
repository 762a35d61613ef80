package marks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/workload"
)

// taint replaces the whole list, the only way there is, so it must be the list
// that was read: a change in between is a conflict, and the next round's matter.
func taint(ctx context.Context, nodes corev1client.NodeInterface, name string, congested bool) error {
	node, err := nodes.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %s: %w", name, err)
	}
	taints := slices.DeleteFunc(slices.Clone(node.Spec.Taints), func(t corev1.Taint) bool { return t.Key == workload.TaintCongested })
	if congested {
		taints = append(taints, corev1.Taint{Key: workload.TaintCongested, Effect: corev1.TaintEffectPreferNoSchedule})
	}
	body := map[string]any{
		"metadata": map[string]any{"resourceVersion": node.ResourceVersion},
		"spec":     map[string]any{"taints": taints},
	}
	if err := patch(ctx, nodes, name, body); err != nil {
		return fmt.Errorf("taint node %s: %w", name, err)
	}
	return nil
}

// advertise writes the capacity; the kubelet makes it allocatable. 0 takes the
// resource away.
func advertise(ctx context.Context, nodes corev1client.NodeInterface, name string, r bitrate.Rate) error {
	var value any
	if r != 0 {
		value = resource.NewQuantity(int64(r), resource.DecimalSI)
	}
	body := map[string]any{"status": map[string]any{"capacity": map[string]any{workload.BestEffortBandwidth: value}}}
	if err := patch(ctx, nodes, name, body, "status"); err != nil {
		return fmt.Errorf("advertise the bandwidth of node %s: %w", name, err)
	}
	return nil
}

func patch(ctx context.Context, nodes corev1client.NodeInterface, name string, body any, subresource ...string) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	_, err = nodes.Patch(ctx, name, types.MergePatchType, text, metav1.PatchOptions{FieldManager: actuate.FieldManager}, subresource...)
	return err
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
	return strings.Join(all, ", ")
}

// Clear takes all marks off a node.
func Clear(ctx context.Context, nodes corev1client.NodeInterface, name string) error {
	return errors.Join(taint(ctx, nodes, name, false), advertise(ctx, nodes, name, 0))
}
