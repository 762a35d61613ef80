package attack

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	crds "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client/crds/v2"
	"github.com/prometheus/client_golang/prometheus"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/controller/netpol"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/test/attack/selfsigned"
	"github.com/detnet/detnet/webhook"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
	"github.com/detnet/detnet/workload/signature"
)

var ciliumPolicies = schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumnetworkpolicies"}

// serviceAddress is the ClusterIP of the webhook's Service. The range of Services
// is on the loopback interface, so it is reached without a proxy.
const serviceAddress = "127.66.0.10"

// policed is a real API server with Cilium's kinds, detnet's webhook where the API
// server finds it, and a Keeper of network policies that asks it.
type policed struct {
	t        *testing.T
	config   *rest.Config
	admin    kubernetes.Interface
	dynamic  dynamic.Interface
	registry *prometheus.Registry

	keys    atomic.Pointer[signature.Keys] // the webhook's
	serving atomic.Pointer[tls.Config]     // its TLS
	away    func()                         // ends it
	port    string                         // it listens at; "0": any
	secure  func(*tls.Config) *tls.Config

	mu     sync.Mutex
	events []string
}

// exempt are the namespaces that the webhook leaves alone.
var exempt = []string{"kube-system", "detnet"}

var (
	firstKey, secondKey, thirdKey = newKey("a"), newKey("b"), newKey("c")
	webhookCertificate            = selfsigned.Certificate("detnet-webhook.detnet.svc")
)

func newKey(letter string) signature.Key {
	return signature.Key(strings.Repeat(letter, signature.KeyLength))
}

func police(t *testing.T) *policed {
	return policeAt(t, "0", func(c *tls.Config) *tls.Config { return c })
}

// policeAt has the webhook listen at a port, by a TLS configuration that secure makes
// of the usual one, and the API server started with more flags.
func policeAt(t *testing.T, port string, secure func(*tls.Config) *tls.Config, flags ...string) *policed {
	env := apitest.Start(t, append(flags, "service-cluster-ip-range=127.66.0.0/24")...)
	w := &policed{
		t: t, config: env.Config, registry: prometheus.NewRegistry(), port: port, secure: secure,
		admin: kubernetes.NewForConfigOrDie(env.Config), dynamic: dynamic.NewForConfigOrDie(env.Config),
	}
	w.keys.Store(&signature.Keys{Current: firstKey})
	w.installCilium()
	for _, name := range []string{"detnet", "factory", "tenant", "squatter"} {
		_, err := w.admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		w.must(err)
		_, err = w.admin.CoreV1().ServiceAccounts(name).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{})
		w.must(err)
	}
	w.register(w.serve())
	w.keep()
	w.eventually("the API server calls the webhook", func() bool {
		p, err := w.admin.CoreV1().Pods("factory").Create(t.Context(), upload("factory"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err == nil && p.Labels[workload.LabelClass] == "best-effort"
	})
	return w
}

func (w *policed) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *policed) installCilium() {
	var kinds []*apiextensionsv1.CustomResourceDefinition
	for _, file := range []string{"ciliumnetworkpolicies.yaml", "ciliumclusterwidenetworkpolicies.yaml"} {
		raw, err := crds.EmbedFS.ReadFile(file)
		w.must(err)
		crd := &apiextensionsv1.CustomResourceDefinition{}
		w.must(yaml.UnmarshalStrict(raw, crd))
		kinds = append(kinds, crd)
	}
	apitest.Install(w.t, w.config, kinds...)
}

// serve runs the webhook as cmd/detnet-webhook wires it and returns its port.
func (w *policed) serve() int32 {
	ctx, stop := context.WithCancel(context.Background())
	engine, err := policies.Load(ctx, policies.Default())
	w.must(err)
	cl, err := cluster.New(w.config, func(o *cluster.Options) { o.Cache = webhook.CacheOptions() })
	w.must(err)
	informers, err := webhook.NewInformers(ctx, cl.GetCache(), cl.GetAPIReader())
	w.must(err)
	log := slog.New(slog.DiscardHandler)
	mux := http.NewServeMux()
	keys := func() signature.Keys { return *w.keys.Load() }
	mux.Handle("/mutate", &webhook.Mutator{
		Decider: engine, Cluster: informers, Keys: keys, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: log,
		Exempt: func(namespace string) bool { return slices.Contains(exempt, namespace) },
	})
	mux.Handle(ask.Path, &webhook.Policies{Decider: engine, Cluster: informers, Keys: keys, Log: log})
	w.serving.Store(w.secure(&tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{webhookCertificate}}))
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(serviceAddress, w.port))
	w.must(err)
	server := &webhook.Server{Handler: mux, Log: log, Grace: time.Minute, TLS: &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{webhookCertificate},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.serving.Load(), nil },
	}}
	var running sync.WaitGroup
	running.Go(func() { _ = cl.Start(ctx) })
	running.Go(func() { _ = server.Serve(ctx, listener) })
	w.away = sync.OnceFunc(func() { stop(); running.Wait() })
	w.t.Cleanup(w.away)
	cl.GetCache().WaitForCacheSync(ctx)
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

// register tells the API server of the webhook, as the chart does.
func (w *policed) register(port int32) {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"}, Spec: corev1.ServiceSpec{ClusterIP: serviceAddress, Ports: []corev1.ServicePort{{Port: port}}}}
	_, err := w.admin.CoreV1().Services("detnet").Create(w.t.Context(), service, metav1.CreateOptions{})
	w.must(err)
	path, ignore, none := "/mutate", registrationv1.Ignore, registrationv1.SideEffectClassNone
	_, err = w.admin.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(w.t.Context(), &registrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"},
		Webhooks: []registrationv1.MutatingWebhook{{
			Name: "pods.detnet.dev", AdmissionReviewVersions: []string{"v1"}, FailurePolicy: &ignore, SideEffects: &none,
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpNotIn, Values: exempt},
			}},
			ClientConfig: registrationv1.WebhookClientConfig{
				Service:  &registrationv1.ServiceReference{Namespace: "detnet", Name: "detnet-webhook", Path: &path, Port: &port},
				CABundle: pemOf(webhookCertificate),
			},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}, metav1.CreateOptions{})
	w.must(err)
}

func pemOf(c tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// asker asks the webhook as the controller does, with this key.
func (w *policed) asker(key signature.Key) *netpol.Webhook {
	return &netpol.Webhook{Hook: hook.Hook{Client: w.admin, Name: "detnet-webhook"}, Key: func() []byte { return key }}
}

// keep has the network policies kept until the test ends.
func (w *policed) keep() {
	synced := make(chan struct{})
	close(synced)
	keeper, err := netpol.New(netpol.Settings{
		Config: w.config, To: write.New(kubernetes.NewForConfigOrDie(w.config), nil, w, slog.New(slog.NewTextHandler(w.t.Output(), nil))),
		Asker: w.asker(firstKey), Synced: synced, Events: w, Registerer: w.registry, Now: time.Now,
		Mode: func(string) workload.ControlMode { return workload.Enforce },
		Log:  slog.New(slog.NewTextHandler(w.t.Output(), nil)),
	})
	w.must(err)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- keeper.Start(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// Eventf implements netpol.Events.
func (w *policed) Eventf(_, _ runtime.Object, _, reason, _, _ string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, reason+": "+args[0].(string))
}

func (w *policed) heard(text string) func() bool {
	return func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.ContainsFunc(w.events, func(e string) bool { return strings.Contains(e, text) })
	}
}

func (w *policed) eventually(what string, is func() bool) {
	w.t.Helper()
	await.Until(w.t, what, is)
}

// upload is a pod that declares a port.
func upload(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "upload", Labels: map[string]string{"app": "upload", workload.LabelPriority: "best-effort"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none", Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}},
	}
}

// made are the CiliumNetworkPolicies of a namespace, "" for all.
func (w *policed) made(namespace string) []unstructured.Unstructured {
	w.t.Helper()
	list, err := w.dynamic.Resource(ciliumPolicies).Namespace(namespace).List(w.t.Context(), metav1.ListOptions{})
	w.must(err)
	return list.Items
}

// figure is how many policies are in a state, as the metric has it.
func (w *policed) figure(state string) float64 {
	families, err := w.registry.Gather()
	w.must(err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "detnet_network_policies" && m.GetLabel()[0].GetValue() == state {
				return m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
