// Command detnet-controller keeps the latency of critical pods inside their
// targets by moving the limits of the others.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"

	"github.com/detnet/detnet/internal/plainfile"
	"github.com/detnet/detnet/internal/program"
)

func main() { os.Exit(program.Run("detnet-controller", os.Args[1:], new(options))) }

// options are the flags.
type options struct {
	config, kubeconfig          string
	staticTargets               string
	namespace                   string
	mode, law                   string
	metricsAddr, healthAddr     string
	uiAddr, metricsClientCA     string
	leaderElect                 bool
	agentTLSDir, agentTLSSecret string
	controllerTLSSecret         string
	webhookConfig               string
}

// Flags implements program.Program.
func (o *options) Flags(f *flag.FlagSet) {
	f.StringVar(&o.config, "config", "", "configuration `file` (docs/reference/configuration.md), followed as it changes; flags win")
	f.StringVar(&o.staticTargets, "static-targets", "", "critical-apps.yaml of the original controller: `file` with endpoints to measure and Deployments to throttle, followed as it changes")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` to reach the cluster with from outside; empty in a pod")
	f.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the install; default $POD_NAMESPACE")
	f.StringVar(&o.mode, "mode", "", "enforce, observe (decide and report, write nothing) or off; empty: as configured")
	f.StringVar(&o.law, "law", "", "adaptive, aimd or step; empty: as configured")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":8080", "`address` of /metrics; 0 for none")
	f.StringVar(&o.metricsClientCA, "metrics-client-ca-file", "", "`file` with the authorities (PEM) of those who may read /metrics, over TLS with the agents' certificate; empty: everybody may, in plain text")
	f.StringVar(&o.healthAddr, "health-addr", ":8081", "`address` of /healthz and /readyz; 0 for none")
	f.StringVar(&o.uiAddr, "ui-addr", ":8082", "`address` of the status page and /status; 0 for none")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let one of several replicas lead")
	f.StringVar(&o.agentTLSDir, "agent-tls-dir", "/etc/detnet/agent-tls", "`directory` with tls.crt, tls.key and ca.crt, used when --agent-tls-secret is empty; both empty: plaintext, for tests")
	f.StringVar(&o.agentTLSSecret, "agent-tls-secret", "detnet-agent-tls", "Secret in which the controller issues and rotates the certificate itself; empty: somebody else fills --agent-tls-dir")
	f.StringVar(&o.controllerTLSSecret, "controller-tls-secret", "detnet-controller-tls", "Secret in which the controller issues the certificate that it alone shows to agents and to the webhook; what they need to trust it is in the ConfigMap of that name. Empty, and without --agent-tls-secret: it shows that of the agents")
	f.StringVar(&o.webhookConfig, "webhook-config", "detnet-webhook", "MutatingWebhookConfiguration whose webhook is asked what a pod that slipped past it lacks; empty: such pods are only reported")
}

// Check implements program.Program. What the flags say of the configuration is
// checked with it.
func (o *options) Check() error {
	o.namespace = cmp.Or(o.namespace, "detnet")
	if o.metricsClientCA != "" && o.agentTLSSecret == "" && o.agentTLSDir == "" {
		return errors.New("--metrics-client-ca-file needs a certificate to serve with: --agent-tls-secret or --agent-tls-dir")
	}
	return plainfile.Flags(map[string]string{
		"--config": o.config, "--static-targets": o.staticTargets, "--kubeconfig": o.kubeconfig, "--metrics-client-ca-file": o.metricsClientCA,
	})
}

// Serve implements program.Program.
func (o *options) Serve(ctx context.Context, log *slog.Logger) error { return serve(ctx, *o, log) }
