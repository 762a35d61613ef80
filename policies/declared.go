package policies

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/detnet/detnet/workload"
)

// port is a port as Cilium's rules have it.
type port struct{ number, protocol string }

// declaredPorts lists the ports of containers and of sidecars once each, in
// their order. A sidecar is an init container that always restarts (KEP-753).
func declaredPorts(pod Object) []port {
	spec, _ := pod["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	first, _ := spec["initContainers"].([]any)
	var out []port
	seen := map[port]bool{}
	for i, c := range slices.Concat(containers, first) {
		container, _ := c.(map[string]any)
		if i >= len(containers) && container["restartPolicy"] != "Always" {
			continue
		}
		ports, _ := container["ports"].([]any)
		for _, p := range ports {
			fields, _ := p.(map[string]any)
			number, _ := fields["containerPort"].(json.Number)
			protocol, _ := fields["protocol"].(string)
			this := port{string(number), cmp.Or(protocol, "TCP")}
			if number != "" && !seen[this] {
				seen[this] = true
				out = append(out, this)
			}
		}
	}
	return out
}

func portValues(ports []port) []any {
	out := make([]any, len(ports))
	for i, p := range ports {
		out[i] = map[string]any{"port": p.number, "protocol": p.protocol}
	}
	return out
}

// declared is what a pod says about the workload it belongs to.
type declared struct {
	label, name string // the label that names the workload, and its value; "" if none does
	ports       []port
}

// declaredBy reads the pod.
func declaredBy(pod Object) declared {
	d := declared{ports: declaredPorts(pod)}
	meta, _ := pod["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	for _, label := range workload.NamingLabels {
		// The API server refuses other values, after admission.
		if name, _ := labels[label].(string); name != "" && len(validation.IsValidLabelValue(name)) == 0 {
			d.label, d.name = label, name
			break
		}
	}
	return d
}

func (d declared) value() map[string]any {
	if d.name == "" {
		return map[string]any{}
	}
	return map[string]any{"label": d.label, "name": d.name, "slug": slug(d.name)}
}

// slug is a label's value as part of an object's name: label values also have
// capitals, dots and underscores.
func slug(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '_' {
			return '-'
		}
		return r
	}, strings.ToLower(name))
}
