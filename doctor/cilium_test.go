package doctor

import (
	"strings"
	"testing"
)

func TestCiliumLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		config string   // keys that are true
		mode   string   // of routing
		want   []string // in the problem; none: no problem
	}{
		"as installed":                {"", "tunnel", []string{"off"}},
		"alone, native":               {"enable-bandwidth-manager", "native", []string{"native device", "nothing is limited"}},
		"alone, tunnel":               {"enable-bandwidth-manager", "tunnel", []string{"native device", "leaves the cluster"}},
		"alone, mode unset":           {"enable-bandwidth-manager", "", []string{"leaves the cluster"}},
		"with kube-proxy replacement": {"enable-bandwidth-manager kube-proxy-replacement", "native", nil},
		"with BPF masquerading":       {"enable-bandwidth-manager enable-bpf-masquerade", "tunnel", nil},
		"with the host firewall":      {"enable-bandwidth-manager enable-host-firewall", "native", nil},
		"with WireGuard":              {"enable-bandwidth-manager enable-wireguard", "native", nil},
		"with IPsec":                  {"enable-bandwidth-manager kube-proxy-replacement enable-ipsec", "native", []string{"IPsec"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := cilium{"routing-mode": tt.mode, "kube-proxy-replacement": "false"}
			for _, key := range strings.Fields(tt.config) {
				c[key] = "true"
			}
			problem, advice := c.limits()
			if (problem == "") != (tt.want == nil) || (problem == "") != (advice == "") {
				t.Errorf("%q, %q; want %q", problem, advice, tt.want)
			}
			for _, part := range tt.want {
				if !strings.Contains(problem, part) {
					t.Errorf("%q lacks %q", problem, part)
				}
			}
		})
	}
}

// Policies that select nobody are noticed.
func TestCiliumPolicies(t *testing.T) {
	for name, tt := range map[string]struct {
		config cilium
		want   []string // in the problem; none: no problem
	}{
		"as installed":               {cilium{}, nil},
		"no policies at all":         {cilium{"enable-policy": "never"}, []string{"enforces no"}},
		"labels without detnet's":    {cilium{"labels": "k8s:io.kubernetes.pod.namespace k8s:app"}, []string{"detnet.dev/class", "select nobody"}},
		"labels with all of them":    {cilium{"labels": "k8s:io.kubernetes.pod.namespace k8s:app k8s:k8s-app k8s:app.kubernetes.io/name k8s:detnet.dev"}, nil},
		"labels that only leave out": {cilium{"labels": "k8s:!uninteresting"}, nil},
	} {
		problem, advice, err := tt.config.policies()
		if err != nil || (problem == "") != (tt.want == nil) || (problem == "") != (advice == "") {
			t.Errorf("%s: %q, %q, %v; want %q", name, problem, advice, err, tt.want)
		}
		for _, part := range tt.want {
			if !strings.Contains(problem, part) {
				t.Errorf("%s: %q lacks %q", name, problem, part)
			}
		}
	}
}
