package policies

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// port is a port as Cilium's rules have it.
type port struct{ number, protocol string }

// declaredPorts lists the container ports once each, in their order.
func declaredPorts(pod Object) []port {
	spec, _ := pod["spec"].(map[string]any)
	containers, _ := spec["containers"].([]any)
	var out []port
	for _, c := range containers {
		container, _ := c.(map[string]any)
		ports, _ := container["ports"].([]any)
		for _, p := range ports {
			fields, _ := p.(map[string]any)
			number, _ := fields["containerPort"].(json.Number)
			protocol, _ := fields["protocol"].(string)
			this := port{string(number), cmp.Or(protocol, "TCP")}
			if number != "" && !slices.Contains(out, this) {
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

// shape is the ports as one word for the name of an object, cut where names
// end.
func shape(ports []port) string {
	words := make([]string, min(len(ports), 12))
	for i := range words {
		words[i] = strings.ToLower(ports[i].protocol) + ports[i].number
	}
	return strings.Join(words, "-")
}

// workloadName says which label names the pod's workload.
func workloadName(meta map[string]any) map[string]any {
	labels, _ := meta["labels"].(map[string]any)
	for _, label := range []string{"app.kubernetes.io/name", "app", "k8s-app"} {
		if name, _ := labels[label].(string); name != "" {
			return map[string]any{"label": label, "name": name, "slug": slug(name)}
		}
	}
	return map[string]any{}
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
