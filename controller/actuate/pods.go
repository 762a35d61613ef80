package actuate

import (
	"context"
	"encoding/json"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/detnet/detnet/controller/plan"
)

// FieldManager names detnet in a pod's managedFields.
const FieldManager = "detnet-controller"

// Pods is an Annotator for pods.
type Pods struct {
	Client corev1client.PodsGetter
}

// Annotate sends a JSON merge patch (RFC 7386) of metadata.annotations alone.
// It carries the UID, so that a namesake refuses it. Patch, unlike apply, can't
// create.
func (p Pods) Annotate(ctx context.Context, pod plan.PodID, uid types.UID, annotations map[string]string) error {
	values := make(map[string]any, len(annotations))
	for key, value := range annotations {
		values[key] = value
		if value == "" {
			values[key] = nil
		}
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": uid, "annotations": values},
	})
	if err != nil {
		return fmt.Errorf("encode annotations: %w", err)
	}
	_, err = p.Client.Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}
