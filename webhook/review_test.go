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

// emptyCluster has nothing in it.
type emptyCluster struct{ err error }

func (c emptyCluster) Namespace(_ context.Context, name string) (policies.Namespace, error) {
	return policies.Namespace{Name: name}, c.err
}

func (emptyCluster) Siblings(context.Context, string, *corev1.Pod) ([]policies.Sibling, error) {
	return nil, nil
}

func (emptyCluster) Priorities(context.Context, string) (Priorities, error) {
	return Priorities{}, nil
}

func newMutator(d decider) *Mutator {
	return &Mutator{
		Decider: d, Cluster: emptyCluster{},
		Metrics: NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
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

func TestWhatCannotBeEvaluatedIsAdmitted(t *testing.T) {
	for name, test := range map[string]struct {
		decide  decider
		cluster emptyCluster
		pod     string
		reason  string
	}{
		"policy error": {func() (policies.Decision, error) { return policies.Decision{}, policies.ErrPolicy }, emptyCluster{}, somePod, reasonPolicy},
		"panic":        {func() (policies.Decision, error) { panic("boom") }, emptyCluster{}, somePod, reasonPanic},
		"too slow":     {func() (policies.Decision, error) { return policies.Decision{}, context.DeadlineExceeded }, emptyCluster{}, somePod, reasonDeadline},
		"no namespace": {nil, emptyCluster{errors.New("gone")}, somePod, reasonCluster},
		"not a pod":    {nil, emptyCluster{}, `{"spec": 7}`, reasonPod},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMutator(test.decide)
			m.Cluster = test.cluster
			r := response(t, post(m, review(t, test.pod, nil)))
			if !r.Allowed || len(r.Patch) > 0 || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "unstamped") {
				t.Errorf("allowed %v, patch %s, warnings %q", r.Allowed, r.Patch, r.Warnings)
			}
			if n := testutil.ToFloat64(m.Metrics.problems.WithLabelValues(test.reason)); n != 1 {
				t.Errorf("problems{%s} = %v", test.reason, n)
			}
		})
	}
}

func TestDenied(t *testing.T) {
	m := newMutator(func() (policies.Decision, error) {
		return policies.Decision{Class: "standard", Deny: []string{"not here"}, NetworkPolicies: []policies.NetworkPolicy{{}}}, nil
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
