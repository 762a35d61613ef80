package doctor

import (
	"strings"
	"testing"

	crds "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/client/crds/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// A Cilium that refuses detnet's policies, or has no kind for them, is noticed.
func TestCiliumTakesPolicies(t *testing.T) {
	c := apiServer(t)
	has := func(when, want string) {
		t.Helper()
		f := finding(t, Examine(t.Context(), c, install), "network policies are taken")
		if (f.Problem == "") != (want == "") || !strings.Contains(f.Problem, want) || (f.Problem == "") != (f.Advice == "") {
			t.Errorf("%s: %+v, want a problem with %q", when, f, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has("without Cilium", "")
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cilium-config"}, Data: map[string]string{"enable-policy": "default"}}
	must(c.Create(t.Context(), config))
	has("without its CRD", "is not there")
	must(c.Create(t.Context(), policyCRD(t, true)))
	has("with the CRD of Cilium 1.15", "does not know enableDefaultDeny")
	now := policyCRD(t, false)
	must(retry.RetryOnConflict(retry.DefaultBackoff, func() error { // with the API server, which writes its status
		var before unstructured.Unstructured
		before.SetGroupVersionKind(now.GroupVersionKind())
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(now), &before); err != nil {
			return err
		}
		now.SetResourceVersion(before.GetResourceVersion())
		return c.Update(t.Context(), now)
	}))
	has("with a CRD of today", "")
	config.Data["enable-non-default-deny-policies"] = "false"
	must(c.Update(t.Context(), config))
	has("with a field that Cilium ignores", "ignores enableDefaultDeny")
}

// policyCRD is the CRD of CiliumNetworkPolicies as it is, or as it was before
// Cilium 1.16.
func policyCRD(t *testing.T, old bool) *unstructured.Unstructured {
	t.Helper()
	raw, err := crds.EmbedFS.ReadFile("ciliumnetworkpolicies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	crd := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(raw, &crd.Object); err != nil {
		t.Fatal(err)
	}
	if !old {
		return crd
	}
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		unstructured.RemoveNestedField(v.(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties", "enableDefaultDeny")
	}
	if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	return crd
}

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
