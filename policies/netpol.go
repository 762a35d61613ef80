package policies

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/cilium/pkg/policy/api"
)

// Modes of a class's Cilium policies.
const (
	modeAllow  = "allow"  // describe the workload's traffic, deny none
	modeStrict = "strict" // deny the rest
)

// workloadPolicy is the Cilium policy of the pod's workload: its declared ports
// from inside the cluster, and the cluster from it. It needs a label that names
// the workload, so that it selects its pods alone. The name tells the ports, so
// that two shapes of one workload get a policy each.
func (e *Engine) workloadPolicy(d Decision, w declared, pod Object) ([]NetworkPolicy, error) {
	mode := e.classes[d.Class].NetworkPolicies
	spec, _ := pod["spec"].(map[string]any)
	if mode != modeAllow && mode != modeStrict || w.name == "" || len(w.ports) == 0 || spec["hostNetwork"] == true {
		return nil, nil
	}
	name := "detnet-" + slug(w.name) + "-" + shape(w.ports[:min(len(w.ports), 12)])
	key := strings.Join([]string{d.Class, mode, w.label, w.name, shape(w.ports)}, " ")
	rule, err := e.rules.byText(key, func() ([]byte, error) { return json.Marshal(workloadRule(d.Class, mode, w)) })
	if err != nil {
		return nil, err
	}
	return []NetworkPolicy{{name, rule}}, nil
}

func workloadRule(class, mode string, w declared) map[string]any {
	// Selecting a pod makes it default-deny unless told otherwise.
	deny := mode == modeStrict
	inside := []string{"cluster"}
	return map[string]any{
		"endpointSelector":  map[string]any{"matchLabels": map[string]string{"k8s:" + w.label: w.name, "k8s:detnet.dev/class": class}},
		"enableDefaultDeny": map[string]bool{"ingress": deny, "egress": deny},
		"ingress":           []any{map[string]any{"fromEntities": inside, "toPorts": []any{map[string]any{"ports": portValues(w.ports)}}}},
		"egress":            []any{map[string]any{"toEntities": inside}},
		"log":               map[string]string{"value": "detnet"},
	}
}

// shape is the ports as one word for the name of an object.
func shape(ports []port) string {
	var b strings.Builder
	for i, p := range ports {
		if i > 0 {
			b.WriteByte('-')
		}
		b.WriteString(strings.ToLower(p.protocol))
		b.WriteString(p.number)
	}
	return b.String()
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
