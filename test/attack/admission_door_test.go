package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/webhook"
	"github.com/detnet/detnet/workload/signature"
)

// keys are those that the webhook under attack signs with.
var keys = signature.Keys{Current: signature.Key("a key of the administrator")}

// namespaces of the attacked cluster.
var namespaces = map[string]*corev1.Namespace{
	"tenant":  {ObjectMeta: metav1.ObjectMeta{Name: "tenant"}},
	"trusted": {ObjectMeta: metav1.ObjectMeta{Name: "trusted", Labels: map[string]string{"detnet.dev/allow-critical": "true"}}},
	"bound":   {ObjectMeta: metav1.ObjectMeta{Name: "bound", Labels: map[string]string{"detnet.dev/priority-at-most": "best-effort"}}},
	"careful": {ObjectMeta: metav1.ObjectMeta{Name: "careful", Annotations: map[string]string{"detnet.dev/mode": "observe"}}},
	"out":     {ObjectMeta: metav1.ObjectMeta{Name: "out", Labels: map[string]string{"detnet.dev/mode": "off"}}},
}

// priorityClasses are detnet's, as the chart makes them.
func priorityClasses() []*schedulingv1.PriorityClass {
	never := corev1.PreemptNever
	return []*schedulingv1.PriorityClass{
		{ObjectMeta: metav1.ObjectMeta{Name: "detnet-critical"}, Value: 1_000_000},
		{ObjectMeta: metav1.ObjectMeta{Name: "detnet-high"}, Value: 100_000},
		{ObjectMeta: metav1.ObjectMeta{Name: "detnet-best-effort"}, Value: -1, PreemptionPolicy: &never},
	}
}

// door is where a tenant's pod enters: what it became, or why it was refused.
type door func(t *testing.T, pod *corev1.Pod) (*corev1.Pod, error)

// mutator is the webhook with the policy that ships.
func mutator(t *testing.T, cluster webhook.Cluster) *webhook.Mutator {
	t.Helper()
	engine, err := policies.Compile(t.Context(), policies.Default())
	if err != nil {
		t.Fatal(err)
	}
	return &webhook.Mutator{
		Decider: engine, Cluster: cluster, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
		Keys:   func() signature.Keys { return keys },
		Exempt: func(namespace string) bool { return namespace == "kube-system" },
	}
}

// still is a cluster that answers from the tables above.
type still struct{}

func (still) Namespace(_ context.Context, name string) (policies.Namespace, error) {
	ns := namespaces[name]
	return policies.Namespace{Name: name, Labels: ns.Labels, Annotations: ns.Annotations}, nil
}

func (still) Siblings(context.Context, string, *corev1.Pod) ([]policies.Sibling, error) {
	return nil, nil
}

func (still) Priorities(_ context.Context, name string) (webhook.Priorities, error) {
	for _, class := range priorityClasses() {
		if class.Name == name {
			return webhook.Priorities{Wanted: class}, nil
		}
	}
	return webhook.Priorities{}, nil
}

// byReview asks the webhook itself.
func byReview(h http.Handler) door {
	return func(t *testing.T, pod *corev1.Pod) (*corev1.Pod, error) {
		t.Helper()
		raw, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(admissionv1.AdmissionReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
			Request: &admissionv1.AdmissionRequest{
				UID: "u", Operation: admissionv1.Create, Namespace: pod.Namespace,
				Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Object: runtime.RawExtension{Raw: raw},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		// On a machine that is busy the webhook's time would be up before what is asked here is decided.
		synctest.Test(t, func(*testing.T) {
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mutate", bytes.NewReader(body)))
		})
		var review admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &review); err != nil || review.Response == nil || !review.Response.Allowed {
			t.Fatalf("status %d, %s: %v", w.Code, w.Body, err)
		}
		if len(review.Response.Patch) > 0 {
			patch, err := jsonpatch.DecodePatch(review.Response.Patch)
			if err != nil {
				t.Fatal(err)
			}
			if raw, err = patch.Apply(raw); err != nil {
				t.Fatal(err)
			}
		}
		out := &corev1.Pod{}
		return out, json.Unmarshal(raw, out)
	}
}
