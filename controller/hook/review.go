package hook

import (
	"encoding/json"
	"fmt"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// asker is who the webhook is told to be asking: nobody whom a policy could
// trust, since the one who created the pod is not known any more.
const asker = "detnet:repair"

// ReviewOf is the review of a pod that exists, as if it were created now: the
// request's UID, and the review as JSON.
func ReviewOf(pod *corev1.Pod) (types.UID, []byte, error) {
	object, err := json.Marshal(AsCreated(pod))
	if err != nil {
		return "", nil, fmt.Errorf("encode pod: %w", err)
	}
	review := admissionv1.AdmissionReview{Request: &admissionv1.AdmissionRequest{
		UID:       types.UID("repair-" + string(pod.UID)),
		Kind:      metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Resource:  metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Namespace: pod.Namespace, Name: pod.Name,
		Operation: admissionv1.Create,
		UserInfo:  authenticationv1.UserInfo{Username: asker},
		Object:    runtime.RawExtension{Raw: object},
	}}
	review.SetGroupVersionKind(admissionv1.SchemeGroupVersion.WithKind("AdmissionReview"))
	body, err := json.Marshal(review)
	if err != nil {
		return "", nil, fmt.Errorf("encode review: %w", err)
	}
	return review.Request.UID, body, nil
}

// AsCreated is the pod as its creator sent it, as far as that can be told.
func AsCreated(pod *corev1.Pod) *corev1.Pod {
	fresh := pod.DeepCopy()
	fresh.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	fresh.UID, fresh.ResourceVersion, fresh.Generation, fresh.ManagedFields = "", "", 0, nil
	fresh.CreationTimestamp = metav1.Time{}
	fresh.Spec.NodeName = ""
	fresh.Status = corev1.PodStatus{}
	return fresh
}
