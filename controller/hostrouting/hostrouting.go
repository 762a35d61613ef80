// Package hostrouting knows whether Cilium takes what pods send past the nodes' IP
// stacks: there a sender notices the queue at its own limit, and the law need not
// change limits by way of low ones.
package hostrouting

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConfigMap is the name of Cilium's, in kube-system, whose keys are the flags of its
// agents.
const ConfigMap = "cilium-config"

// On reports whether agents with this configuration route past the nodes' IP stacks
// (InitKubeProxyReplacementOptions in pkg/kpr/initializer of Cilium 1.20: without
// kube-proxy replacement or with masquerading by iptables the agent falls back). Single
// nodes may differ, and so do agents that have not started since it was changed.
func On(config map[string]string) bool {
	masquerades := func(family string) bool {
		return config["enable-"+family] != "false" && config["enable-"+family+"-masquerade"] != "false"
	}
	on := func(key string) bool { return config[key] == "true" }
	iptables := !on("enable-bpf-masquerade") && (masquerades("ipv4") || masquerades("ipv6"))
	return !on("enable-host-legacy-routing") && on("kube-proxy-replacement") && !iptables
}

// measured reports whether it is host routing under which the law need not change limits by
// way of low ones.
func measured(config map[string]string) bool { return On(config) && Untried(config) == "" }

// Untried names what has the law take host routing to be legacy although it may be on
// (docs/cilium.md): "" over veth or netkit, native or in VXLAN, which is Cilium's default. Under
// WireGuard, which turns it off in no version that detnet runs on, TCP notices the queue at its
// limit as without; UDP has none to notice, and the law was not tried.
func Untried(config map[string]string) string {
	protocol, mode := config["tunnel-protocol"], config["datapath-mode"]
	switch {
	case config["enable-wireguard"] == "true":
		return "under WireGuard"
	case config["routing-mode"] != "native" && protocol != "" && protocol != "vxlan":
		return "in tunnels of " + protocol
	case !Tried(mode):
		return "in datapath mode " + mode
	}
	return ""
}

// Tried reports whether limits were measured with pods joined to their nodes by a datapath
// mode of Cilium's: none named is veth, and auto is netkit where the kernel has it.
func Tried(mode string) bool {
	return slices.Contains([]string{"", "veth", "netkit", "netkit-l2", "auto"}, mode)
}

// every is how often the configuration is read: it changes with an upgrade of Cilium.
const every = time.Minute

// Reader reads ConfigMaps of kube-system.
type Reader interface {
	Get(ctx context.Context, name string, o metav1.GetOptions) (*corev1.ConfigMap, error)
}

// Watch keeps whether it is host routing that was measured.
type Watch struct {
	Reader Reader
	Log    *slog.Logger
	on     atomic.Bool
	failed string // what the log was told
}

// On reports it; false until it is known.
func (w *Watch) On() bool { return w.on.Load() }

// Run reads anew until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		w.read(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// read leaves what was known where it fails, and says so once.
func (w *Watch) read(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, every/2)
	defer cancel()
	m, err := w.Reader.Get(ctx, ConfigMap, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err): // no Cilium, or one in another namespace
		m = new(corev1.ConfigMap)
	case err != nil:
		if text := err.Error(); text != w.failed && ctx.Err() == nil {
			w.failed = text
			w.Log.WarnContext(ctx, "Cilium's configuration cannot be read: its host routing is taken to be as it last was, at first legacy",
				"configmap", fmt.Sprintf("%s/%s", metav1.NamespaceSystem, ConfigMap), "err", err)
		}
		return
	}
	w.failed = ""
	if is := measured(m.Data); w.on.Swap(is) != is {
		w.Log.InfoContext(ctx, "Cilium's host routing", "bpf", is)
	}
}
