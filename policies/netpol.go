package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/cilium/pkg/policy/api"
)

// Modes of a class's Cilium policies.
const (
	modeAllow  = "allow"  // describe the workload's traffic, deny none
	modeStrict = "strict" // deny the rest
)

// NetworkPolicy is a CiliumNetworkPolicy of the pod's namespace. Spec is
// shared between decisions and must not be changed.
type NetworkPolicy struct {
	Name string `json:"name"`
	// Yields is a policy that follows from the class's data and not from a rule of
	// the site: it opens nothing that another policy closes. The controller sees
	// to that.
	Yields bool      `json:"yields,omitempty"`
	Spec   *api.Rule `json:"spec"`
}

// workloadPolicy is the Cilium policy of the pod's workload: its declared ports
// from inside the cluster, and the cluster from it. It needs a label that names
// the workload, so that it selects its pods alone.
func (e *Engine) workloadPolicy(d Decision, w declared, pod Object) ([]NetworkPolicy, error) {
	mode := e.classes[d.Class].NetworkPolicies
	spec, _ := pod["spec"].(map[string]any)
	if mode != modeAllow && mode != modeStrict || w.name == "" || len(w.ports) == 0 || spec["hostNetwork"] == true {
		return nil, nil
	}
	ports := slices.Clone(w.ports)
	slices.SortFunc(ports, port.compare)
	name := policyName(d.Class, w.label, w.name, ports)
	// The name stands for all of the rule but the mode.
	rule, err := e.rules.byText(mode+" "+name, func() ([]byte, error) { return json.Marshal(workloadRule(d.Class, mode, w, ports)) })
	if err != nil {
		return nil, err
	}
	return []NetworkPolicy{{Name: name, Yields: true, Spec: rule}}, nil
}

// policyName differs wherever the policies do, but for the mode: a change of
// that changes the policy in place. Class and workload are in it to be read,
// the digest tells those apart that look alike.
func policyName(class, label, name string, ports []port) string {
	digest := sha256.New()
	for _, text := range []string{class, label, name} {
		fmt.Fprintf(digest, "%d:%s", len(text), text)
	}
	for _, p := range ports {
		fmt.Fprintf(digest, " %s%s", p.protocol, p.number)
	}
	return strings.Join([]string{"detnet", slug(class), slug(name), hex.EncodeToString(digest.Sum(nil)[:5])}, "-")
}

func workloadRule(class, mode string, w declared, ports []port) map[string]any {
	// Selecting a pod makes it default-deny unless told otherwise.
	deny := mode == modeStrict
	inside := []string{"cluster"}
	return map[string]any{
		"endpointSelector":  map[string]any{"matchLabels": map[string]string{"k8s:" + w.label: w.name, "k8s:detnet.dev/class": class}},
		"enableDefaultDeny": map[string]bool{"ingress": deny, "egress": deny},
		"ingress":           []any{map[string]any{"fromEntities": inside, "toPorts": portRules(ports)}},
		"egress":            []any{map[string]any{"toEntities": inside}},
	}
}

// maxPorts is how many ports or ranges Cilium takes in one entry of toPorts.
const maxPorts = 40

// portRules are sorted ports as Cilium's toPorts: all of them, in as many
// entries as that takes, runs of three and more as a range.
func portRules(ports []port) []any {
	var all []any
	for len(ports) > 0 {
		first := ports[0]
		n := 1
		for n < len(ports) && ports[n].protocol == first.protocol && ports[n].value() == first.value()+n {
			n++
		}
		if n < 3 {
			n = 1
			all = append(all, map[string]any{"port": first.number, "protocol": first.protocol})
		} else {
			all = append(all, map[string]any{"port": first.number, "endPort": ports[n-1].value(), "protocol": first.protocol})
		}
		ports = ports[n:]
	}
	var out []any
	for chunk := range slices.Chunk(all, maxPorts) {
		out = append(out, map[string]any{"ports": chunk})
	}
	return out
}

// value is the number; 0 for what the API server is going to refuse.
func (p port) value() int {
	n, _ := strconv.Atoi(p.number)
	return n
}

func (p port) compare(other port) int {
	return cmp.Or(cmp.Compare(p.protocol, other.protocol), cmp.Compare(p.value(), other.value()))
}

// overlay puts a policy's own rules on top of the default ones, or in the place
// of the one of the same name.
func overlay(base, own []NetworkPolicy) []NetworkPolicy {
	base = slices.DeleteFunc(base, func(b NetworkPolicy) bool {
		return slices.ContainsFunc(own, func(o NetworkPolicy) bool { return o.Name == b.Name })
	})
	return append(base, own...)
}

// unenforced says where a Cilium policy of the decision defeats its limit: what
// goes through Cilium's proxy is not limited.
func (d Decision) unenforced() []string {
	if d.Bandwidth.Initial == 0 {
		return nil
	}
	var out []string
	for _, p := range d.NetworkPolicies {
		if p.Spec != nil && slices.ContainsFunc(p.Spec.Egress, proxied) {
			out = append(out, fmt.Sprintf("Cilium policy %s has L7 rules for egress, under which Cilium does not enforce the pod's bandwidth limit", p.Name))
		}
	}
	return out
}

func proxied(rule api.EgressRule) bool {
	return slices.ContainsFunc(rule.ToPorts, func(p api.PortRule) bool { return !p.Rules.IsEmpty() })
}
