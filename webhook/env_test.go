package webhook_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	crds "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client/crds/v2"
	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionregv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/internal/freeport"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/webhook"
	"github.com/detnet/detnet/workload/signature"
)

// cluster under test: a real API server with the webhook in front of it.
type testCluster struct {
	client   client.Client
	config   *rest.Config
	registry *prometheus.Registry
	warnings *warnings
}

var theCluster *testCluster

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return m.Run()
	}
	ctrl.SetLogger(logr.Discard())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, stop, err := startCluster(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the API server:", err)
		return 1
	}
	defer stop()
	theCluster = c
	return m.Run()
}

// needCluster returns the API server, or skips where its binaries are missing.
func needCluster(t *testing.T) *testCluster {
	t.Helper()
	if theCluster == nil {
		const message = "KUBEBUILDER_ASSETS is not set: it must name a directory with kube-apiserver, etcd and kubectl"
		if os.Getenv("CI") == "true" {
			t.Fatal(message)
		}
		t.Skip(message)
	}
	return theCluster
}

func startCluster(ctx context.Context) (*testCluster, func(), error) {
	crd, err := ciliumCRD()
	if err != nil {
		return nil, nil, err
	}
	port, err := freeport.Port()
	if err != nil {
		return nil, nil, err
	}
	env, err := apitest.Begin(func(env *envtest.Environment) {
		env.CRDs = []*apiextensionsv1.CustomResourceDefinition{crd.DeepCopy()}
		o := &env.WebhookInstallOptions
		o.MutatingWebhooks, o.LocalServingHost, o.LocalServingPort = mutatingWebhooks(), "127.0.0.1", port
	})
	if err != nil {
		return nil, nil, err
	}
	stop := func() { _ = env.Stop() }
	c := &testCluster{config: env.Config, registry: prometheus.NewRegistry(), warnings: &warnings{}}
	config := rest.CopyConfig(env.Config)
	config.WarningHandler = c.warnings
	config.QPS = -1
	if c.client, err = client.New(config, client.Options{}); err != nil {
		stop()
		return nil, nil, err
	}
	if err := c.serve(ctx, &env.WebhookInstallOptions); err != nil {
		stop()
		return nil, nil, err
	}
	return c, stop, c.prepare(ctx)
}

// serve starts the webhook as cmd/detnet-webhook wires it.
func (c *testCluster) serve(ctx context.Context, o *envtest.WebhookInstallOptions) error {
	engine, err := policies.Load(ctx, policies.Default())
	if err != nil {
		return err
	}
	cl, err := cluster.New(c.config, func(opts *cluster.Options) { opts.Cache = webhook.CacheOptions() })
	if err != nil {
		return err
	}
	informers, err := webhook.NewInformers(ctx, cl.GetCache(), cl.GetAPIReader())
	if err != nil {
		return err
	}
	go func() { _ = cl.Start(ctx) }()
	cl.GetCache().WaitForCacheSync(ctx)
	metrics := webhook.NewMetrics(c.registry)
	mux := http.NewServeMux()
	mux.Handle("/mutate", &webhook.Mutator{
		Decider: engine, Cluster: informers, Keys: stampKeys, Exempt: func(namespace string) bool { return namespace == exempt },
		Metrics: metrics, Log: slog.New(slog.DiscardHandler),
	})
	mux.HandleFunc("/sidecar", injectSidecar)
	mux.Handle("/guard", &webhook.Guard{Trusted: trusted, Access: webhook.SubjectAccess{Client: cl.GetClient()}, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
	if err := copyCA(o.LocalServingCertDir); err != nil {
		return err
	}
	dir, err := certs.OpenDir(o.LocalServingCertDir)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(o.LocalServingHost, strconv.Itoa(o.LocalServingPort)))
	if err != nil {
		return err
	}
	server := &webhook.Server{Handler: mux, TLS: dir.ServerConfig(), Log: slog.New(slog.DiscardHandler)}
	go func() { _ = server.Serve(ctx, listener) }()
	return nil
}

// copyCA gives the directory the ca.crt that a mounted Secret has.
func copyCA(dir string) error {
	pair, err := os.ReadFile(dir + "/tls.crt")
	if err != nil {
		return err
	}
	return os.WriteFile(dir+"/ca.crt", pair, 0o600)
}

// prepare makes the objects that every test finds.
func (c *testCluster) prepare(ctx context.Context) error {
	never := corev1.PreemptNever
	for _, object := range []client.Object{
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "detnet-critical"}, Value: 1_000_000},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "detnet-best-effort"}, Value: -100, PreemptionPolicy: &never},
		&schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "of-the-user"}, Value: 7},
	} {
		if err := c.client.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

// stampKeys are those that the webhook under test signs with.
func stampKeys() signature.Keys { return signature.Keys{Current: signature.Key("a key for tests")} }

// exempt is a namespace that the webhook leaves alone, though it is called.
const exempt = "t-exempt"

func ciliumCRD() (*apiextensionsv1.CustomResourceDefinition, error) {
	raw, err := crds.EmbedFS.ReadFile("ciliumnetworkpolicies.yaml")
	if err != nil {
		return nil, err
	}
	crd := &apiextensionsv1.CustomResourceDefinition{}
	return crd, yaml.UnmarshalStrict(raw, crd)
}

// unserved is the label of namespaces that the webhook is not called for.
const unserved = "unserved"

func mutatingWebhooks() []*admissionregv1.MutatingWebhookConfiguration {
	path, fail, none := "/mutate", admissionregv1.Fail, admissionregv1.SideEffectClassNone
	again := admissionregv1.IfNeededReinvocationPolicy
	return []*admissionregv1.MutatingWebhookConfiguration{{
		ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
		Webhooks: []admissionregv1.MutatingWebhook{{
			Name:                    "mutate.detnet.dev",
			AdmissionReviewVersions: []string{"v1"},
			FailurePolicy:           &fail, // a failed call must fail the test
			SideEffects:             &none,
			ReinvocationPolicy:      &again,
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: unserved, Operator: metav1.LabelSelectorOpDoesNotExist,
			}}},
			ClientConfig: admissionregv1.WebhookClientConfig{Service: &admissionregv1.ServiceReference{Name: "detnet-webhook", Namespace: "default", Path: &path}},
			Rules: []admissionregv1.RuleWithOperations{{
				Operations: []admissionregv1.OperationType{admissionregv1.Create},
				Rule:       admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}}
}

// warnings collects what the API server passed on to the client.
type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

// take returns the warnings since the last call.
func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.text
	w.text = nil
	return out
}

// eventually tries f until it holds, for what other processes do in their own
// time.
func eventually(t *testing.T, f func() bool) {
	t.Helper()
	await.Until(t, "the state waited for", f)
}

// installGuard puts one form of the guard in force until remove is called.
func (c *testCluster) installGuard(t *testing.T, form string) (remove func()) {
	t.Helper()
	policy, binding := webhook.GuardPolicy(trusted)
	objects := []client.Object{policy, binding}
	if form == "webhook" {
		mutating := &admissionregv1.MutatingWebhookConfiguration{}
		if err := c.client.Get(t.Context(), client.ObjectKey{Name: "detnet-webhook"}, mutating); err != nil {
			t.Fatal(err)
		}
		to := mutating.Webhooks[0].ClientConfig
		url := strings.Replace(*to.URL, "/mutate", "/guard", 1)
		to.URL = &url
		fail, none := admissionregv1.Fail, admissionregv1.SideEffectClassNone
		objects = []client.Object{&admissionregv1.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
			Webhooks: []admissionregv1.ValidatingWebhook{{
				Name: "guard.detnet.dev", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &fail, SideEffects: &none,
				ClientConfig: to, MatchConditions: webhook.GuardConditions(trusted),
				Rules: []admissionregv1.RuleWithOperations{policy.Spec.MatchConstraints.ResourceRules[0].RuleWithOperations},
			}},
		}}
	}
	for _, object := range objects {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, object := range objects {
			_ = c.client.Delete(context.WithoutCancel(t.Context()), object)
		}
	}
}
