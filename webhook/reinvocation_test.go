package webhook_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/workload"
)

// injectSidecar is another mutating webhook: it adds a container with a port
// and an annotation, once.
func injectSidecar(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response := &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: true}
	if !strings.Contains(string(review.Request.Object.Raw), `"sidecar"`) {
		kind := admissionv1.PatchTypeJSONPatch
		response.PatchType = &kind
		response.Patch = []byte(`[{"op":"add","path":"/spec/containers/-","value":{"name":"sidecar","image":"i","ports":[{"containerPort":15001}]}},` +
			`{"op":"add","path":"/metadata/annotations/sidecar.example.com~1status","value":"injected"}]`)
	}
	review.Request, review.Response = nil, response
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

// The other webhook runs after ours and makes the API server call ours again.
func TestReinvocationBesideAnotherWebhook(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t, "sidecars", "yes")
	ours := &admissionregv1.MutatingWebhookConfiguration{}
	if err := c.client.Get(t.Context(), client.ObjectKey{Name: "detnet-webhook"}, ours); err != nil {
		t.Fatal(err)
	}
	other := ours.DeepCopy()
	other.ObjectMeta = metav1.ObjectMeta{Name: "zz-sidecar"}
	other.Webhooks[0].Name = "sidecar.example.com"
	url := strings.Replace(*ours.Webhooks[0].ClientConfig.URL, "/mutate", "/sidecar", 1)
	other.Webhooks[0].ClientConfig.URL = &url
	other.Webhooks[0].NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"sidecars": "yes"}}
	if err := c.client.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.client.Delete(t.Context(), other) }()
	eventually(t, func() bool {
		pod := newPod(ns, critical(), nil)
		c.create(t, pod, client.DryRunAll)
		if len(pod.Spec.Containers) < 2 {
			return false // the API server has not heard of the other one yet
		}
		if pod.Labels[workload.LabelClass] != "critical" || *pod.Spec.Priority != 1_000_000 || pod.Annotations["sidecar.example.com/status"] != "injected" {
			t.Errorf("class %q, priority %d, annotations %v", pod.Labels[workload.LabelClass], *pod.Spec.Priority, pod.Annotations)
		}
		verify(t, ns, pod)
		// What the first pass decided stays: the sidecar is not the workload.
		if got := pod.Annotations[workload.AnnotationProbe] + " by the " + pod.Annotations[workload.AnnotationReflector]; got != "stamp by the node" {
			t.Errorf("probe %q, want that of the first pass", got)
		}
		return true
	})
}
