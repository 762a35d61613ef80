package main

import (
	"log/slog"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/controller/leader"
	"github.com/detnet/detnet/controller/netpol"
	"github.com/detnet/detnet/workload/signature"
)

// networkPolicies keeps the network policies that the webhook decides; nil where
// there is nobody to ask.
func (s settings) networkPolicies(o options, cluster *rest.Config, client kubernetes.Interface, self identity, keys *signature.Secret, log *slog.Logger) (leader.Worker, error) {
	if o.webhookConfig == "" {
		return nil, nil
	}
	keeper, err := netpol.New(netpol.Settings{
		Config: cluster,
		To:     s.writer,
		Asker: &netpol.Webhook{
			Hook: hook.Hook{Client: client, Name: o.webhookConfig, Certificate: self.shows},
			Key:  func() []byte { return keys.Keys().Current },
		},
		Mode:       s.inventory.Mode,
		Synced:     s.inventory.Synced(),
		Events:     s.loop.Events,
		Log:        log,
		Registerer: s.registry,
		Now:        time.Now,
	})
	if err != nil {
		return nil, err
	}
	return keeper, nil
}
