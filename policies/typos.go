package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/detnet/detnet/workload"
)

// keyPrefix is what all of detnet's own keys begin with.
const keyPrefix = "detnet.dev/"

// misspelt finds keys and values of the pod and of its namespace that look as
// if they were for detnet and that nothing reads: without a word the pod would
// get less than its owner thinks.
func (e *Engine) misspelt(in Input) []problem {
	meta, _ := in.Pod["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	out := unknownKeys("label", "", sortedKeys(labels), workload.PodLabels, workload.PodAnnotations)
	out = append(out, unknownKeys("annotation", "", sortedKeys(annotations), workload.PodAnnotations, workload.PodLabels)...)
	of := " of namespace " + in.Namespace.Name
	// What a pod may have, a namespace may have as the default of its pods.
	out = append(out, unknownKeys("label", of, sortedKeys(in.Namespace.Labels), workload.NamespaceLabels, workload.NamespaceAnnotations)...)
	out = append(out, unknownKeys("annotation", of, sortedKeys(in.Namespace.Annotations), slices.Concat(workload.NamespaceAnnotations, workload.PodAnnotations), workload.NamespaceLabels)...)
	// A site's own rules may read keys of their own.
	out = slices.DeleteFunc(out, func(p problem) bool { return !slices.Contains(known, p.Key) && e.set.mentions(p.Key) })
	classes := sortedKeys(e.classes)
	for _, key := range []string{workload.LabelPriority, "priority"} {
		value, _ := labels[key].(string)
		if slices.Contains(classes, value) || value == "none" {
			continue
		}
		if tip := didYouMean(value, append(slices.Clone(classes), "none")); tip != "" {
			out = append(out, problem{key, fmt.Sprintf("label %s=%s is no class%s", key, value, tip)})
		}
	}
	if value, ok := in.Namespace.Labels[workload.LabelAllowCritical]; ok && value != "true" && value != "false" {
		out = append(out, problem{workload.LabelAllowCritical, fmt.Sprintf("label %s=%s%s allows nothing: only true does", workload.LabelAllowCritical, value, of)})
	}
	if _, err := workload.FloorsAtMost(in.Namespace.Labels); err != nil {
		out = append(out, problem{workload.LabelFloorsAtMost, fmt.Sprintf("%v (of namespace %s)", err, in.Namespace.Name)})
	}
	return out
}

// mentions reports whether a file of the set has the text.
func (s Set) mentions(text string) bool {
	for _, content := range s {
		if strings.Contains(content, text) {
			return true
		}
	}
	return false
}

// known are all keys of pods and namespaces, wherever they belong.
var known = slices.Concat(workload.PodLabels, workload.PodAnnotations, workload.NamespaceLabels, workload.NamespaceAnnotations)

// unknownKeys says which of the keys nothing reads here, and what was meant.
func unknownKeys(what, of string, keys, here, elsewhere []string) []problem {
	var out []problem
	for _, key := range keys {
		if !looksLikeOurs(key) || slices.Contains(here, key) {
			continue
		}
		message := fmt.Sprintf("%s %s%s is ignored: detnet knows no such %s", what, key, of, what)
		switch {
		case slices.Contains(elsewhere, key) && what == "label":
			message = fmt.Sprintf("label %s%s is ignored: it is an annotation, not a label", key, of)
		case slices.Contains(elsewhere, key):
			message = fmt.Sprintf("annotation %s%s is ignored: it is a label, not an annotation", key, of)
		default:
			if lower := strings.ToLower(key); lower != key && slices.Contains(known, lower) {
				message += fmt.Sprintf(": did you mean %s, in small letters?", lower)
			} else {
				message += didYouMean(key, known)
			}
		}
		if out = append(out, problem{key, message}); len(out) == maxTypos {
			break
		}
	}
	return out
}

// maxTypos is how many keys of one kind are told: a client shows no more.
const maxTypos = 5

// looksLikeOurs reports whether the key has detnet's prefix or one that is
// almost it. Keys are many and long in a hostile pod; few are looked at twice.
func looksLikeOurs(key string) bool {
	prefix, _, ok := strings.Cut(key, "/")
	own := strings.TrimSuffix(keyPrefix, "/")
	return ok && len(key) < 64 && (strings.EqualFold(prefix, own) || workload.Closest(prefix, []string{own}) != "")
}
