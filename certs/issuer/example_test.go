package issuer_test

import (
	"context"
	"crypto/tls"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/detnet/detnet/certs"
	"github.com/detnet/detnet/certs/issuer"
)

// The webhook: a mounted directory where somebody else provides the
// certificate, else its own.
func Example() {
	var mgr manager.Manager
	var certDir, namespace string // from flags and POD_NAMESPACE

	serving := func() (*tls.Config, error) {
		if certDir != "" {
			dir, err := certs.OpenDir(certDir)
			if err != nil {
				return nil, err
			}
			return dir.ServerConfig(), mgr.Add(everyReplica(dir.Run))
		}
		secret, err := issuer.SelfManaged(mgr, issuer.Config{
			Secret:   types.NamespacedName{Namespace: namespace, Name: "detnet-webhook-tls"},
			DNSNames: []string{"detnet-webhook." + namespace + ".svc"},
			Webhooks: "detnet-webhook",
		})
		if err != nil {
			return nil, err
		}
		return secret.ServerConfig(), mgr.AddReadyzCheck("certificate", secret.Ready)
	}
	if _, err := serving(); err != nil {
		fmt.Println(err)
	}
}

// The controller: it issues the agents' certificate and calls them with it.
// The agents mount the same Secret and use certs.Dir.MutualServerConfig.
func ExampleSelfManaged() {
	var mgr manager.Manager
	var namespace string

	secret, err := issuer.SelfManaged(mgr, issuer.Config{
		Secret:   types.NamespacedName{Namespace: namespace, Name: "detnet-agent-tls"},
		DNSNames: []string{"detnet-agent"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = secret.MutualClientConfig("detnet-agent") // for credentials.NewTLS of gRPC
}

// everyReplica runs on standbys too; the manager would keep a plain function
// for the leader.
type everyReplica func(context.Context) error

func (run everyReplica) Start(ctx context.Context) error { return run(ctx) }
func (everyReplica) NeedLeaderElection() bool            { return false }
