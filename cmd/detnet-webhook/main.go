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
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/issuer"
	"github.com/detnet/detnet/internal/alive"
	"github.com/detnet/detnet/policies/live"
	"github.com/detnet/detnet/webhook"
)

type options struct {
	port                               int
	metricsAddr, healthAddr            string
	policyDir, shadowDir               string
	bundleURL, bundleKey               string
	bundleEvery                        time.Duration
	certDir                            string
	certSecret, service, webhookConfig string
	logLevel, logFormat                string
	trustedUsers, trustedGroups        string
	linger                             time.Duration
	namespace                          string
}

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	o, err := parseFlags(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "detnet-webhook:", err)
		return 2
	}
	log, err := newLogger(o.logLevel, o.logFormat)
	if err != nil {
		fmt.Fprintln(os.Stderr, "detnet-webhook:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, o, log); err != nil {
		log.Error("stopped", "error", err)
		return 1
	}
	return 0
}

func parseFlags(args []string) (options, error) {
	o := options{namespace: os.Getenv("POD_NAMESPACE")}
	f := flag.NewFlagSet("detnet-webhook", flag.ContinueOnError)
	f.IntVar(&o.port, "port", 10250, "port of the webhook (TLS)")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":8080", "address of /metrics and /status")
	f.StringVar(&o.healthAddr, "health-addr", ":8081", "address of /healthz and /readyz")
	f.StringVar(&o.policyDir, "policy-dir", "", "directory of policy files laid over the default set; empty: the default set alone")
	f.StringVar(&o.shadowDir, "policy-shadow-dir", "", "directory of a candidate policy that is evaluated beside the one in force, without effect")
	f.StringVar(&o.bundleURL, "policy-bundle", "", "URL of a signed OPA bundle laid over the default set, instead of --policy-dir")
	f.StringVar(&o.bundleKey, "policy-bundle-key", "", "file with the public key (PEM) that verifies the bundle")
	f.DurationVar(&o.bundleEvery, "policy-bundle-interval", time.Minute, "how often to look for a new bundle")
	f.StringVar(&o.certDir, "cert-dir", "", "directory with tls.crt, tls.key and ca.crt; empty: self-managed")
	f.StringVar(&o.certSecret, "cert-secret", "detnet-webhook-tls", "Secret of the self-managed certificate")
	f.StringVar(&o.service, "service", "detnet-webhook", "Service the API server calls; names the self-managed certificate")
	f.StringVar(&o.webhookConfig, "webhook-config", "detnet-webhook", "name of the webhook configurations that get the self-managed CA")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")
	f.StringVar(&o.trustedUsers, "trusted-users", "system:serviceaccount:"+o.namespace+":detnet-controller", "users who may change managed keys on live pods, separated by commas")
	f.StringVar(&o.trustedGroups, "trusted-groups", "system:masters,detnet:admins", "groups who may, likewise")
	f.DurationVar(&o.linger, "shutdown-linger", 5*time.Second, "how long to go on serving after readiness went off")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.policyDir != "" && o.bundleURL != "" {
		return o, errors.New("--policy-dir and --policy-bundle exclude each other")
	}
	if o.bundleURL != "" && o.bundleKey == "" {
		return o, errors.New("--policy-bundle needs --policy-bundle-key: unsigned policies are not taken")
	}
	if o.certDir == "" && o.namespace == "" {
		return o, errors.New("a self-managed certificate needs POD_NAMESPACE in the environment; set it or give --cert-dir")
	}
	return o, nil
}

func newLogger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want json or text", format)
}

func serve(ctx context.Context, o options, log *slog.Logger) error {
	source, err := openPolicy(o)
	if err != nil {
		return err
	}
	engine, err := source.load(ctx)
	if err != nil {
		return err
	}
	active := live.NewActive(engine, time.Now(), metrics.Registry)
	log.Info("policy set in force", "hash", engine.Hash())

	ctrl.SetLogger(logr.FromSlogHandler(log.Handler()))
	klog.SetSlogLogger(log) // client-go's watches say there what they are denied
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Cache:                  webhook.CacheOptions(),
		HealthProbeBindAddress: o.healthAddr,
		Metrics: metricsserver.Options{
			BindAddress:   o.metricsAddr,
			ExtraHandlers: map[string]http.Handler{"/status": webhook.StatusHandler(active.Status)},
		},
	})
	if err != nil {
		return fmt.Errorf("prepare the connection to the API server: %w", err)
	}
	serving, err := certificate(mgr, o)
	if err != nil {
		return err
	}
	refused := eventOn(mgr, o.namespace)
	if err := addShadow(mgr, o.shadowDir, active, log, refused); err != nil {
		return err
	}
	if err := addServer(ctx, mgr, o, active, serving, log); err != nil {
		return err
	}
	if err := mgr.Add(everyReplica(func(ctx context.Context) error {
		return source.follow(ctx, active, log, refused)
	})); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// certificate comes from a mounted directory where somebody else provides it,
// else it is detnet's own.
func certificate(mgr manager.Manager, o options) (*tls.Config, error) {
	if o.certDir != "" {
		dir, err := certs.OpenDir(o.certDir)
		if err != nil {
			return nil, err
		}
		if err := dir.RegisterExpiry(metrics.Registry, "webhook"); err != nil {
			return nil, err
		}
		return dir.ServerConfig(), mgr.Add(everyReplica(dir.Run))
	}
	secret, err := issuer.SelfManaged(mgr, issuer.Config{
		Secret:   types.NamespacedName{Namespace: o.namespace, Name: o.certSecret},
		DNSNames: []string{o.service + "." + o.namespace + ".svc"},
		Webhooks: o.webhookConfig,
	})
	if err != nil {
		return nil, err
	}
	if err := secret.RegisterExpiry(metrics.Registry, "webhook"); err != nil {
		return nil, err
	}
	return secret.ServerConfig(), mgr.AddReadyzCheck("certificate", secret.Ready)
}

// reviewPatience is more than an API server waits, and than reading the request
// and writing the answer may take.
const reviewPatience = 2 * time.Minute

func addServer(ctx context.Context, mgr manager.Manager, o options, active *live.Active, serving *tls.Config, log *slog.Logger) error {
	cluster, err := webhook.NewInformers(ctx, mgr.GetCache(), mgr.GetAPIReader())
	if err != nil {
		return err
	}
	figures := webhook.NewMetrics(metrics.Registry)
	mux := http.NewServeMux()
	living := alive.New()
	mux.Handle("/mutate", living.Handler("a review", reviewPatience, &webhook.Mutator{
		Decider: active,
		Cluster: cluster,
		Ensurer: webhook.NewApplier(mgr.GetClient(), time.Now),
		Metrics: figures,
		Log:     log,
	}))
	mux.Handle("/guard", living.Handler("a review of the guard", reviewPatience, &webhook.Guard{
		Trusted: webhook.Trusted{Users: strings.Split(o.trustedUsers, ","), Groups: strings.Split(o.trustedGroups, ",")},
		Access:  webhook.SubjectAccess{Client: mgr.GetClient()},
		Metrics: figures,
		Log:     log,
	}))
	server := &webhook.Server{Handler: mux, TLS: serving, Log: log, Linger: o.linger, Grace: 15 * time.Second}
	if err := mgr.AddHealthzCheck("alive", living.Check); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("serving", server.Ready); err != nil {
		return err
	}
	return mgr.Add(everyReplica(func(ctx context.Context) error {
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(o.port)))
		if err != nil {
			return fmt.Errorf("listen for admission requests: %w", err)
		}
		return server.Serve(ctx, listener)
	}))
}

// eventOn reports a refused policy set as an Event on this replica's pod.
func eventOn(mgr manager.Manager, namespace string) func(error) {
	recorder := mgr.GetEventRecorder("detnet-webhook")
	name, _ := os.Hostname() // the pod's name
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}
	return func(err error) {
		const longest = 1000 // an Event's note holds 1 KiB
		note := err.Error()
		recorder.Eventf(pod, nil, corev1.EventTypeWarning, "PolicyRefused", "ReloadPolicy", "the policy before it stays: %s", note[:min(len(note), longest)])
	}
}

// everyReplica runs without leader election, as all of the webhook does.
type everyReplica func(context.Context) error

func (run everyReplica) Start(ctx context.Context) error { return run(ctx) }
func (everyReplica) NeedLeaderElection() bool            { return false }
