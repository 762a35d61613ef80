package webhook

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/policies"
)

// podOf reads of a pod what a stamp depends on: a few fields of the metadata
// and of the spec. The policy has the object itself; to decode it a second time
// as a typed pod would cost as much as the policy does.
func podOf(o policies.Object) (*corev1.Pod, error) {
	meta, err := metadataOf(o)
	if err != nil {
		return nil, err
	}
	spec, err := objectAt(o, "spec")
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{ObjectMeta: meta}
	pod.Spec.HostNetwork, _ = spec["hostNetwork"].(bool)
	pod.Spec.PriorityClassName, _ = spec["priorityClassName"].(string)
	if number, ok := spec["priority"].(json.Number); ok {
		if value, err := number.Int64(); err == nil {
			priority := int32(value)
			pod.Spec.Priority = &priority
		}
	}
	if text, ok := spec["preemptionPolicy"].(string); ok {
		preemption := corev1.PreemptionPolicy(text)
		pod.Spec.PreemptionPolicy = &preemption
	}
	if system, ok := spec["os"].(map[string]any); ok {
		name, _ := system["name"].(string)
		pod.Spec.OS = &corev1.PodOS{Name: corev1.OSName(name)}
	}
	if affinity := spec["affinity"]; affinity != nil { // few pods have one
		if err := convert(affinity, &pod.Spec.Affinity); err != nil {
			return nil, fmt.Errorf("%w: spec.affinity: %w", policies.ErrInput, err)
		}
	}
	return pod, nil
}

// metadataOf reads labels, annotations and owners.
func metadataOf(o policies.Object) (metav1.ObjectMeta, error) {
	fields, err := objectAt(o, "metadata")
	if err != nil {
		return metav1.ObjectMeta{}, err
	}
	return metav1.ObjectMeta{
		Labels: texts(fields["labels"]), Annotations: texts(fields["annotations"]), OwnerReferences: owners(fields["ownerReferences"]),
	}, nil
}

// owners reads kind and name of the owners.
func owners(v any) []metav1.OwnerReference {
	list, _ := v.([]any)
	var out []metav1.OwnerReference
	for _, item := range list {
		fields, _ := item.(map[string]any)
		kind, _ := fields["kind"].(string)
		name, _ := fields["name"].(string)
		controller, _ := fields["controller"].(bool)
		out = append(out, metav1.OwnerReference{Kind: kind, Name: name, Controller: &controller})
	}
	return out
}

// objectAt returns the object at key, nil where there is none.
func objectAt(o policies.Object, key string) (map[string]any, error) {
	value := o[key]
	if value == nil {
		return nil, nil
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not an object", policies.ErrInput, key)
	}
	return object, nil
}

func texts(v any) map[string]string {
	fields, _ := v.(map[string]any)
	if len(fields) == 0 {
		return nil
	}
	out := make(map[string]string, len(fields))
	for key, value := range fields {
		out[key], _ = value.(string)
	}
	return out
}

// convert reads plain JSON values into a type.
func convert(from, to any) error {
	raw, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, to)
}
