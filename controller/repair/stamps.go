package repair

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// asAdmitted is a live pod with the limit that it was admitted with in place of
// the one in force, which the webhook would take for its owner's wish.
func asAdmitted(pod *corev1.Pod) *corev1.Pod {
	initial := pod.Annotations[workload.AnnotationInitialBandwidth]
	if _, err := bitrate.ParseLimit(initial); err != nil {
		return pod
	}
	out := pod.DeepCopy()
	out.Annotations[workload.AnnotationEgressBandwidth] = initial
	return out
}

// difference is what a review makes of labels and annotations; nil takes a key
// away.
type difference struct{ labels, annotations map[string]any }

func (d difference) empty() bool { return len(d.labels)+len(d.annotations) == 0 }

// differs is what the live pod lacks to be as the review has it. A limit in force
// that is lower than the one it would begin with stays: the controller moves it,
// and an upgrade is no reason to open all limits at once.
func differs(pod, stamped *corev1.Pod) difference {
	d := difference{changed(pod.Labels, stamped.Labels), changed(pod.Annotations, stamped.Annotations)}
	if stamped.Annotations[workload.AnnotationInitialBandwidth] != "" {
		now, err := bitrate.ParseLimit(pod.Annotations[workload.AnnotationEgressBandwidth])
		first, bad := bitrate.ParseLimit(stamped.Annotations[workload.AnnotationEgressBandwidth])
		if err == nil && (bad != nil || now <= first) {
			delete(d.annotations, workload.AnnotationEgressBandwidth)
		}
	}
	return d
}

// changed lists what after has otherwise than before.
func changed(before, after map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range after {
		if have, ok := before[key]; !ok || have != value {
			out[key] = value
		}
	}
	for key := range before {
		if _, ok := after[key]; !ok {
			out[key] = nil
		}
	}
	return out
}

// told says what changed, "" where nobody sees a difference, and whether the pod
// is now all that a new one would be.
func (d difference) told(pod, stamped *corev1.Pod) (complete bool, note string) {
	var notes, gone, given []string
	for _, part := range []map[string]any{d.labels, d.annotations} {
		for _, key := range slices.Sorted(maps.Keys(part)) {
			switch {
			case key == workload.AnnotationSignature || key == workload.AnnotationDecision:
			case part[key] == nil:
				gone = append(gone, key)
			default:
				given = append(given, key)
			}
		}
	}
	if len(given) > 0 {
		notes = append(notes, "stamps that the webhook missed were added: "+strings.Join(given, ", "))
	}
	if len(gone) > 0 {
		notes = append(notes, "what admission does not give it was taken away: "+strings.Join(gone, ", "))
	}
	if limit := pod.Annotations[workload.AnnotationEgressBandwidth]; limit != "" && slices.Contains(gone, workload.AnnotationEgressBandwidth) {
		notes = append(notes, fmt.Sprintf("its own limit %s was lifted, since class %s is not limited", limit, stamped.Labels[workload.LabelClass]))
	}
	has, wants := pod.Spec.PriorityClassName, stamped.Spec.PriorityClassName
	switch {
	case has == wants:
	case wants == "":
		notes = append(notes, fmt.Sprintf("it keeps priority class %s, which admission would not let it have, until it is recreated, as with kubectl rollout restart", has))
	default:
		notes = append(notes, fmt.Sprintf("priority class %s can only be given to a new pod: recreate it, as with kubectl rollout restart", wants))
	}
	return has == wants, strings.Join(notes, "; ")
}
