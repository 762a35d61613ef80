// Command detnet-controller keeps the latency of critical pods inside their
// targets by moving the limits of the others.
package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"

	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
)

func main() { os.Exit(run()) }

func run() int {
	o, err := parseFlags(os.Args[1:])
	if err != nil {
		return 2 // the flag package has said why
	}
	log, err := newLogger(o.logLevel, o.logFormat)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := serve(signals.SetupSignalHandler(), o, log); err != nil {
		log.Error("controller failed", "err", err)
		return 1
	}
	return 0
}

// options are the flags.
type options struct {
	config, kubeconfig          string
	staticTargets               string
	namespace                   string
	mode, law                   string
	metricsAddr, healthAddr     string
	uiAddr                      string
	leaderElect                 bool
	agentTLSDir, agentTLSSecret string
	webhookConfig               string
	logLevel, logFormat         string
}

func parseFlags(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("detnet-controller", flag.ContinueOnError)
	f.StringVar(&o.config, "config", "", "configuration `file` (docs/reference/configuration.md), followed as it changes; flags win")
	f.StringVar(&o.staticTargets, "static-targets", "", "critical-apps.yaml of the original controller: `file` with endpoints to measure and Deployments to throttle, followed as it changes")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` to reach the cluster with from outside; empty in a pod")
	f.StringVar(&o.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the install; default $POD_NAMESPACE")
	f.StringVar(&o.mode, "mode", "", "enforce, observe (decide and report, write nothing) or off; empty: as configured")
	f.StringVar(&o.law, "law", "", "adaptive, aimd or step; empty: as configured")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":8080", "`address` of /metrics; 0 for none")
	f.StringVar(&o.healthAddr, "health-addr", ":8081", "`address` of /healthz and /readyz; 0 for none")
	f.StringVar(&o.uiAddr, "ui-addr", ":8082", "`address` of the status page and /status; 0 for none")
	f.BoolVar(&o.leaderElect, "leader-elect", true, "let one of several replicas lead")
	f.StringVar(&o.agentTLSDir, "agent-tls-dir", "/etc/detnet/agent-tls", "`directory` with tls.crt, tls.key and ca.crt, used when --agent-tls-secret is empty; both empty: plaintext, for tests")
	f.StringVar(&o.agentTLSSecret, "agent-tls-secret", "detnet-agent-tls", "Secret in which the controller issues and rotates the certificate itself; empty: somebody else fills --agent-tls-dir")
	f.StringVar(&o.webhookConfig, "webhook-config", "detnet-webhook", "MutatingWebhookConfiguration whose webhook is asked what a pod that slipped past it lacks; empty: such pods are only reported")
	f.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.logFormat, "log-format", "json", "json or text")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if o.namespace == "" {
		o.namespace = "detnet"
	}
	return o, nil
}

func newLogger(level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level: %q must be debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), nil
	}
	return nil, fmt.Errorf("--log-format: %q must be json or text", format)
}
