package repair

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
)

// answer is what a webhook says of a pod: it refuses those named forbidden, gives
// nothing to those named nothing, fails on those named undecided, and stamps the
// others by their priority.
func answer(pod *corev1.Pod) *admissionv1.AdmissionResponse {
	response := &admissionv1.AdmissionResponse{Allowed: pod.Name != "forbidden", Result: &metav1.Status{Message: "not for you"}}
	if pod.Name == "nothing" {
		response.Warnings = []string{"label detnet.dev/priority=critcal is no class: did you mean critical?"}
	}
	if pod.Name == "forbidden" || pod.Name == "nothing" {
		return response
	}
	kind := admissionv1.PatchTypeJSONPatch
	response.PatchType = &kind
	labels, annotations := maps.Clone(pod.Labels), maps.Clone(pod.Annotations)
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	class := "best-effort"
	if labels["detnet.dev/priority"] == "critical" {
		class = "critical"
	}
	labels["detnet.dev/class"] = class
	delete(annotations, "detnet.dev/max-jitter")
	delete(annotations, "kubernetes.io/egress-bandwidth")
	if class == "best-effort" {
		annotations["kubernetes.io/egress-bandwidth"], annotations["detnet.dev/initial-bandwidth"] = "100M", "100M"
	}
	if pod.Name == "undecided" {
		response.AuditAnnotations = map[string]string{ask.Undecided: "the policy took too long"}
		delete(labels, "detnet.dev/class")
		delete(annotations, "detnet.dev/initial-bandwidth")
	}
	patch, err := json.Marshal([]map[string]any{
		{"op": "add", "path": "/metadata/labels", "value": labels}, {"op": "add", "path": "/metadata/annotations", "value": annotations},
		{"op": "add", "path": "/spec/priorityClassName", "value": "detnet-" + class},
	})
	if err != nil {
		panic(err)
	}
	response.Patch = patch
	return response
}

// stampingWebhook answers like detnet's.
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
		response := answer(&pod)
		response.UID = req.UID
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

// registered makes server the webhook of the configuration. Its rules match no
// API group, so that the API server never calls it, as if it were away.
func registered(t *testing.T, client kubernetes.Interface, server *httptest.Server) {
	t.Helper()
	url := server.URL + "/mutate"
	none, ignore := registrationv1.SideEffectClassNone, registrationv1.Ignore
	_, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: "pods.detnet.dev", SideEffects: &none, FailurePolicy: &ignore, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: registrationv1.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// known is an inventory with unstamped pods.
type known struct {
	inventory.Snapshot
	settled []string
}

type knownInventory struct{ *known }

func (k knownInventory) Snapshot() *inventory.Snapshot { return &k.known.Snapshot }
func (k knownInventory) Settle(u *inventory.Unstamped) { k.settled = append(k.settled, u.Pod.Name) }
func (k knownInventory) Recheck()                      {}

func TestMendsOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	registered(t, client, stampingWebhook(t))
	k := &known{}
	for _, p := range []struct {
		name                string
		labels, annotations map[string]string
	}{
		{"slipped", map[string]string{"detnet.dev/priority": "best-effort"}, nil},
		{"forbidden", nil, nil},
		{"nothing", nil, nil},
		{"throttled", map[string]string{"detnet.dev/class": "best-effort"}, map[string]string{"detnet.dev/initial-bandwidth": "100M", "kubernetes.io/egress-bandwidth": "12M"}},
		{"forged", map[string]string{"detnet.dev/class": "critical"}, map[string]string{"detnet.dev/max-jitter": "10us", "kubernetes.io/egress-bandwidth": "400G", "mine": "kept"}},
		{"critical", map[string]string{"detnet.dev/priority": "critical"}, map[string]string{"kubernetes.io/egress-bandwidth": "50M"}},
		{"undecided", map[string]string{"detnet.dev/class": "best-effort"}, map[string]string{"detnet.dev/initial-bandwidth": "100M"}},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: p.labels, Annotations: p.annotations}}
		pod.Spec = corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}}
		created, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		u := &inventory.Unstamped{Pod: plan.PodID{Namespace: "default", Name: p.name}, UID: created.UID, Mode: workload.Enforce}
		u.Forged = p.labels["detnet.dev/class"] != ""
		k.Unstamped = append(k.Unstamped, u)
	}
	k.Unstamped = append(k.Unstamped, &inventory.Unstamped{Pod: plan.PodID{Namespace: "default", Name: "gone"}, UID: "u"})

	var events recorded
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	r := &Repair{
		Inventory: knownInventory{k}, Client: client, To: write.New(client, nil, nil, log), Events: &events, Log: log, Webhook: "detnet-webhook",
	}
	r.Register(prometheus.NewRegistry())
	now := time.Now()
	r.Once(t.Context(), now)

	for name, want := range map[string]map[string]string{
		"slipped":   {"class": "best-effort", "egress": "100M"},
		"throttled": {"class": "best-effort", "egress": "12M"}, // the limit in force stays
		"forged":    {"class": "best-effort", "egress": "100M", "mine": "kept"},
		"critical":  {"class": "critical"}, // its own limit is lifted
		"forbidden": {},
		"nothing":   {},
		"undecided": {"class": "best-effort"},
	} {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for key, value := range map[string]string{
			"class": pod.Labels["detnet.dev/class"], "egress": pod.Annotations["kubernetes.io/egress-bandwidth"],
			"mine": pod.Annotations["mine"], "jitter": pod.Annotations["detnet.dev/max-jitter"],
		} {
			if value != "" {
				got[key] = value
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	slices.Sort(k.settled)
	if !slices.Equal(k.settled, []string{"nothing", "throttled"}) {
		t.Errorf("settled %v, want the pod that gets nothing and the one that has all it gets", k.settled)
	}
	text := strings.Join(events, "\n")
	for _, want := range []string{
		"priority class detnet-best-effort can only be given to a new pod", "its own limit 50M was lifted",
		"taken away: detnet.dev/max-jitter", "not for you", "could not decide", "did you mean critical",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no event says %q:\n%s", want, text)
		}
	}
	said := len(events)
	for range 10 {
		now = now.Add(interval)
		r.Once(t.Context(), now)
	}
	if len(events) != said {
		t.Errorf("events within ten seconds after the first round: %q", events[said:])
	}
}

// Thousands at once are no storm, and a webhook that is away is asked once.
func TestAsksInPeace(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	server := stampingWebhook(t)
	registered(t, client, server)
	server.Close()
	k := &known{}
	for i := range 3 * perRound {
		k.Unstamped = append(k.Unstamped, &inventory.Unstamped{Pod: plan.PodID{Namespace: "default", Name: fmt.Sprint("pod-", i)}, UID: types.UID(fmt.Sprint(i))})
	}
	var log strings.Builder
	var events recorded
	r := &Repair{Inventory: knownInventory{k}, Client: client, To: write.New(client, nil, nil, slog.New(slog.DiscardHandler)), Events: &events, Log: slog.New(slog.NewTextHandler(&log, nil)), Webhook: "detnet-webhook"}
	r.Register(prometheus.NewRegistry())
	now := time.Now()
	r.Once(t.Context(), now)
	if len(r.attempts) != perRound { // none of them exists, which is an answer
		t.Errorf("%d pods were asked about in one round, want %d", len(r.attempts), perRound)
	}
	for i := range k.Unstamped {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("pod-", i)}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}}}
		created, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		k.Unstamped[i] = &inventory.Unstamped{Pod: k.Unstamped[i].Pod, UID: created.UID}
	}
	for range 10 {
		now = now.Add(awayPause)
		r.Once(t.Context(), now)
	}
	if n := strings.Count(log.String(), "can't be asked"); n != 1 || len(events) > 0 || len(r.attempts) > 0 {
		t.Errorf("said %d times that the webhook is away, %d events, %d attempts; want 1, 0, 0:\n%s", n, len(events), len(r.attempts), &log)
	}
}

// A namespace with many pods to mend has the others wait for one and not for all.
func TestNamespacesAreMendedInTurn(t *testing.T) {
	var all []*inventory.Unstamped
	add := func(namespace, name string, forged bool) {
		all = append(all, &inventory.Unstamped{Pod: plan.PodID{Namespace: namespace, Name: name}, UID: types.UID(namespace + name), Forged: forged})
	}
	for i := range 50 {
		add("churn", fmt.Sprint("a", i), true)
		add("churn", fmt.Sprint("b", i), false)
	}
	add("shop", "missed", false)
	add("shop", "forged", true)
	due := new(Repair).due(all, time.Now())
	at := func(name string) int {
		return slices.IndexFunc(due, func(u *inventory.Unstamped) bool { return u.Pod.Name == name })
	}
	if at("forged") > 1 {
		t.Errorf("the forged one of the other namespace is number %d", at("forged"))
	}
	if at("missed") > 3 {
		t.Errorf("the missed one of the other namespace is number %d", at("missed"))
	}
	if at("b0") < 50 {
		t.Errorf("of one namespace's own, one that was missed is number %d, before those that are forged", at("b0"))
	}
}
