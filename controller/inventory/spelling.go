package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/detnet/detnet/workload"
)

// misspelt says which of a pod's keys look like one of detnet's and are none:
// without a word its owner would believe that they count. A site's own policy may
// read other keys of that domain, so only near misses are told.
func misspelt(pod *slimPod) []string {
	var out []string
	for _, of := range []struct {
		what  string
		has   map[string]string
		known []string
	}{
		{"label", pod.Labels, podLabels},
		{"annotation", pod.Annotations, podAnnotations},
	} {
		for _, key := range unknown(of.has, of.known) {
			if len(out) == mostMisspelt {
				break
			}
			if meant := workload.Closest(key, podKeys); meant != "" {
				out = append(out, fmt.Sprintf("%s %s is ignored, since detnet knows no such key; %s was probably meant", of.what, key, meant))
			} else if slices.Contains(podKeys, key) {
				out = append(out, fmt.Sprintf("%s %s is ignored: it has to be the other, label or annotation", of.what, key))
			}
		}
	}
	return out
}

// unknownClass says that a pod asks for a class that the policy does not know. The
// policy itself says so: by rules of the default set that come in only where the
// label names no class, in the stamps that admission signed, or by giving the pod
// nothing when it was asked about it.
func unknownClass(pod *slimPod, signed, settled bool) []string {
	asked := pod.Labels[workload.LabelPriority]
	rules, _, _ := strings.Cut(pod.Annotations[workload.AnnotationDecision], "@")
	rule, _, _ := strings.Cut(rules, ",")
	ignored := slices.Contains([]string{"class.plain-label", "class.namespace-label", "class.default"}, rule)
	if asked == "" || asked == "none" || !(signed && ignored || !signed && settled) {
		return nil
	}
	text := fmt.Sprintf("label %s=%s counts for nothing, since it is no class of the policy", workload.LabelPriority, asked)
	if meant := workload.Closest(asked, []string{"best-effort", "critical", "high", "standard", "none"}); meant != "" {
		text += "; " + meant + " was probably meant"
	}
	return []string{text}
}

// There is no end to what a pod may wear, and all of it is read at each change of the pod, while
// the loop waits: who has so many keys has not mistyped one, and no more are told than people read.
const (
	mostUnknown  = 50
	mostMisspelt = 5
)

// unknown are the keys of detnet's domain that are not known, in order; none where they are too
// many.
func unknown(has map[string]string, known []string) []string {
	var out []string
	for key := range has {
		if strings.HasPrefix(key, "detnet.dev/") && !slices.Contains(known, key) {
			if out = append(out, key); len(out) > mostUnknown {
				return nil
			}
		}
	}
	slices.Sort(out)
	return out
}

// notGranted says that a pod's class is less than was asked for, because its namespace may
// not claim that one: whoever made its workload saw no warning of the pod's admission.
func notGranted(pod *slimPod) []string {
	rules, _, _ := strings.Cut(pod.Annotations[workload.AnnotationDecision], "@")
	if !slices.Contains(strings.Split(rules, ","), "trust.downgrade") {
		return nil
	}
	return []string{fmt.Sprintf("a class is asked for that the namespace may not claim, and %s was given: label the namespace %s=true and replace the pod, or ask for less",
		cmp.Or(pod.Labels[workload.LabelClass], "none"), workload.LabelAllowCritical)}
}

var (
	podLabels      = append(slices.Clone(workload.ManagedLabels), workload.LabelPriority)
	podAnnotations = workload.ManagedAnnotations
	podKeys        = slices.Concat(podLabels, podAnnotations)
)
