package main

import (
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/netpol"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload/signature"
)

// networkPolicies keeps the network policies that the webhook decides; nil where
// there is nobody to ask.
func networkPolicies(mgr manager.Manager, o options, cluster *rest.Config, client kubernetes.Interface, to *write.Writer, self identity, keys *signature.Secret, known *inventory.Inventory, log *slog.Logger) (leader.Worker, error) {
	if o.webhookConfig == "" {
		return nil, nil
	}
	keeper, err := netpol.New(netpol.Settings{
		Config: cluster,
		To:     to,
		Asker: &netpol.Webhook{
			Hook: hook.Hook{Client: client, Name: o.webhookConfig, Certificate: self.shows},
			Key:  func() []byte { return keys.Keys().Current },
		},
		Mode:       known.Mode,
		Synced:     known.Synced(),
		Events:     mgr.GetEventRecorder(write.FieldManager),
		Log:        log,
		Registerer: metrics.Registry,
		Now:        time.Now,
	})
	if err != nil {
		return nil, err
	}
	return keeper, nil
}
