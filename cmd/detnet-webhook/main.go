// Command detnet-webhook stamps pods at admission.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/issuer"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/internal/listen"
	"github.com/detnet/detnet/internal/plainfile"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/webhook"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
	"github.com/detnet/detnet/workload/signature"
)

type options struct {
	port                               int
	metricsAddr, healthAddr            string
	policyDir, shadowDir               string
	bundleURL, bundleKey               string
	bundleEvery                        time.Duration
	policyKeep, policyFallback         string
	bundleAccess                       live.Access
	certDir                            string
	certSecret, service, webhookConfig string
	certIssuer                         string
	clientCAFiles, clientNames         string
	trustedUsers, trustedGroups        string
	linger                             time.Duration
	namespace                          string
	mode                               workload.ControlMode
	ignored                            string
	siblingLabels                      string
	failClosed                         bool
}

func main() {
	os.Exit(program.Run("detnet-webhook", os.Args[1:], &options{namespace: os.Getenv("POD_NAMESPACE")}))
}

// Serve implements program.Program.
func (o *options) Serve(ctx context.Context, log *slog.Logger) error { return serve(ctx, *o, log) }

// Flags implements program.Program.
func (o *options) Flags(f *flag.FlagSet) {
	f.IntVar(&o.port, "port", 10250, "port of the webhook (TLS)")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":8080", "address of /metrics and /status")
	f.StringVar(&o.healthAddr, "health-addr", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.policyDir, "policy-dir", "", "directory of policy files laid over the default set; empty: the default set alone")
	f.StringVar(&o.shadowDir, "policy-shadow-dir", "", "directory of a candidate policy that is evaluated beside the one in force, without effect")
	f.StringVar(&o.bundleURL, "policy-bundle", "", "URL of a signed OPA bundle laid over the default set, instead of --policy-dir")
	f.StringVar(&o.bundleKey, "policy-bundle-key", "", "file with the public key (PEM) that verifies the bundle")
	f.DurationVar(&o.bundleEvery, "policy-bundle-interval", time.Minute, "how often to look for a new bundle")
	f.StringVar(&o.policyKeep, "policy-keep", "", "directory for the last good policy, which stands in at a start at which the site's can't be had or is refused; empty: none is kept")
	f.StringVar(&o.policyFallback, "policy-fallback", fallbackDefault, "what is in force at such a start where none was kept: default, the default set; none: do not start")
	f.StringVar(&o.bundleAccess.TokenFile, "policy-bundle-token-file", "", "file with the bearer token for the bundle's server")
	f.StringVar(&o.bundleAccess.CAFile, "policy-bundle-ca-file", "", "file with the authorities (PEM) that vouch for the bundle's server; empty: the system's")
	f.StringVar(&o.bundleAccess.CertFile, "policy-bundle-cert-file", "", "file with the client certificate (PEM) for the bundle's server")
	f.StringVar(&o.bundleAccess.KeyFile, "policy-bundle-cert-key-file", "", "file with its key")
	f.StringVar(&o.siblingLabels, "sibling-labels", "", "labels, separated by commas, of which the value of the first that a pod has names its workload")
	f.StringVar(&o.certDir, "cert-dir", "", "directory with tls.crt, tls.key and ca.crt; empty: self-managed")
	f.StringVar(&o.certSecret, "cert-secret", "detnet-webhook-tls", "Secret of the self-managed certificate")
	f.StringVar(&o.certIssuer, "cert-issuer", "self", "who issues the certificate in the Secret: self, or cert-manager (or anybody else who writes it)")
	f.StringVar(&o.clientCAFiles, "client-ca-files", "", "files with the authorities (PEM) of those who may call, separated by commas: the API server's and the controller's; empty: everybody may")
	f.StringVar(&o.clientNames, "client-names", "", "names that a caller's certificate may carry, separated by commas; empty: any")
	f.StringVar(&o.service, "service", "detnet-webhook", "Service the API server calls; names the self-managed certificate")
	f.StringVar(&o.webhookConfig, "webhook-config", "detnet-webhook", "name of the webhook configurations that get the self-managed CA")
	f.StringVar(&o.trustedUsers, "trusted-users", "system:serviceaccount:"+o.namespace+":detnet-controller", "users who may change managed keys on live pods, separated by commas")
	f.StringVar(&o.trustedGroups, "trusted-groups", "system:masters,detnet:admins", "groups who may, likewise")
	f.DurationVar(&o.linger, "shutdown-linger", 5*time.Second, "how long to go on serving after readiness went off")
	f.Func("mode", "enforce; observe: stamp only what would be done; off: stamp nothing. A namespace may tighten it (default enforce)", func(text string) (err error) {
		o.mode, err = workload.ParseControlMode(text)
		return err
	})
	f.StringVar(&o.ignored, "ignore-namespaces", "", "namespaces that are left alone, separated by commas, besides kube-system, kube-public, kube-node-lease and that of this pod")
	f.BoolVar(&o.failClosed, "fail-closed", false, "refuse pods that could not be evaluated, as failurePolicy Fail asks for")
}

// Check implements program.Program.
func (o *options) Check() error {
	if err := o.checkPolicy(); err != nil {
		return err
	}
	if o.certIssuer != "self" && o.certIssuer != "cert-manager" {
		return fmt.Errorf("--cert-issuer %q: want self or cert-manager", o.certIssuer)
	}
	if o.clientNames != "" && o.clientCAFiles == "" {
		return errors.New("--client-names needs --client-ca-files: without an authority anybody has any name")
	}
	if o.certDir == "" && o.namespace == "" {
		return errors.New("a self-managed certificate needs POD_NAMESPACE in the environment; set it or give --cert-dir")
	}
	for _, name := range strings.Split(o.clientCAFiles, ",") {
		if err := plainfile.Flags(map[string]string{"--client-ca-files": name}); err != nil {
			return err
		}
	}
	return plainfile.Flags(map[string]string{
		"--policy-bundle-key": o.bundleKey, "--policy-bundle-token-file": o.bundleAccess.TokenFile, "--policy-bundle-ca-file": o.bundleAccess.CAFile,
		"--policy-bundle-cert-file": o.bundleAccess.CertFile, "--policy-bundle-cert-key-file": o.bundleAccess.KeyFile,
	})
}

func serve(ctx context.Context, o options, log *slog.Logger) error {
	source, err := openPolicy(o)
	if err != nil {
		return err
	}
	start, err := source.load(ctx, log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry() // controller-runtime's is the process's, and takes no name twice
	active := activate(start, registry, log)

	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log) // client-go's watches say there what they are denied
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Cache: webhook.CacheOptions(),
		// Our own listeners are bounded.
		HealthProbeBindAddress: "0",
		Metrics:                metricsserver.Options{BindAddress: "0"},
	})
	if err != nil {
		return fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	checks := map[string]healthz.Checker{}
	serving, err := certificate(mgr, o, registry, checks)
	if err != nil {
		return err
	}
	if o.clientCAFiles != "" {
		serving = callers(o).Require(serving)
	}
	event := eventOn(mgr, o.namespace)
	refused := func(err error) { event("PolicyRefused", "ReloadPolicy", "the policy in force stays: "+err.Error()) }
	missing := func(err error) { event("PriorityClassMissing", "Stamp", err.Error()) }
	if err := addShadow(mgr, o.shadowDir, active, registry, log, refused); err != nil {
		return err
	}
	living := alive.New()
	server, err := addServer(ctx, mgr, o, active, serving, living, missing, registry, log)
	if err != nil {
		return err
	}
	checks["serving"] = server.Ready
	if checks["policy"], err = addStandby(mgr, o.namespace, active, log); err != nil {
		return err
	}
	if err := addPages(ctx, mgr, o, active, living, checks, registry, log); err != nil {
		return err
	}
	if err := mgr.Add(program.EveryReplica(func(ctx context.Context) error {
		if start.Instead != "" {
			event("PolicyStandIn", "LoadPolicy", fmt.Sprintf("the %s is in force instead of the site's policy: %v", start.Instead, start.Why))
		}
		return source.follow(ctx, start, active, log, refused)
	})); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// certificate comes from a mounted directory where somebody else provides it,
// else it is detnet's own.
func certificate(mgr manager.Manager, o options, registry *prometheus.Registry, checks map[string]healthz.Checker) (*tls.Config, error) {
	if o.certDir != "" {
		dir, err := certs.OpenDir(o.certDir)
		if err != nil {
			return nil, err
		}
		if err := dir.RegisterExpiry(registry, "webhook"); err != nil {
			return nil, err
		}
		return dir.ServerConfig(), mgr.Add(program.EveryReplica(dir.Run))
	}
	secret, err := issuer.SelfManaged(mgr, issuer.Config{
		Secret:   types.NamespacedName{Namespace: o.namespace, Name: o.certSecret},
		DNSNames: []string{o.service + "." + o.namespace + ".svc"},
		Webhooks: o.webhookConfig,
		Followed: o.certIssuer != "self",
	})
	if err != nil {
		return nil, err
	}
	if err := secret.RegisterExpiry(registry, "webhook"); err != nil {
		return nil, err
	}
	checks["certificate"] = secret.Ready
	return secret.ServerConfig(), nil
}

// reviewPatience is more than an API server waits, and than reading the request
// and writing the answer may take.
const reviewPatience = 2 * time.Minute

// exempt reports whether a namespace is left alone.
func (o options) exempt(namespace string) bool {
	always := []string{"kube-system", "kube-public", "kube-node-lease", o.namespace}
	return slices.Contains(append(always, strings.Split(o.ignored, ",")...), namespace)
}

// stampKey follows the key that signs stamps.
func stampKey(mgr manager.Manager, o options, log *slog.Logger) (*signature.Secret, error) {
	client, err := kubernetes.NewForConfig(mgr.GetConfig())
	if err != nil {
		return nil, fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	keys := &signature.Secret{Client: client, Namespace: o.namespace, Log: log}
	if o.namespace == "" { // there is nowhere to keep a key
		return keys, nil
	}
	return keys, mgr.Add(keys)
}

// callers are those that the webhook answers.
func callers(o options) certs.Callers {
	c := certs.Callers{Files: strings.Split(o.clientCAFiles, ",")}
	if o.clientNames != "" {
		c.Names = strings.Split(o.clientNames, ",")
	}
	return c
}

func addServer(ctx context.Context, mgr manager.Manager, o options, active *live.Active, serving *tls.Config, living *alive.Watch, missing func(error), registry *prometheus.Registry, log *slog.Logger) (*webhook.Server, error) {
	cluster, err := webhook.NewInformers(ctx, mgr.GetCache(), mgr.GetAPIReader(), strings.FieldsFunc(o.siblingLabels, func(r rune) bool { return r == ',' })...)
	if err != nil {
		return nil, err
	}
	keys, err := stampKey(mgr, o, log)
	if err != nil {
		return nil, err
	}
	named := webhook.MissingPriorityClasses{Named: func() []string { return active.Engine().PriorityClasses() }, Cluster: cluster, Tell: missing, Log: log}
	if err := mgr.Add(program.EveryReplica(named.Register(registry).Run)); err != nil {
		return nil, err
	}
	figures := webhook.NewMetrics(registry)
	asked := program.Sparing(log) // anybody who reaches the port may ask
	mux := http.NewServeMux()
	mux.Handle(ask.Path, living.Handler("a question about network policies", reviewPatience, &webhook.Policies{
		Decider: active, Cluster: cluster, Keys: keys.Keys, Log: asked,
	}))
	mux.Handle("/mutate", living.Handler("a review", reviewPatience, &webhook.Mutator{
		Decider: active,
		Cluster: cluster,
		Metrics: figures,
		Log:     asked,

		Mode:       o.mode,
		Keys:       keys.Keys,
		Exempt:     o.exempt,
		FailClosed: o.failClosed,
	}))
	mux.Handle("/guard", living.Handler("a review of the guard", reviewPatience, &webhook.Guard{
		Trusted: webhook.Trusted{Users: strings.Split(o.trustedUsers, ","), Groups: strings.Split(o.trustedGroups, ",")},
		Access:  webhook.SubjectAccess{Client: mgr.GetClient()},
		Metrics: figures,
		Log:     asked,
	}))
	listener, err := listen.TCP(ctx, "admission", net.JoinHostPort("", strconv.Itoa(o.port)), listen.Many, log, registry)
	if err != nil {
		return nil, err
	}
	server := &webhook.Server{Handler: mux, TLS: serving, Log: log, Linger: o.linger, Grace: 15 * time.Second, ConnState: listener.Track}
	return server, mgr.Add(program.EveryReplica(func(ctx context.Context) error { return server.Serve(ctx, listener) }))
}

// eventOn reports what is wrong with the policy as an Event on this replica's pod.
func eventOn(mgr manager.Manager, namespace string) func(reason, action, note string) {
	recorder := mgr.GetEventRecorder("detnet-webhook")
	name, _ := os.Hostname() // the pod's name
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
	return func(reason, action, note string) {
		const longest = 1000 // an Event's note holds 1 KiB
		recorder.Eventf(pod, nil, corev1.EventTypeWarning, reason, action, "%s", note[:min(len(note), longest)])
	}
}
