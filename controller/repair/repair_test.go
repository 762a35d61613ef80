package repair

import (
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

// stampingWebhook answers like detnet's: it refuses pods named forbidden and
// stamps the others.
func stampingWebhook(t *testing.T) *httptest.Server {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var review admissionv1.AdmissionReview
		if err != nil || json.Unmarshal(body, &review) != nil {
			t.Errorf("unreadable review: %v", err)
			return
		}
		req := review.Request
		var pod corev1.Pod
		if err := json.Unmarshal(req.Object.Raw, &pod); err != nil {
			t.Error(err)
		}
		if req.Operation != admissionv1.Create || req.UserInfo.Username != "detnet:repair" || pod.Spec.NodeName != "" || pod.UID != "" {
			t.Errorf("review of %s by %q with node %q: want the pod as it was created, by nobody", req.Operation, req.UserInfo.Username, pod.Spec.NodeName)
		}
		response := &admissionv1.AdmissionResponse{UID: req.UID, Allowed: pod.Name != "forbidden"}
		if response.Allowed {
			kind := admissionv1.PatchTypeJSONPatch
			response.PatchType = &kind
			response.Patch = []byte(`[
				{"op":"add","path":"/metadata/labels/detnet.dev~1class","value":"best-effort"},
				{"op":"add","path":"/metadata/annotations","value":{"kubernetes.io/egress-bandwidth":"100M"}},
				{"op":"add","path":"/spec/priorityClassName","value":"detnet-best-effort"}]`)
		} else {
			response.Result = &metav1.Status{Message: "not for you"}
		}
		if err := json.NewEncoder(w).Encode(admissionv1.AdmissionReview{Response: response}); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

type recorded []string

func (r *recorded) Eventf(_, _ runtime.Object, _, reason, _, _ string, args ...any) {
	*r = append(*r, reason+": "+args[0].(string))
}

func TestMendsOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	server := stampingWebhook(t)
	url := server.URL + "/mutate"
	none, ignore := registrationv1.SideEffectClassNone, registrationv1.Ignore
	_, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: "pods.detnet.dev", SideEffects: &none, FailurePolicy: &ignore, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: registrationv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: []string{"kube-public"}},
			}},
			// No rules: the API server never calls it, as if it were away.
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}

	snapshot := &inventory.Snapshot{}
	for _, key := range []string{"default/slipped", "default/forbidden", "kube-public/exempt", "default/watched"} {
		namespace, name, _ := strings.Cut(key, "/")
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"detnet.dev/priority": "best-effort"}}}
		pod.Spec = corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}}
		created, err := client.CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		problem := inventory.Problem{Object: "pod " + key, Unstamped: created.UID, Mode: workload.Enforce}
		if name == "watched" {
			problem.Mode = workload.Observe
		}
		snapshot.Problems = append(snapshot.Problems, problem)
	}
	snapshot.Problems = append(snapshot.Problems,
		inventory.Problem{Object: "pod default/gone", Unstamped: "u", Mode: workload.Enforce},
		inventory.Problem{Object: "pod default/slipped", Text: "another kind of problem"})

	var events recorded
	r := &Repair{
		Snapshot: func() *inventory.Snapshot { return snapshot }, Client: client, Events: &events,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Webhook: "detnet-webhook",
	}
	r.Register(prometheus.NewRegistry())
	r.Once(t.Context())

	get := func(namespace, name string) *corev1.Pod {
		pod, err := client.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pod
	}
	mended := get("default", "slipped")
	if mended.Labels["detnet.dev/class"] != "best-effort" || mended.Annotations["kubernetes.io/egress-bandwidth"] != "100M" || mended.Labels["detnet.dev/priority"] != "best-effort" {
		t.Errorf("mended pod has labels %v, annotations %v", mended.Labels, mended.Annotations)
	}
	for _, untouched := range []*corev1.Pod{get("default", "forbidden"), get("kube-public", "exempt"), get("default", "watched")} {
		if untouched.Labels["detnet.dev/class"] != "" {
			t.Errorf("%s was stamped: %v", untouched.Name, untouched.Labels)
		}
	}
	if len(events) != 1 || !strings.Contains(events[0], "priority class detnet-best-effort can only be given to a new pod") {
		t.Errorf("events %q, want one that names the priority class", events)
	}
	if len(r.failed) != 2 || !strings.Contains(r.failed[snapshot.Problems[1].Unstamped], "not for you") {
		t.Errorf("failures %q, want the refused and the exempt", r.failed)
	}
}
