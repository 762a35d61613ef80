package netpol

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/detnet/detnet/workload"
)

// On every CiliumNetworkPolicy that detnet made, and nowhere else.
const (
	managedBy = "app.kubernetes.io/managed-by"
	detnet    = "detnet"
)

// policy is what is kept of a network policy of whatever kind.
type policy struct {
	metav1.ObjectMeta
	closes []closing
	// What only detnet's own have.
	rules   []rule
	refused string // why Cilium does not take it
}

// isOurs reports whether detnet made it.
func (p *policy) isOurs() bool { return p.Labels[managedBy] == detnet }

// yields reports whether the policy was made under that condition; one that says
// nothing of it is of an earlier release.
func (p *policy) yields() bool { return p.Annotations[workload.AnnotationYields] != "false" }

// concerns are the directions in which the policy restricts the subject.
func (p *policy) concerns(s subject) directions {
	var out directions
	for _, c := range p.closes {
		if maySelect(c.who, s) {
			out = out.or(c.directions)
		}
	}
	return out
}

// trimmed is what is kept of an object's metadata.
func trimmed(o *unstructured.Unstructured) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion()}
}

// ofCilium reads a CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy.
func ofCilium(o *unstructured.Unstructured) *policy {
	p := &policy{ObjectMeta: trimmed(o)}
	if o.GetNamespace() != "" && o.GetLabels()[managedBy] == detnet {
		p.Labels, p.Annotations = map[string]string{managedBy: detnet}, map[string]string{}
		if text, ok := o.GetAnnotations()[workload.AnnotationYields]; ok {
			p.Annotations[workload.AnnotationYields] = text
		}
		p.refused = refusal(o)
	}
	list, _, _ := unstructured.NestedSlice(o.Object, "specs")
	if spec, ok := o.Object["spec"]; ok {
		list = append([]any{spec}, list...)
	}
	for _, item := range list {
		fields, ok := item.(map[string]any)
		if !ok {
			p.closes = append(p.closes, unreadable)
			continue
		}
		if c, ok := rule(fields).closes(); ok {
			p.closes = append(p.closes, c)
		}
		if p.isOurs() {
			p.rules = append(p.rules, fields)
		}
	}
	return p
}

// refusal is what Cilium's operator says of a policy that it can't use.
func refusal(o *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		fields, _ := c.(map[string]any)
		if fields["type"] == "Valid" && fields["status"] == "False" {
			return fmt.Sprint(fields["message"])
		}
	}
	return ""
}

// ofKubernetes reads a NetworkPolicy.
func ofKubernetes(o *unstructured.Unstructured) *policy {
	p := &policy{ObjectMeta: trimmed(o)}
	var typed networkingv1.NetworkPolicy
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &typed); err != nil {
		p.closes = []closing{unreadable}
		return p
	}
	c := closing{who: &typed.Spec.PodSelector}
	for _, t := range typed.Spec.PolicyTypes { // the API server fills them in
		c.ingress = c.ingress || t == networkingv1.PolicyTypeIngress
		c.egress = c.egress || t == networkingv1.PolicyTypeEgress
	}
	p.closes = []closing{c}
	return p
}

// ofAdministrators reads a ClusterNetworkPolicy. One of the Admin tier comes
// before whatever others allow; one of the Baseline tier would give way to it,
// and whom it selects is not looked at.
func ofAdministrators(o *unstructured.Unstructured) *policy {
	p := &policy{ObjectMeta: trimmed(o)}
	if tier, _, _ := unstructured.NestedString(o.Object, "spec", "tier"); tier != "Admin" {
		p.closes = []closing{unreadable}
	}
	return p
}

// pod is what is kept of a pod that has a class.
type pod struct{ metav1.ObjectMeta }

// reference is what an Event about the pod regards; nil for none.
func (p *pod) reference() *corev1.ObjectReference {
	if p == nil {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID}
}

func (p *pod) class() string { return p.Labels[workload.LabelClass] }

// slimPod keeps what selects a pod and what tells its kind.
func slimPod(m *metav1.PartialObjectMetadata) *pod {
	p := &pod{metav1.ObjectMeta{Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Labels: m.Labels}}
	if text, ok := m.Annotations[workload.AnnotationDecision]; ok {
		p.Annotations = map[string]string{workload.AnnotationDecision: text}
	}
	if owner := metav1.GetControllerOf(m); owner != nil {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: owner.Kind, UID: owner.UID, Controller: owner.Controller}}
	}
	return p
}

// same reports whether nothing that matters differs.
func (p *pod) same(other *pod) bool {
	return p.UID == other.UID && maps.Equal(p.Labels, other.Labels) && maps.Equal(p.Annotations, other.Annotations)
}
