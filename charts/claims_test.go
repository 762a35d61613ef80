package charts

import (
	"encoding/pem"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/webhook"
)

// A PriorityClass of detnet's preempts others: nobody has one whom no decision gave
// it, whether a label leads to the webhook or not, and whether it answers or not.
func TestClaimedPriorityClasses(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", "detnet", "detnet")
	for _, ns := range []*corev1.Namespace{
		{ObjectMeta: metav1.ObjectMeta{Name: "tenant"}},
		{ObjectMeta: metav1.ObjectMeta{Name: "trusted", Labels: map[string]string{"detnet.dev/allow-critical": "true"}}},
	} {
		i.create(ns)
	}
	for _, ns := range []string{"tenant", "trusted", "kube-system"} {
		i.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "default"}})
	}
	enter := func(namespace, class, priority string) (*corev1.Pod, error) {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "p-", Namespace: namespace},
			Spec:       corev1.PodSpec{PriorityClassName: class, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}
		if priority != "" {
			pod.Labels = map[string]string{"detnet.dev/priority": priority}
		}
		return pod, i.c.Create(t.Context(), pod)
	}

	// Nobody serves. What nobody claims is created, as failurePolicy Ignore says.
	await.Until(t, "a claim without an answer is refused", func() bool {
		_, err := enter("tenant", "detnet-critical", "")
		return err != nil && strings.Contains(err.Error(), "claims.detnet.dev")
	})
	for _, pod := range [][3]string{{"tenant", "", ""}, {"tenant", "", "critical"}, {"kube-system", "detnet-critical", ""}} {
		if _, err := enter(pod[0], pod[1], pod[2]); err != nil {
			t.Errorf("without an answer, %q: %v", pod, err)
		}
	}
	if _, err := enter("tenant", "detnet-high", "critical"); !apierrors.IsInternalError(err) {
		t.Errorf("a labelled claim without an answer: %v", err)
	}

	i.serve()
	for _, tt := range []struct{ namespace, claim, label, want string }{
		{"tenant", "detnet-critical", "", ""},
		{"tenant", "detnet-critical", "critical", ""},
		{"tenant", "detnet-critical", "best-effort", "detnet-best-effort"},
		{"trusted", "detnet-critical", "", ""},
		{"trusted", "detnet-critical", "critical", "detnet-critical"},
		{"trusted", "", "critical", "detnet-critical"},
	} {
		await.Until(t, "the webhook is asked", func() bool {
			pod, err := enter(tt.namespace, tt.claim, tt.label)
			if err == nil && pod.Spec.PriorityClassName != tt.want {
				t.Errorf("%+v: %q", tt, pod.Spec.PriorityClassName)
			}
			return err == nil
		})
	}
}

// serve puts a webhook behind all entries of the configuration.
func (i installation) serve() {
	i.t.Helper()
	ctx := i.t.Context()
	engine, err := policies.Load(ctx, policies.Default())
	if err != nil {
		i.t.Fatal(err)
	}
	cl, err := cluster.New(i.cfg, func(o *cluster.Options) { o.Cache = webhook.CacheOptions() })
	if err != nil {
		i.t.Fatal(err)
	}
	informers, err := webhook.NewInformers(ctx, cl.GetCache(), cl.GetAPIReader())
	if err != nil {
		i.t.Fatal(err)
	}
	go func() { _ = cl.Start(ctx) }()
	cl.GetCache().WaitForCacheSync(ctx)
	server := httptest.NewTLSServer(&webhook.Mutator{
		Decider: engine, Cluster: informers, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.NewTextHandler(i.t.Output(), nil)),
	})
	i.t.Cleanup(server.Close)
	var configuration admissionv1.MutatingWebhookConfiguration
	if err := i.c.Get(ctx, client.ObjectKey{Name: "detnet-webhook"}, &configuration); err != nil {
		i.t.Fatal(err)
	}
	for n := range configuration.Webhooks {
		configuration.Webhooks[n].ClientConfig = admissionv1.WebhookClientConfig{
			URL:      &server.URL,
			CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		}
	}
	if err := i.c.Update(ctx, &configuration); err != nil {
		i.t.Fatal(err)
	}
}
