package repair

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	crds "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client/crds/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

func installCilium(t *testing.T, config *rest.Config) {
	t.Helper()
	raw, err := crds.EmbedFS.ReadFile("ciliumnetworkpolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(raw, crd); err != nil {
		t.Fatal(err)
	}
	if _, err := envtest.InstallCRDs(config, envtest.CRDInstallOptions{CRDs: []*apiextensionsv1.CustomResourceDefinition{crd}}); err != nil {
		t.Fatal(err)
	}
}

// apply writes a policy as the webhook does.
func apply(t *testing.T, client kubernetes.Interface, name, selector string, labels string) {
	t.Helper()
	body := `{"apiVersion":"cilium.io/v2","kind":"CiliumNetworkPolicy",
		"metadata":{"name":"` + name + `","labels":{` + labels + `},"annotations":{"detnet.dev/unused-since":"never"}},
		"spec":{"endpointSelector":{"matchLabels":{` + selector + `}},"egress":[{"toEntities":["cluster"]}]}}`
	err := client.Discovery().RESTClient().Patch("application/apply-patch+yaml").
		AbsPath(ciliumPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}.path()).
		Param("fieldManager", "detnet-webhook").Param("force", "true").Body([]byte(body)).Do(t.Context()).Error()
	if err != nil {
		t.Fatal(err)
	}
}

const ours = `"app.kubernetes.io/managed-by":"detnet"`

func names(t *testing.T, client kubernetes.Interface) []string {
	t.Helper()
	list, err := ciliumPolicies(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

func TestDeletesWhatNoPodNeeds(t *testing.T) {
	env := apitest.Start(t)
	client := kubernetes.NewForConfigOrDie(env.Config)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	u := &Unused{Client: client, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	u.Register(prometheus.NewRegistry())
	round := func(later time.Duration) {
		t.Helper()
		now = now.Add(later)
		if err := u.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	round(0) // on a cluster without Cilium there is nothing to do

	installCilium(t, env.Config)
	for name, selector := range map[string]string{
		"gone":      `"k8s:app":"gone"`,
		"back":      `"k8s:app":"back"`,
		"finished":  `"k8s:app":"finished"`,
		"runs":      `"k8s:app":"runs","k8s:detnet.dev/class":"best-effort"`,
		"by-cilium": `"k8s:io.kubernetes.pod.namespace":"default"`,
	} {
		apply(t, client, name, selector, ours)
	}
	apply(t, client, "of-somebody", `"k8s:app":"gone"`, `"app.kubernetes.io/managed-by":"Helm"`)
	pod := func(app string, phase corev1.PodPhase) {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: app, Labels: map[string]string{"app": app, workload.LabelClass: "best-effort"}}}
		p.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
		p, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		p.Status.Phase = phase
		if _, err := client.CoreV1().Pods("default").UpdateStatus(t.Context(), p, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pod("runs", corev1.PodRunning)
	pod("finished", corev1.PodSucceeded)

	round(0)                                           // marks
	apply(t, client, "back", `"k8s:app":"back"`, ours) // a pod was admitted: the webhook takes the mark away
	round(workload.UnusedFor - time.Minute)
	if got := len(names(t, client)); got != 5 {
		t.Fatalf("%d policies before their time, want 5", got)
	}
	round(2 * time.Minute)
	if got, want := names(t, client), []string{"back", "by-cilium", "runs"}; !slices.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
	if got := testutil.ToFloat64(u.deleted); got != 2 {
		t.Errorf("counted %v, want 2", got)
	}
	pod("back", corev1.PodPending)
	round(time.Minute) // unmarks
	round(2 * workload.UnusedFor)
	if got := names(t, client); !slices.Contains(got, "back") {
		t.Errorf("left %v: a policy in use is gone", got)
	}

	var removed []string
	if err := RemovePolicies(context.WithoutCancel(t.Context()), client, "", func(_, name string) { removed = append(removed, name) }); err != nil {
		t.Fatal(err)
	}
	if len(removed) != 3 || len(names(t, client)) != 0 {
		t.Errorf("removed %v, left %v", removed, names(t, client))
	}
	raw, err := client.Discovery().RESTClient().Get().AbsPath("/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies/of-somebody").Do(t.Context()).Raw()
	if err != nil {
		t.Errorf("another's policy is gone: %v %s", err, raw)
	}
}

// A pod admitted between the look and the deletion keeps its policy.
func TestDeletesOnlyTheVersionItSaw(t *testing.T) {
	env := apitest.Start(t)
	client := kubernetes.NewForConfigOrDie(env.Config)
	installCilium(t, env.Config)
	apply(t, client, "p", `"k8s:app":"x"`, ours)
	u := &Unused{Client: client, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	if err := u.Once(t.Context()); err != nil { // marks
		t.Fatal(err)
	}
	seen, err := ciliumPolicies(t.Context(), client)
	if err != nil || len(seen) != 1 {
		t.Fatal(seen, err)
	}
	apply(t, client, "p", `"k8s:app":"x"`, ours)
	if err := seen[0].remove(t.Context(), client); err != nil {
		t.Errorf("a race lost is no error: %v", err)
	}
	if got := names(t, client); len(got) != 1 {
		t.Error("the policy that was applied again is gone")
	}
}
