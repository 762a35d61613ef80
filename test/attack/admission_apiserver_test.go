package attack

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/webhook"
)

// The same through a real API server, with its defaults, its Priority and
// ServiceAccount plugins and its validation around the webhook.
func TestAdmissionOnTheAPIServer(t *testing.T) {
	env := apitest.Start(t)
	ctrl.SetLogger(logr.Discard())
	client := kubernetes.NewForConfigOrDie(env.Config)
	cl, err := cluster.New(env.Config, func(o *cluster.Options) { o.Cache = webhook.CacheOptions() })
	if err != nil {
		t.Fatal(err)
	}
	informers, err := webhook.NewInformers(t.Context(), cl.GetCache(), cl.GetAPIReader())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = cl.Start(t.Context()) }()
	cl.GetCache().WaitForCacheSync(t.Context())
	populate(t, client)
	serveMutator(t, env, mutator(t, informers))
	enter := func(t *testing.T, pod *corev1.Pod) (*corev1.Pod, error) {
		t.Helper()
		return client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	}
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) { a.check(t, enter) })
	}
	checkBulk(t, bulk(), enter)
}

func populate(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	for _, class := range priorityClasses() {
		if _, err := client.SchedulingV1().PriorityClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, ns := range namespaces {
		made, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
		if err != nil || !equality.Semantic.DeepEqual(made.Annotations, ns.Annotations) {
			t.Fatalf("namespace %s: %v", name, err)
		}
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
		if _, err := client.CoreV1().ServiceAccounts(name).Create(t.Context(), account, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

// serveMutator puts the webhook in front of the API server. A failed call fails
// the test, and a pod never comes through unasked.
func serveMutator(t *testing.T, env *envtest.Environment, h http.Handler) {
	t.Helper()
	path, fail, none := "/mutate", admissionregv1.Fail, admissionregv1.SideEffectClassNone
	o := &envtest.WebhookInstallOptions{MaxTime: 3 * time.Minute, MutatingWebhooks: []*admissionregv1.MutatingWebhookConfiguration{{
		ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
		Webhooks: []admissionregv1.MutatingWebhook{{
			Name: "mutate.detnet.dev", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none,
			ClientConfig: admissionregv1.WebhookClientConfig{Service: &admissionregv1.ServiceReference{Name: "detnet-webhook", Namespace: "default", Path: &path}},
			Rules: []admissionregv1.RuleWithOperations{{
				Operations: []admissionregv1.OperationType{admissionregv1.Create},
				Rule:       admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}}}
	if err := o.PrepWithoutInstalling(); err != nil {
		t.Fatal(err)
	}
	pair, err := os.ReadFile(filepath.Join(o.LocalServingCertDir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.LocalServingCertDir, "ca.crt"), pair, 0o600); err != nil {
		t.Fatal(err)
	}
	dir, err := certs.OpenDir(o.LocalServingCertDir)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.LocalServingHost, strconv.Itoa(o.LocalServingPort)))
	if err != nil {
		t.Fatal(err)
	}
	server := &webhook.Server{Handler: h, TLS: dir.ServerConfig(), Log: slog.New(slog.DiscardHandler), Grace: 10 * time.Second}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if err := o.Install(env.Config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Cleanup() })
}
