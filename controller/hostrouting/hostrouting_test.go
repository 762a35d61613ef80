package hostrouting

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// bpf is a configuration under which Cilium's agents route past the IP stack, with
// what is to be different.
func bpf(more ...string) map[string]string {
	c := map[string]string{"kube-proxy-replacement": "true", "enable-bpf-masquerade": "true", "routing-mode": "native"}
	for _, key := range more {
		k, v, _ := strings.Cut(key, "=")
		c[k] = v
	}
	return c
}

func TestHostRoutingByCiliumsConfiguration(t *testing.T) {
	for name, tt := range map[string]struct {
		config       map[string]string
		on, measured bool
	}{
		"none":                              {nil, false, false},
		"BPF":                               {bpf(), true, true},
		"over veth":                         {bpf("datapath-mode=veth"), true, true},
		"over netkit":                       {bpf("datapath-mode=netkit"), true, true},
		"over netkit with Ethernet":         {bpf("datapath-mode=netkit-l2"), true, true},
		"over what the kernel has":          {bpf("datapath-mode=auto"), true, true},
		"over something else":               {bpf("datapath-mode=ipvlan"), true, false},
		"under WireGuard":                   {bpf("enable-wireguard=true"), true, false},
		"in a tunnel":                       {bpf("routing-mode=tunnel"), true, true},
		"in VXLAN":                          {bpf("routing-mode=tunnel", "tunnel-protocol=vxlan"), true, true},
		"in Geneve":                         {bpf("routing-mode=tunnel", "tunnel-protocol=geneve"), true, false},
		"in VXLAN under WireGuard":          {bpf("routing-mode=tunnel", "enable-wireguard=true"), true, false},
		"native beside what is not used":    {bpf("tunnel-protocol=geneve"), true, true},
		"legacy":                            {bpf("enable-host-legacy-routing=true"), false, false},
		"beside kube-proxy":                 {bpf("kube-proxy-replacement=false"), false, false},
		"masquerading by iptables":          {bpf("enable-bpf-masquerade=false"), false, false},
		"without masquerading":              {bpf("enable-bpf-masquerade=false", "enable-ipv4-masquerade=false", "enable-ipv6-masquerade=false"), true, true},
		"without masquerading, IPv6 is off": {bpf("enable-bpf-masquerade=false", "enable-ipv4-masquerade=false", "enable-ipv6=false"), true, true},
	} {
		if on, known := On(tt.config), measured(tt.config); on != tt.on || known != tt.measured {
			t.Errorf("%s: %v, and as measured %v; want %v and %v", name, on, known, tt.on, tt.measured)
		}
	}
}

// answers are what is read, one each time.
type answers []struct {
	data map[string]string
	err  error
	want bool // of what is known then
}

func (a *answers) Get(context.Context, string, metav1.GetOptions) (*corev1.ConfigMap, error) {
	next := (*a)[0]
	*a = (*a)[1:]
	return &corev1.ConfigMap{Data: next.data}, next.err
}

// It is legacy host routing until something else is known; what is known stays while
// nothing can be read, and goes with Cilium.
func TestWatchFollowsAndKeepsWhatItKnows(t *testing.T) {
	away := errors.New("the API server is away")
	all := answers{
		{nil, away, false},
		{bpf(), nil, true},
		{nil, away, true},
		{bpf("enable-host-legacy-routing=true"), nil, false},
		{bpf(), nil, true},
		{nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, ConfigMap), false},
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		left := slices.Clone(all)
		w := Watch{Reader: &left, Log: slog.New(slog.DiscardHandler)}
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		for i, step := range all {
			if i > 0 {
				time.Sleep(every)
			}
			synctest.Wait()
			if w.On() != step.want {
				t.Errorf("after %d answers, at last %v and %v: %v", i+1, step.data, step.err, w.On())
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
