package webhook

import (
	"encoding/json"
	"fmt"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"

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
	readPriority(spec, pod)
	if system, ok := spec["os"].(map[string]any); ok {
		name, _ := system["name"].(string)
		pod.Spec.OS = &corev1.PodOS{Name: corev1.OSName(name)}
	}
	pod.Spec.NodeSelector = texts(spec["nodeSelector"])
	if affinity := spec["affinity"]; affinity != nil { // few pods have one
		if err := convert(affinity, &pod.Spec.Affinity); err != nil {
			return nil, fmt.Errorf("%w: spec.affinity: %w", policies.ErrInput, err)
		}
	}
	return pod, nil
}

func readPriority(spec map[string]any, pod *corev1.Pod) {
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
}

// strippable reads what strip needs, of an object that podOf may refuse.
func strippable(o policies.Object) (*corev1.Pod, error) {
	if pod, err := podOf(o); err == nil {
		return pod, nil
	}
	meta, err := metadataOf(o)
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{ObjectMeta: meta}
	if spec, err := objectAt(o, "spec"); err == nil {
		readPriority(spec, pod)
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

// owners reads those of the owners that may exist. The API server takes any
// text for an owner's kind and name; one that names nothing is nobody, and
// nobody is asked for it.
func owners(v any) []metav1.OwnerReference {
	list, _ := v.([]any)
	var out []metav1.OwnerReference
	for _, item := range list {
		fields, _ := item.(map[string]any)
		var o metav1.OwnerReference
		o.APIVersion, _ = fields["apiVersion"].(string)
		o.Kind, _ = fields["kind"].(string)
		o.Name, _ = fields["name"].(string)
		controller, _ := fields["controller"].(bool)
		o.Controller = &controller
		if mayExist(o) {
			out = append(out, o)
		}
	}
	return out
}

// kindName is what a kind looks like (API conventions, Types).
var kindName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)

// mayExist reports whether apiVersion, kind and name are such that an object
// can have them.
func mayExist(o metav1.OwnerReference) bool {
	gv, err := schema.ParseGroupVersion(o.APIVersion)
	return err == nil && len(validation.IsDNS1035Label(gv.Version)) == 0 &&
		(gv.Group == "" || len(validation.IsDNS1123Subdomain(gv.Group)) == 0) &&
		kindName.MatchString(o.Kind) && o.Name != "" && len(o.Name) <= validation.DNS1123SubdomainMaxLength && len(content.IsPathSegmentName(o.Name)) == 0
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
