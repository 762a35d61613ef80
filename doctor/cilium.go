package doctor

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/controller/hostrouting"
	"github.com/detnet/detnet/controller/netpol"
)

// cilium is how Cilium is set up: its ConfigMap, whose keys are the flags of its
// agents. Single nodes may differ.
type cilium map[string]string

// getCilium returns nil on a cluster without Cilium.
func getCilium(ctx context.Context, c client.Client) (cilium, error) {
	var config corev1.ConfigMap
	err := c.Get(ctx, client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: hostrouting.ConfigMap}, &config)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return config.Data, err
}

func (c cilium) on(key string) bool { return c[key] == "true" }

// limits says what keeps Cilium from enforcing them. That its status says that
// the bandwidth manager is on is not enough: the program on the native device is
// attached only where something else needs it too (AreDevicesRequired in
// pkg/option of Cilium 1.19 and 1.20), and without it only the tunnel limits.
func (c cilium) limits() (problem, advice string) {
	const attach = "enable one of kubeProxyReplacement, bpf.masquerade and hostFirewall in Cilium"
	native := c.on("kube-proxy-replacement") || c.on("enable-bpf-masquerade") || c.on("enable-host-firewall") ||
		c.on("enable-wireguard") || c.on("enable-l2-announcements")
	switch {
	case !c.on("enable-bandwidth-manager"):
		return "Cilium's bandwidth manager is off", "install Cilium with bandwidthManager.enabled=true"
	case c.on("enable-ipsec"):
		return "Cilium turns its bandwidth manager off under IPsec", "encrypt with WireGuard, or not at all"
	case !native && c["routing-mode"] == "native":
		return "Cilium's limiter is not attached to the native device: nothing is limited", attach
	case !native:
		return "Cilium's limiter is not attached to the native device: what leaves the cluster is not limited", attach
	}
	return "", ""
}

// hostRouting reports whether what a pod sends goes past the node's IP stack, where a
// sender notices the queue at its own limit.
func (c cilium) hostRouting() bool { return hostrouting.On(c) }

// interfaces says what keeps the agents from knowing which interface is whose:
// they know it from the route to each pod, or from the pods' CiliumEndpoints.
func (c cilium) interfaces() (problem, advice string) {
	if c.on("disable-endpoint-crd") && !c.on("enable-endpoint-routes") {
		return "Cilium has neither CiliumEndpoints nor a route to each pod: what pods send is not known, and no limit follows it",
			"install Cilium with endpointRoutes.enabled=true, or without disableEndpointCRD"
	}
	return "", ""
}

// ciliumCRD is the kind that detnet's network policies are of.
const ciliumCRD = "ciliumnetworkpolicies.cilium.io"

// policiesTaken says what keeps the API server from taking detnet's network
// policies: it takes what the CRD of the installed Cilium knows.
func policiesTaken(ctx context.Context, c client.Client, _ Install) (problem, advice string, err error) {
	config, err := getCilium(ctx, c)
	if err != nil {
		return "", "", err
	}
	var crd unstructured.Unstructured
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	err = c.Get(ctx, client.ObjectKey{Name: ciliumCRD}, &crd)
	switch {
	case apierrors.IsNotFound(err) && config == nil:
		return "", "", nil // no Cilium
	case apierrors.IsNotFound(err):
		return "Cilium's CRD " + ciliumCRD + " is not there: no network policy is made", "see why Cilium's operator did not make it: kubectl -n kube-system logs deployment/cilium-operator", nil
	case err != nil:
		return "", "", err
	case !knowsDefaultDeny(crd.Object):
		return "Cilium's CRD " + ciliumCRD + " does not know enableDefaultDeny: detnet's network policies are refused", "upgrade Cilium to 1.16 or later, or set networkPolicies: off for the classes", nil
	case config["enable-non-default-deny-policies"] == "false":
		return "Cilium ignores enableDefaultDeny: policies of networkPolicies: allow deny what they do not name", "install Cilium with enableNonDefaultDenyPolicies=true, or set networkPolicies: off for the classes", nil
	}
	return "", "", nil
}

// knowsDefaultDeny reports whether the CRD's version v2 has the field
// spec.enableDefaultDeny, as it has since Cilium 1.16.
func knowsDefaultDeny(crd map[string]any) bool {
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if version["name"] != "v2" || version["served"] != true {
			continue
		}
		_, knows, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema", "properties", "spec", "properties", "enableDefaultDeny")
		return knows
	}
	return false
}

// policiesSelect says what keeps Cilium from applying detnet's network policies.
func policiesSelect(ctx context.Context, c client.Client, _ Install) (problem, advice string, err error) {
	config, err := getCilium(ctx, c)
	if err != nil || config == nil {
		return "", "", err
	}
	return config.policies()
}

func (c cilium) policies() (problem, advice string, err error) {
	if c["enable-policy"] == "never" {
		return "Cilium enforces no network policy", "install Cilium with policyEnforcementMode=default", nil
	}
	hidden, err := netpol.HiddenLabels(c)
	if err != nil || len(hidden) == 0 {
		return "", "", err
	}
	return "Cilium's value labels leaves " + strings.Join(hidden, ", ") + " out of pods' identities: policies that select by them select nobody",
		"add k8s:" + strings.Join(hidden, " k8s:") + " to labels, or what of it your policies use", nil
}
