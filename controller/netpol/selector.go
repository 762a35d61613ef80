package netpol

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// subject is a pod as policies select it.
type subject struct {
	namespace        string
	pod, ofNamespace map[string]string // labels
}

// The labels that Cilium adds to those of a pod.
const (
	namespaceLabel   = "io.kubernetes.pod.namespace"
	namespacesLabels = "io.cilium.k8s.namespace.labels."
)

// label looks a selector's key up, which may name the label's source as Cilium's
// do. Not known are labels that Cilium takes from elsewhere.
func (s subject) label(key string) (value string, has, known bool) {
	if source, rest, ok := strings.Cut(key, ":"); ok {
		switch source {
		case "k8s", "any":
			key = rest
		case "reserved": // of hosts, health checks and the like
			return "", false, true
		default:
			return "", false, false
		}
	}
	ofNamespace, isNamespaces := strings.CutPrefix(key, namespacesLabels)
	switch {
	case key == namespaceLabel:
		return s.namespace, true, true
	case isNamespaces:
		value, has = s.ofNamespace[ofNamespace]
		return value, has, true
	case strings.HasPrefix(key, "io.cilium.") || strings.HasPrefix(key, "io.kubernetes."):
		return "", false, false
	}
	value, has = s.pod[key]
	return value, has, true
}

// maySelect reports whether a policy with this selector selects s; where that
// can't be told it does.
func maySelect(selector *metav1.LabelSelector, s subject) bool {
	for key, want := range selector.MatchLabels {
		if value, has, known := s.label(key); known && (!has || value != want) {
			return false
		}
	}
	return !slices.ContainsFunc(selector.MatchExpressions, func(e metav1.LabelSelectorRequirement) bool {
		value, has, known := s.label(e.Key)
		return known && !holds(e, value, has)
	})
}

func holds(e metav1.LabelSelectorRequirement, value string, has bool) bool {
	switch e.Operator {
	case metav1.LabelSelectorOpIn:
		return has && slices.Contains(e.Values, value)
	case metav1.LabelSelectorOpNotIn:
		return !has || !slices.Contains(e.Values, value)
	case metav1.LabelSelectorOpExists:
		return has
	case metav1.LabelSelectorOpDoesNotExist:
		return !has
	}
	return true // an operator of another time
}

// keys are the labels that a selector asks for, without their sources.
func keys(selector *metav1.LabelSelector) []string {
	var out []string
	bare := func(key string) string {
		if _, rest, ok := strings.Cut(key, ":"); ok {
			return rest
		}
		return key
	}
	for key := range selector.MatchLabels {
		out = append(out, bare(key))
	}
	for _, e := range selector.MatchExpressions {
		out = append(out, bare(e.Key))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
