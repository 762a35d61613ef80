package main

import (
	"fmt"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/issuer"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/program"
)

// agentName is on the agents' certificate, whatever address is dialled.
const agentName = "detnet-agent"

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

// agentCredentials are what the agents want to see, and the certificate in them,
// which the webhook may want to see as well.
func agentCredentials(mgr manager.Manager, o options) (credentials.TransportCredentials, *certs.Current, error) {
	switch {
	case o.agentTLSSecret != "":
		secret, err := issuer.SelfManaged(mgr, issuer.Config{
			Secret:   types.NamespacedName{Namespace: o.namespace, Name: o.agentTLSSecret},
			DNSNames: []string{agentName},
		})
		if err != nil {
			return nil, nil, err
		}
		return credentials.NewTLS(secret.MutualClientConfig(agentName)), &secret.Current, secret.RegisterExpiry(metrics.Registry, "controller")
	case o.agentTLSDir != "":
		dir, err := certs.OpenDir(o.agentTLSDir)
		if err != nil {
			return nil, nil, err
		}
		if err := mgr.Add(program.EveryReplica(dir.Run)); err != nil {
			return nil, nil, fmt.Errorf("follow certificates: %w", err)
		}
		return credentials.NewTLS(dir.MutualClientConfig(agentName)), &dir.Current, dir.RegisterExpiry(metrics.Registry, "controller")
	}
	return insecure.NewCredentials(), new(certs.Current), nil
}
