package netpol

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	crds "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client/crds/v2"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
)

// world is a real API server with a Keeper on it and a webhook that says what
// the test says.
type world struct {
	t       *testing.T
	config  *rest.Config
	client  kubernetes.Interface
	dynamic dynamic.Interface
	reg     *prometheus.Registry

	mu     sync.Mutex
	modes  map[string]workload.ControlMode
	answer map[string]ask.Answer // by the label app
	away   bool
	asked  int
	later  time.Duration
	events []string
	looks  int // at the mode, one for each look at a namespace

	writes atomic.Int64    // sent to the API server
	told   strings.Builder // by who writes; the Keeper's worker alone writes
}

// The kinds of Cilium, as it is and as it was up to 1.17, without "log".
func ciliumKinds(t *testing.T, old bool) []*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	var out []*apiextensionsv1.CustomResourceDefinition
	for _, file := range []string{"ciliumnetworkpolicies.yaml", "ciliumclusterwidenetworkpolicies.yaml"} {
		raw, err := crds.EmbedFS.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(raw, crd); err != nil {
			t.Fatal(err)
		}
		for i := range crd.Spec.Versions {
			fields := crd.Spec.Versions[i].Schema.OpenAPIV3Schema.Properties
			if old {
				delete(fields["spec"].Properties, "log")
				delete(fields["specs"].Items.Schema.Properties, "log")
			}
		}
		out = append(out, crd)
	}
	return out
}

func (w *world) installCilium(old bool) {
	w.t.Helper()
	apitest.Install(w.t, w.config, ciliumKinds(w.t, old)...)
}

// writer counts what is sent.
func (w *world) writer() *write.Writer {
	counted := rest.CopyConfig(w.config)
	counted.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet {
				w.writes.Add(1)
			}
			return next.RoundTrip(r)
		})
	})
	return write.New(kubernetes.NewForConfigOrDie(counted), nil, w, slog.New(slog.NewTextHandler(&w.told, nil)))
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Ask implements Asker.
func (w *world) Ask(ctx context.Context, namespace, name string) (ask.Answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if w.away {
		return ask.Answer{}, errors.New("the webhook is away")
	}
	pod, err := w.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return ask.Answer{}, err
	}
	return w.answer[pod.Labels["app"]], nil
}

// Eventf implements Events.
func (w *world) Eventf(_, _ runtime.Object, _, reason, _, _ string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, reason+": "+args[0].(string))
}

// set changes the world while the Keeper runs.
func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func begin(t *testing.T) *world {
	env := apitest.Start(t)
	w := &world{
		t: t, config: env.Config, reg: prometheus.NewRegistry(),
		client: kubernetes.NewForConfigOrDie(env.Config), dynamic: dynamic.NewForConfigOrDie(env.Config),
		modes: map[string]workload.ControlMode{}, answer: map[string]ask.Answer{
			"web": {Class: "critical", Policies: []ask.Policy{{Name: "detnet-web", Yields: true, Spec: json.RawMessage(strictWeb)}}},
		},
	}
	synced := make(chan struct{})
	close(synced)
	k, err := New(Settings{
		Config: env.Config, To: w.writer(), Asker: w, Synced: synced, Events: w, Registerer: w.reg,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Mode: func(namespace string) workload.ControlMode {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.looks++
			if mode, ok := w.modes[namespace]; ok {
				return mode
			}
			return workload.Enforce
		},
		Now: func() time.Time {
			w.mu.Lock()
			defer w.mu.Unlock()
			return time.Now().Add(w.later)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	k.every = 50 * time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) pod(name string, labels map[string]string) {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "batch/v1", Kind: "Job", Name: "job", UID: "job", Controller: new(bool)},
	}}}
	*p.OwnerReferences[0].Controller = true
	p.Labels[workload.LabelClass] = "critical"
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	if _, err := w.client.CoreV1().Pods("default").Create(w.t.Context(), p, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) deny(name string) {
	w.t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress", "Egress"}}}
	if _, err := w.client.NetworkingV1().NetworkPolicies("default").Create(w.t.Context(), p, metav1.CreateOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) policies() map[string]unstructured.Unstructured {
	list, err := w.dynamic.Resource(ciliumPolicies).Namespace("default").List(w.t.Context(), metav1.ListOptions{})
	if err != nil {
		return nil
	}
	out := map[string]unstructured.Unstructured{}
	for _, p := range list.Items {
		out[p.GetName()] = p
	}
	return out
}

func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	await.Success(w.t, what, func() error {
		if is() {
			return nil
		}
		w.mu.Lock()
		events := slices.Clone(w.events)
		w.mu.Unlock()
		return fmt.Errorf("there are %v, Events %q", w.policies(), events)
	})
}

func (w *world) is(want ...string) func() bool {
	return func() bool {
		have := sortedKeys(w.policies())
		return slices.Equal(have, want)
	}
}

// heard reports whether some Event holds the text.
func (w *world) heard(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, text) })
}

// times is how many Events hold the text.
func (w *world) times(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(strings.Join(w.events, "\n"), text)
}

func TestKeepsPolicies(t *testing.T) {
	w := begin(t)
	w.pod("web-0", map[string]string{"app": "web"})
	w.pod("web-1", map[string]string{"app": "web"})
	w.installCilium(true) // later than detnet, and an older one
	w.eventually("made once Cilium is there", w.is("detnet-web"))
	made := w.policies()["detnet-web"]
	if deny, _, _ := unstructured.NestedBool(made.Object, "spec", "enableDefaultDeny", "ingress"); !deny || made.GetLabels()[managedBy] != detnet {
		t.Errorf("made %v", made.Object)
	}
	asked := 0
	w.set(func() { asked = w.asked })
	w.pod("web-2", map[string]string{"app": "web"})

	w.deny("floor")
	w.eventually("gone when somebody else restricts the pods", w.is())
	w.eventually("and said so", func() bool {
		return w.heard("NetworkPolicyHeldBack: CiliumNetworkPolicy detnet-web would open what other policies close, and is not made")
	})
	if err := w.client.NetworkingV1().NetworkPolicies("default").Delete(t.Context(), "floor", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("back when nobody does", w.is("detnet-web"))

	w.set(func() { w.modes["default"] = workload.Observe })
	w.eventually("gone in mode observe", w.is())
	w.set(func() { w.modes["default"] = workload.Enforce })
	w.eventually("back in mode enforce", w.is("detnet-web"))
	w.set(func() {
		if w.asked != asked {
			t.Errorf("asked %d times more about another pod of the kind", w.asked-asked)
		}
	})

	policies := w.dynamic.Resource(ciliumPolicies).Namespace("default")
	changed := w.policies()["detnet-web"]
	delete(changed.Object["spec"].(map[string]any), "ingress")
	if _, err := policies.Update(t.Context(), &changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("as decided again after somebody changed it", func() bool {
		p := w.policies()["detnet-web"]
		_, ok, _ := unstructured.NestedSlice(p.Object, "spec", "ingress")
		return ok
	})

	w.set(func() { w.away = true })
	for _, name := range []string{"web-0", "web-1", "web-2"} {
		if err := w.client.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
			t.Fatal(err)
		}
	}
	w.set(func() { w.later += workload.UnusedFor / 2 })
	if !w.is("detnet-web")() {
		t.Error("gone with its last pod, not a while later")
	}
	// Whether the pods' deletion was seen yet is not known: the clock goes on until it was.
	w.eventually("gone a while after its last pod", func() bool {
		w.set(func() { w.later += workload.UnusedFor })
		return w.is()()
	})
	if n := figure(t, w.reg, "detnet_network_policies_deleted_total", ""); n < 3 {
		t.Errorf("%v deletions are counted, want three", n)
	}
}

func TestLeavesOthersPoliciesAlone(t *testing.T) {
	w := begin(t)
	w.installCilium(false)
	policies := w.dynamic.Resource(ciliumPolicies).Namespace("default")
	theirs := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: detnet-web}, spec: {endpointSelector: {matchLabels: {app: other}}, ingress: [{}]}}`), &theirs.Object); err != nil {
		t.Fatal(err)
	}
	before, err := policies.Create(t.Context(), theirs, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.pod("web-0", map[string]string{"app": "web"})
	w.eventually("said that the name is taken", func() bool {
		return w.heard("NetworkPolicyFailed: CiliumNetworkPolicy default/detnet-web: there is one of that name that detnet did not make")
	})
	after, err := policies.Get(t.Context(), "detnet-web", metav1.GetOptions{})
	if err != nil || after.GetResourceVersion() != before.GetResourceVersion() {
		t.Errorf("somebody else's policy was changed: %v", err)
	}
}

// A field that the cluster's CRD does not know is refused and said, never
// dropped in silence.
func TestSaysWhatTheCRDDoesNotKnow(t *testing.T) {
	w := begin(t)
	w.installCilium(true)
	w.set(func() {
		a := w.answer["web"]
		a.Policies = append(a.Policies, ask.Policy{Name: "site", Spec: json.RawMessage(`{"endpointSelector":{},"egress":[{"toEntities":["world"]}],"log":{"value":"x"}}`)})
		w.answer["web"] = a
	})
	w.pod("web-0", map[string]string{"app": "web"})
	w.eventually("said", func() bool {
		return w.heard("Refused: detnet may not create CiliumNetworkPolicy default/site: the CRD of this cluster's Cilium does not know all of it; detnet's own policies need Cilium 1.16")
	})
	w.eventually("the other one made", w.is("detnet-web"))
}

// A policy that the API server refuses costs nobody: it is told once, by the
// writer that all changes go through, and looked at often, but not sent often.
func TestRefusedPolicies(t *testing.T) {
	w := begin(t)
	w.set(func() { // each look wants both
		a := w.answer["web"]
		a.Policies = append(a.Policies, ask.Policy{Name: "site", Spec: json.RawMessage(`{"endpointSelector":{},"egress":[{"toEntities":["nowhere"]}]}`)})
		w.answer["web"] = a
	})
	begun := time.Now()
	w.installCilium(false)
	w.pod("web-0", map[string]string{"app": "web"})
	w.eventually("the good one made, the other told of", func() bool { return w.is("detnet-web")() && w.times("Refused") == 1 })
	looks := func() (n int) { w.set(func() { n = w.looks }); return }
	for i, from := 1, looks(); looks() < from+20; i++ {
		w.pod(fmt.Sprint("web-", i), map[string]string{"app": "web"}) // each has the namespace looked at
	}
	const pause = 15 * time.Second // the first of the back-off
	if n, most := w.writes.Load(), 2+int64(time.Since(begun)/pause); n > most {
		t.Errorf("%d writes, want one of each policy and at most %d more", n, most-2)
	}
	if n := w.times("Refused") + w.times("NetworkPolicyFailed"); n != 1 {
		t.Errorf("%d Events, want one: %q", n, w.events)
	}
	if n := figure(t, w.reg, "detnet_network_policies", stateFailed); n != 1 {
		t.Errorf("%v are counted as failed, want one", n)
	}
	// Who is against one policy is not against another, and what is refused is still taken away.
	w.deny("floor")
	w.eventually("the good one gone", w.is())
}

// A policy that selects by a label which Cilium leaves out of pods' identities is
// made, and it is said that it selects nobody, until Cilium knows the label.
func TestSaysWhatSelectsNobody(t *testing.T) {
	w := begin(t)
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cilium-config"}, Data: map[string]string{"labels": "k8s:io.kubernetes.pod.namespace k8s:app"}}
	config, err := w.client.CoreV1().ConfigMaps("kube-system").Create(t.Context(), config, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.pod("web-0", map[string]string{"app": "web"})
	w.installCilium(false)
	w.eventually("made", w.is("detnet-web"))
	w.eventually("said", func() bool {
		return w.heard(`NetworkPolicySelectsNobody: CiliumNetworkPolicy detnet-web selects nobody: Cilium's setting "labels" leaves detnet.dev/class out of pods' identities; add k8s:detnet.dev/class to it`)
	})
	w.eventually("counted", func() bool { return figure(t, w.reg, "detnet_network_policies", stateUnseen) == 1 })
	config.Data["labels"] += " k8s:detnet.dev/class"
	if _, err := w.client.CoreV1().ConfigMaps("kube-system").Update(t.Context(), config, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("counted no more", func() bool { return figure(t, w.reg, "detnet_network_policies", stateUnseen) == 0 })
	if said := w.times("NetworkPolicySelectsNobody"); said != 1 {
		t.Errorf("said %d times", said)
	}
}

// While the webhook is away nothing is made up, and what would open is closed.
func TestWithoutTheWebhook(t *testing.T) {
	w := begin(t)
	w.installCilium(false)
	w.pod("web-0", map[string]string{"app": "web"})
	w.eventually("made", w.is("detnet-web"))
	w.set(func() { w.away = true })
	w.pod("other-0", map[string]string{"app": "other"})
	w.eventually("said that nobody answers", func() bool {
		return figure(t, w.reg, "detnet_network_policies", stateFailed) > 0
	})
	if !w.is("detnet-web")() {
		t.Error("what was made is gone")
	}
	w.deny("floor")
	w.eventually("closed", w.is())
}

// figure is the value of a metric, by name and, if not empty, by state.
func figure(t *testing.T, reg *prometheus.Registry, name, state string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() != name || state != "" && m.GetLabel()[0].GetValue() != state {
				continue
			}
			if m.GetGauge() != nil {
				return m.GetGauge().GetValue()
			}
			return m.GetCounter().GetValue()
		}
	}
	return 0
}
