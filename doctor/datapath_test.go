package doctor

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestParseVersion(t *testing.T) {
	for text, want := range map[string]version{
		"6.12.57+deb13-amd64": {6, 12, 57}, "5.15.0-1084-aws": {5, 15, 0}, "v3.30.1": {3, 30, 1}, "v1.19": {1, 19, 0}, "latest": {}, "": {},
		"6.7-rc1": {6, 7, 0},
	} {
		if got := parseVersion(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// Two limiters on one pod, and none at all, are problems; everything that bends
// what limits promise is said.
func TestDatapath(t *testing.T) {
	enforces := func(more ...string) cilium {
		c := cilium{"enable-bandwidth-manager": "true", "kube-proxy-replacement": "true", "routing-mode": "native"}
		for _, key := range more {
			k, v, _ := strings.Cut(key, "=")
			c[k] = v
		}
		return c
	}
	recent, old, ancient := map[string]version{"n1": {6, 12, 0}}, map[string]version{"n1": {6, 12, 0}, "n2": {5, 15, 0}}, map[string]version{"n1": {4, 19, 0}}
	tried := version{1, 19, 5}
	for name, tt := range map[string]struct {
		datapath datapath
		problem  string
		notes    []string // parts, one of each note that has to be there
		without  string
	}{
		"agents":                        {datapath{agents: true, kernels: old}, "", nil, "Cilium"},
		"agents beside Cilium's":        {datapath{agents: true, cilium: enforces()}, "limited twice", nil, ""},
		"agents beside a Cilium off":    {datapath{agents: true, cilium: cilium{}}, "", nil, ""},
		"agents beside Calico 3.30":     {datapath{agents: true, calico: version{3, 30, 1}}, "Calico 3.30.1", nil, ""},
		"agents beside an older Calico": {datapath{agents: true, calico: version{3, 29, 4}}, "", nil, ""},
		"Calico alone":                  {datapath{calico: version{3, 31, 0}}, "", []string{"Calico 3.31.0 enforces"}, "Cilium 0"},
		"an older Calico alone":         {datapath{calico: version{3, 29, 0}}, "nobody follows", nil, ""},
		"Calico 3.30 beside Cilium's":   {datapath{cilium: enforces(), calico: version{3, 30, 1}, version: tried}, "both Calico 3.30.1 and Cilium's", nil, ""},
		"an older Calico beside it":     {datapath{cilium: enforces(), calico: version{3, 29, 4}, version: tried}, "", nil, "Calico"},
		"nobody":                        {datapath{}, "nobody follows", nil, ""},
		"Cilium, off":                   {datapath{cilium: cilium{}, version: tried, kernels: recent}, "bandwidth manager is off", nil, ""},
		"Cilium, ancient kernel":        {datapath{cilium: enforces(), version: tried, kernels: ancient}, "n1 has 4.19.0", nil, ""},
		"Cilium": {datapath{cilium: enforces(), version: tried, kernels: recent}, "",
			[]string{"up to two seconds", "64 KiB", "between pods of one node"}, "not tried"},
		"Cilium, old kernel":      {datapath{cilium: enforces(), version: tried, kernels: old}, "", []string{"n2 has 5.15.0"}, "n1"},
		"Cilium 1.20":             {datapath{cilium: enforces(), version: version{1, 20, 2}, kernels: recent}, "", nil, "not tried"},
		"Cilium, another version": {datapath{cilium: enforces(), version: version{1, 18, 2}, kernels: recent}, "", []string{"1.18.2 was not tried"}, ""},
		"Cilium, by digest":       {datapath{cilium: enforces(), kernels: recent}, "", []string{"not known"}, "0.0.0"},
		"Cilium, WireGuard":       {datapath{cilium: enforces("enable-wireguard=true"), version: tried, kernels: recent}, "", []string{"UDP to other nodes"}, "5.18"},
		"Cilium, WireGuard, old kernel": {datapath{cilium: enforces("enable-wireguard=true"), version: tried, kernels: old}, "",
			[]string{"UDP to other nodes", "kernels before 5.18 clear TCP's times of departure, too, by their sources (cilium/cilium#22203): n2 has 5.15.0"}, ""},
		"Cilium, netkit":           {datapath{cilium: enforces("datapath-mode=netkit-l2"), reads: true, version: tried, kernels: recent}, "", nil, "was not tried"},
		"Cilium, netkit, unread":   {datapath{cilium: enforces("datapath-mode=netkit"), version: tried, kernels: recent}, "mode netkit, so limits go by what they may send", nil, ""},
		"Cilium, auto, unread":     {datapath{cilium: enforces("datapath-mode=auto"), version: tried, kernels: recent}, "", []string{"set agent.netkit=true"}, ""},
		"Cilium, auto, BPF":        {datapath{cilium: enforces("datapath-mode=auto", "enable-bpf-masquerade=true"), version: tried, kernels: recent}, "mode auto, so limits go by what they may send", nil, ""},
		"Cilium, auto":             {datapath{cilium: enforces("datapath-mode=auto"), reads: true, version: tried, kernels: recent}, "", nil, "netkit"},
		"Cilium, another datapath": {datapath{cilium: enforces("datapath-mode=ipvlan"), version: tried, kernels: recent}, "", []string{"ipvlan was not tried"}, ""},
		"Cilium, chained":          {datapath{cilium: enforces("cni-chaining-mode=generic-veth"), version: tried, kernels: recent}, "", []string{"chained to another CNI (generic-veth)"}, ""},
		"Cilium, custom CNI":       {datapath{cilium: enforces("custom-cni-conf=true"), version: tried, kernels: recent}, "", []string{"custom-cni-conf", "is not known here"}, ""},
		"Cilium, not alone":        {datapath{cilium: enforces("cni-exclusive=false"), version: tried, kernels: recent}, "", []string{"cni-exclusive=false"}, ""},
		"Cilium, exclusive":        {datapath{cilium: enforces("cni-exclusive=true", "custom-cni-conf=false"), version: tried, kernels: recent}, "", nil, "bandwidth plugin"},
		"Cilium, not chained":      {datapath{cilium: enforces("cni-chaining-mode=none"), version: tried, kernels: recent}, "", nil, "chained"},
		"Cilium, legacy routing": {datapath{cilium: enforces("enable-bpf-masquerade=true", "enable-host-legacy-routing=true"), version: tried, kernels: recent}, "",
			[]string{"with TCP for some 0.3 s", "what pods receive do not hold"}, "with many flows"},
		"Cilium, masquerading by iptables": {datapath{cilium: enforces("enable-ipv4-masquerade=true"), version: tried, kernels: recent}, "",
			[]string{"with TCP for some 0.3 s", "what pods receive do not hold"}, "with many flows"},
		"Cilium, with kube-proxy": {datapath{cilium: enforces("enable-bpf-masquerade=true", "kube-proxy-replacement=false"), version: tried, kernels: recent}, "",
			[]string{"with TCP for some 0.3 s"}, "with many flows"},
		"Cilium, BPF host routing": {datapath{cilium: enforces("enable-bpf-masquerade=true"), version: tried, kernels: recent}, "",
			[]string{"with many flows of UDP"}, "legacy host routing"},
		"Cilium, BPF host routing without masquerading": {datapath{cilium: enforces("enable-ipv4-masquerade=false", "enable-ipv6-masquerade=false"), version: tried, kernels: recent}, "",
			[]string{"with many flows of UDP"}, "legacy host routing"},
		"Cilium, BPF host routing of one family": {datapath{cilium: enforces("enable-ipv4-masquerade=false", "enable-ipv6=false", "enable-ipv6-masquerade=true"), version: tried, kernels: recent}, "",
			[]string{"with many flows of UDP"}, "legacy host routing"},
		"Cilium, legacy routing in a tunnel": {datapath{cilium: enforces("routing-mode=tunnel"), version: tried, kernels: recent}, "",
			[]string{"with TCP for some 0.3 s", "nor is it so in VXLAN to pods of other nodes"}, "pods receive"},
		"Cilium, legacy routing in Geneve": {datapath{cilium: enforces("routing-mode=tunnel", "tunnel-protocol=geneve"), version: tried, kernels: recent}, "",
			[]string{"with TCP for some 0.3 s"}, "VXLAN"},
		"Cilium, legacy routing under WireGuard": {datapath{cilium: enforces("enable-wireguard=true", "enable-host-legacy-routing=true"), version: tried, kernels: recent}, "",
			[]string{"more than its limit and leaves the cluster gets far less than it"}, "VXLAN"},
		"Cilium, BPF host routing under WireGuard": {datapath{cilium: enforces("enable-wireguard=true", "enable-bpf-masquerade=true"), version: tried, kernels: recent}, "",
			[]string{"hold TCP back, some 0.1 s after a change", "flows of UDP that leaves the cluster", "IP stacks under WireGuard, too, where detnet's law was not tried: it changes limits as under legacy"}, "with TCP for some 0.3 s"},
		"Cilium, BPF host routing in Geneve": {datapath{cilium: enforces("routing-mode=tunnel", "tunnel-protocol=geneve", "enable-bpf-masquerade=true"), version: tried, kernels: recent}, "",
			[]string{"IP stacks in tunnels of geneve, too"}, "WireGuard"},
	} {
		problem, advice := tt.datapath.problem()
		if (problem == "") != (tt.problem == "") || !strings.Contains(problem, tt.problem) || (problem == "") != (advice == "") {
			t.Errorf("%s: %q, %q; want a problem with %q", name, problem, advice, tt.problem)
		}
		if problem != "" {
			continue
		}
		notes := tt.datapath.notes()
		for _, part := range tt.notes {
			if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, part) }) {
				t.Errorf("%s: no note has %q: %q", name, part, notes)
			}
		}
		if all := strings.Join(notes, "\n"); tt.without != "" && strings.Contains(all, tt.without) {
			t.Errorf("%s: %q is said: %q", name, tt.without, all)
		}
	}
}

func TestOlderKernelsAreBounded(t *testing.T) {
	kernels := map[string]version{}
	for _, n := range "abcdefghij" {
		kernels[string(n)] = version{5, 15, 0}
	}
	if got := (datapath{kernels: kernels}).older(bandsSince); !strings.HasSuffix(got, "e has 5.15.0, and 5 more") {
		t.Errorf("%q", got)
	}
}

// What the API server knows of a cluster becomes its datapath.
func TestGetDatapath(t *testing.T) {
	c := apiServer(t)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	if err := c.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	node.Status.NodeInfo.KernelVersion = "6.8.0-60-generic"
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]string{"cilium": "registry:5000/cilium/cilium:v1.20.2@sha256:" + strings.Repeat("0", 64), "calico-node": "docker.io/calico/node:v3.30.1"} {
		ds := daemonSet(name)
		ds.Namespace, ds.Spec.Template.Spec.Containers[0].Image = "kube-system", image
		if err := c.Create(t.Context(), ds); err != nil {
			t.Fatal(err)
		}
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cilium-config"}, Data: map[string]string{"enable-bandwidth-manager": "true"}}
	if err := c.Create(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	var agent appsv1.DaemonSet
	_, agent.Spec.Template = template("--role=node", "--enforce=tc")
	agent.Spec.Template.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}
	got, err := getDatapath(t.Context(), c, agent)
	if err != nil || !got.agents || !got.reads || got.version != (version{1, 20, 2}) || got.calico != (version{3, 30, 1}) || got.kernels["n1"] != (version{6, 8, 0}) || !got.cilium.on("enable-bandwidth-manager") {
		t.Errorf("%+v, %v", got, err)
	}
}
