package marks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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

// Remove takes the marks off all nodes and calls done for each that had any.
func Remove(ctx context.Context, nodes corev1client.NodeInterface, done func(node string)) error {
	list, err := nodes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list nodes: %w", err)
	}
	var errs []error
	for _, node := range list.Items {
		_, advertises := node.Status.Capacity[workload.BestEffortBandwidth]
		marked := slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == workload.TaintCongested })
		var one error
		if marked {
			one = taint(ctx, nodes, node.Name, false)
		}
		if advertises {
			one = errors.Join(one, advertise(ctx, nodes, node.Name, 0))
		}
		if one != nil {
			errs = append(errs, one)
		} else if marked || advertises {
			done(node.Name)
		}
	}
	return errors.Join(errs...)
}
