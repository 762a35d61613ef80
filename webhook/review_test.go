package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/detnet/detnet/policies"
)

// decider answers as told.
type decider func() (policies.Decision, error)

func (f decider) Decide(context.Context, policies.Input) (policies.Decision, error) { return f() }

// emptyCluster has nothing in it, and fails where it is told to.
type emptyCluster struct{ namespace, siblings, priorities error }

func (c emptyCluster) Namespace(_ context.Context, name string) (policies.Namespace, error) {
	return policies.Namespace{Name: name}, c.namespace
}

func (c emptyCluster) Siblings(context.Context, string, *corev1.Pod) ([]policies.Sibling, error) {
	return nil, c.siblings
}

func (c emptyCluster) Priorities(context.Context, string) (Priorities, error) {
	return Priorities{}, c.priorities
}

func newMutator(d decider) *Mutator {
	return &Mutator{
		Decider: d, Cluster: emptyCluster{}, Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}
}

func review(t testing.TB, pod string, change func(*admissionv1.AdmissionRequest)) []byte {
	t.Helper()
	req := &admissionv1.AdmissionRequest{
		UID: "u", Operation: admissionv1.Create, Resource: podResource, Namespace: "shop",
		Object: runtime.RawExtension{Raw: []byte(pod)},
	}
	if change != nil {
		change(req)
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"}, Request: req,
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func post(h http.Handler, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/mutate?timeout=5s", bytes.NewReader(body)))
	return w
}

func response(t testing.TB, w *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	var out admissionv1.AdmissionReview
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil || out.Response.UID != "u" {
		t.Fatalf("status %d, body %.200s: %v", w.Code, w.Body, err)
	}
	return out.Response
}

const somePod = `{"metadata":{"generateName":"p-"},"spec":{"containers":[{"name":"c"}]}}`

// forged is a pod that gives itself what only a decision gives.
const forged = `{"metadata":{"generateName":"p-",
	"labels":{"detnet.dev/class":"critical","detnet.dev/priority":"critical"},
	"annotations":{"detnet.dev/decision":"x","detnet.dev/rank":"1000","detnet.dev/initial-bandwidth":"400G","detnet.dev/signature":"a.b",
		"detnet.dev/would":"{}","bandwidth.cilium.io/priority":"guaranteed","detnet.dev/max-jitter":"1ms","kubernetes.io/egress-bandwidth":"400G"}},
	"spec":{"priorityClassName":"detnet-critical","priority":1000000,"preemptionPolicy":"Never","containers":[{"name":"c"}]}}`

// bare is what is left of it: what people ask for.
const bare = `{"metadata":{"generateName":"p-",
	"labels":{"detnet.dev/priority":"critical"},
	"annotations":{"detnet.dev/max-jitter":"1ms","kubernetes.io/egress-bandwidth":"400G"}},
	"spec":{"containers":[{"name":"c"}]}}`

// undecidable are the ways to have no decision.
var undecidable = map[string]struct {
	decide  decider
	cluster emptyCluster
	change  func(*admissionv1.AdmissionRequest)
	reason  string
}{
	"policy error":      {decide: func() (policies.Decision, error) { return policies.Decision{}, policies.ErrPolicy }, reason: reasonPolicy},
	"panic":             {decide: func() (policies.Decision, error) { panic("boom") }, reason: reasonPanic},
	"deadline":          {decide: func() (policies.Decision, error) { return policies.Decision{}, context.DeadlineExceeded }, reason: reasonDeadline},
	"no namespace":      {cluster: emptyCluster{namespace: errors.New("gone")}, reason: reasonCluster},
	"no such namespace": {change: func(r *admissionv1.AdmissionRequest) { r.Namespace = "../x" }, reason: reasonPod},
	"unreadable spec": {change: func(r *admissionv1.AdmissionRequest) {
		r.Object.Raw = bytes.Replace(r.Object.Raw, []byte(`"containers"`), []byte(`"affinity":7,"containers"`), 1)
	}, reason: reasonPod},
}

// Whatever goes wrong before there is a decision, the pod keeps nothing that
// only a decision gives.
func TestUndecidedPodsLoseWhatTheyForged(t *testing.T) {
	for name, test := range undecidable {
		t.Run(name, func(t *testing.T) {
			m := newMutator(test.decide)
			m.Cluster = test.cluster
			body := review(t, forged, test.change)
			r := response(t, post(m, body))
			if !r.Allowed || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "unstamped") {
				t.Errorf("allowed %v, warnings %q", r.Allowed, r.Warnings)
			}
			if n := testutil.ToFloat64(m.Metrics.problems.WithLabelValues(test.reason)); n != 1 {
				t.Errorf("problems{%s} = %v", test.reason, n)
			}
			if got := patched(t, objectOf(t, body), r.Patch); !jsonpatch.Equal(without(t, got, "affinity"), []byte(bare)) {
				t.Errorf("the pod keeps %s", got)
			}
		})
	}
}

func TestFailClosedRefusesUndecidedPods(t *testing.T) {
	for name, test := range undecidable {
		t.Run(name, func(t *testing.T) {
			m := newMutator(test.decide)
			m.Cluster, m.FailClosed = test.cluster, true
			r := response(t, post(m, review(t, forged, test.change)))
			if r.Allowed || r.Result.Code != http.StatusServiceUnavailable || !strings.Contains(r.Result.Message, "detnet") {
				t.Errorf("allowed %v, result %+v", r.Allowed, r.Result)
			}
		})
	}
}

// What is only looked up to do better is done without.
func TestFailingLookupsLeaveTheDecision(t *testing.T) {
	for name, cluster := range map[string]emptyCluster{
		"siblings": {siblings: errors.New("no")}, "priorities": {priorities: errors.New("no")},
	} {
		m := newMutator(func() (policies.Decision, error) {
			return policies.Decision{Class: "standard", PriorityClassName: "mine"}, nil
		})
		m.Cluster = cluster
		r := response(t, post(m, review(t, forged, nil)))
		var pod corev1.Pod
		if err := json.Unmarshal(patched(t, []byte(forged), r.Patch), &pod); err != nil {
			t.Fatal(err)
		}
		if !r.Allowed || pod.Labels["detnet.dev/class"] != "standard" || pod.Spec.PriorityClassName != "" || pod.Annotations["bandwidth.cilium.io/priority"] != "" {
			t.Errorf("%s: allowed %v, warnings %q, pod %+v", name, r.Allowed, r.Warnings, pod.ObjectMeta)
		}
	}
}

func TestExemptNamespacesAreLeftAlone(t *testing.T) {
	m := newMutator(func() (policies.Decision, error) { panic("asked") })
	m.Exempt = func(namespace string) bool { return namespace == "shop" }
	if r := response(t, post(m, review(t, forged, nil))); !r.Allowed || len(r.Patch)+len(r.Warnings) > 0 {
		t.Errorf("%+v", r)
	}
}

// What ran out is said: the time of the request, and whether the policy or the
// node used it up.
func TestRanOutSaysWhy(t *testing.T) {
	for cpu, want := range map[time.Duration]string{100 * time.Millisecond: "short of CPU", 3 * time.Second: "too many values"} {
		err := ranOut(context.DeadlineExceeded, 3*time.Second, cpu)
		if !strings.Contains(err.Error(), want) || reasonOf(err) != reasonDeadline {
			t.Errorf("%v of CPU in 3 s: %v", cpu, err)
		}
	}
}

func objectOf(t *testing.T, body []byte) []byte {
	t.Helper()
	var r admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatal(err)
	}
	return r.Request.Object.Raw
}

func patched(t *testing.T, object, patch []byte) []byte {
	t.Helper()
	if len(patch) == 0 {
		return object
	}
	p, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.Apply(object)
	if err != nil {
		t.Fatalf("%s does not apply: %v", patch, err)
	}
	return out
}

// without drops a field of the spec.
func without(t *testing.T, pod []byte, field string) []byte {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(pod, &o); err != nil {
		t.Fatal(err)
	}
	delete(o["spec"].(map[string]any), field)
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDenied(t *testing.T) {
	m := newMutator(func() (policies.Decision, error) {
		return policies.Decision{Class: "standard", Deny: []string{"not here"}}, nil
	})
	r := response(t, post(m, review(t, somePod, nil)))
	if r.Allowed || r.Result.Code != http.StatusForbidden || !strings.Contains(r.Result.Message, "not here") {
		t.Errorf("allowed %v, result %+v", r.Allowed, r.Result)
	}
}

func TestOnlyPodCreationConcernsUs(t *testing.T) {
	m := newMutator(func() (policies.Decision, error) { panic("asked") })
	for name, change := range map[string]func(*admissionv1.AdmissionRequest){
		"update":      func(r *admissionv1.AdmissionRequest) { r.Operation = admissionv1.Update },
		"subresource": func(r *admissionv1.AdmissionRequest) { r.SubResource = "binding" },
		"other":       func(r *admissionv1.AdmissionRequest) { r.Resource.Resource = "secrets" },
	} {
		if r := response(t, post(m, review(t, somePod, change))); !r.Allowed || len(r.Patch)+len(r.Warnings) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	m := newMutator(nil)
	for name, test := range map[string]struct {
		body string
		want int
	}{
		"empty":      {"", http.StatusBadRequest},
		"not json":   {"{", http.StatusBadRequest},
		"other kind": {`{"apiVersion":"v1","kind":"Pod"}`, http.StatusBadRequest},
		"no request": {`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`, http.StatusBadRequest},
		"too large":  {strings.Repeat(" ", maxReview+1), http.StatusRequestEntityTooLarge},
	} {
		if w := post(m, []byte(test.body)); w.Code != test.want {
			t.Errorf("%s: status %d, want %d", name, w.Code, test.want)
		}
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/mutate", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: status %d", w.Code)
	}
}

// An object of the API server's largest size is answered.
func TestLargeReviewIsHandled(t *testing.T) {
	m := newMutator(func() (policies.Decision, error) { return policies.Decision{Class: "standard"}, nil })
	pod := `{"metadata":{"annotations":{"big":"` + strings.Repeat("x", 3<<20) + `"}}}`
	if r := response(t, post(m, review(t, pod, nil))); !r.Allowed || len(r.Patch) == 0 {
		t.Errorf("allowed %v, patch %s", r.Allowed, r.Patch)
	}
}

func TestWarningsFitAHeader(t *testing.T) {
	got := headerText("a\nb\x00" + strings.Repeat("é", maxWarning))
	if strings.ContainsAny(got, "\n\x00") || len(got) > maxWarning || !strings.HasPrefix(got, "a b ") || !strings.HasSuffix(got, "é") {
		t.Errorf("got %q", got)
	}
}

func FuzzReview(f *testing.F) {
	engine, err := policies.Compile(f.Context(), policies.Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(review(f, somePod, nil))
	f.Add(review(f, `{"metadata":{"labels":{"detnet.dev/priority":"critical"},"annotations":{"detnet.dev/max-jitter":"x"}}}`, nil))
	m := newMutator(nil)
	m.Decider = engine
	f.Fuzz(func(t *testing.T, body []byte) {
		before := testutil.ToFloat64(m.Metrics.problems.WithLabelValues(reasonPanic))
		post(m, body)
		if testutil.ToFloat64(m.Metrics.problems.WithLabelValues(reasonPanic)) != before {
			t.Fatal("the handler panicked")
		}
	})
}
