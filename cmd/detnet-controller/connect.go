package main

import (
	"crypto/tls"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/issuer"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/program"
)

// Names on certificates: that of the agents, whatever address is dialled, and that of who may
// tell them what to do.
const (
	agentName = "detnet-agent"
	ownName   = "detnet-controller"
)

// newManager makes the manager, without its listeners, for ours are bounded, and
// without its election, which ends the process that loses it.
func newManager(cluster *rest.Config) (manager.Manager, error) {
	mgr, err := ctrl.NewManager(cluster, ctrl.Options{Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0"})
	if err != nil {
		return nil, fmt.Errorf("set up against %s: %w", cluster.Host, err)
	}
	return mgr, nil
}

func clusterConfig(kubeconfig string) (*rest.Config, error) {
	var c *rest.Config
	var err error
	if kubeconfig != "" {
		c, err = clientcmd.BuildConfigFromFlags("", kubeconfig)
	} else if c, err = rest.InClusterConfig(); err != nil {
		err = fmt.Errorf("%w; outside a pod give --kubeconfig", err)
	}
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w", err)
	}
	// The actuator has its own budget; this one only must not be in its way.
	c.QPS, c.Burst = 100, 200
	c.UserAgent = write.FieldManager + "/" + version
	return c, nil
}

// lead is the lease by which one of several replicas leads, and the connection by
// which it alone writes. Without election the lease is nil, and nobody else writes.
func lead(cluster *rest.Config, o options) (*leader.Held, *rest.Config, error) {
	writing := rest.CopyConfig(cluster)
	if !o.leaderElect {
		return nil, writing, nil
	}
	held, err := leader.NewHeld(cluster, o.namespace)
	if err != nil {
		return nil, nil, err
	}
	writing.Wrap(held.Guard)
	return held, writing, nil
}

// identity is how this program is known to others, and they to it.
type identity struct {
	agents  credentials.TransportCredentials
	serving *certs.Current                                              // that of the agents
	shows   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) // to the webhook, if it wants to see one
}

// identify makes, or reads, the certificates. All agents share one, and each node has its
// key: what only a controller may do takes another.
func identify(mgr manager.Manager, o options, registry *prometheus.Registry) (identity, error) {
	switch {
	case o.agentTLSSecret != "":
		return issueIdentity(mgr, o, registry)
	case o.agentTLSDir != "":
		dir, err := certs.OpenDir(o.agentTLSDir)
		if err != nil {
			return identity{}, err
		}
		if err := mgr.Add(program.EveryReplica(dir.Run)); err != nil {
			return identity{}, fmt.Errorf("follow certificates: %w", err)
		}
		return identity{credentials.NewTLS(dir.MutualClientConfig(agentName)), &dir.Current, dir.ClientCertificate}, dir.RegisterExpiry(registry, "controller")
	}
	none := new(certs.Current)
	return identity{insecure.NewCredentials(), none, none.ClientCertificate}, nil
}

func issueIdentity(mgr manager.Manager, o options, registry *prometheus.Registry) (identity, error) {
	shared, err := issuer.SelfManaged(mgr, issuer.Config{
		Secret:   types.NamespacedName{Namespace: o.namespace, Name: o.agentTLSSecret},
		DNSNames: []string{agentName},
	})
	if err != nil {
		return identity{}, err
	}
	if err := shared.RegisterExpiry(registry, "agent"); err != nil {
		return identity{}, err
	}
	own := shared
	if o.controllerTLSSecret != "" {
		if own, err = issuer.SelfManaged(mgr, issuer.Config{
			Secret:   types.NamespacedName{Namespace: o.namespace, Name: o.controllerTLSSecret},
			DNSNames: []string{ownName}, Publish: true,
		}); err != nil {
			return identity{}, err
		}
	}
	return identity{
		agents:  credentials.NewTLS(certs.Showing(shared.MutualClientConfig(agentName), &own.Current)),
		serving: &shared.Current, shows: own.ClientCertificate,
	}, own.RegisterExpiry(registry, "controller")
}
