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
