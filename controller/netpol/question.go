package netpol

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload/ask"
)

// Asker asks the webhook what a pod should have.
type Asker interface {
	// Ask returns ErrExempt where the webhook leaves the pod's namespace alone.
	Ask(ctx context.Context, namespace, name string) (ask.Answer, error)
}

// believed is how long an answer holds: after a change of the policy set the
// network policies follow so much later, without a pod being made anew.
const believed = 10 * time.Minute

// answers remembers what the webhook said of the pods of a namespace.
type answers map[string]remembered

type remembered struct {
	ask.Answer
	until time.Time
}

// perPod are labels by which the pods of one workload differ.
var perPod = []string{
	"statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
	"batch.kubernetes.io/job-completion-index", "pod-index",
}

// question is the same for pods of which the webhook would say the same: those
// of one revision of one workload that have the same labels and were decided
// alike. A pod of which no revision can be told is a question of its own.
func (p *pod) question() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q\n", p.revision())
	for _, m := range []map[string]string{p.Labels, p.Annotations} {
		var lines []string
		for key, value := range m {
			if !slices.Contains(perPod, key) {
				lines = append(lines, fmt.Sprintf("%q=%q", key, value))
			}
		}
		slices.Sort(lines)
		fmt.Fprintln(h, strings.Join(lines, "\n"))
	}
	return string(h.Sum(nil))
}

func (p *pod) revision() string {
	owner := metav1.GetControllerOf(p)
	if owner == nil {
		return string(p.UID)
	}
	for _, label := range []string{"pod-template-hash", "controller-revision-hash"} {
		if hash, ok := p.Labels[label]; ok {
			return string(owner.UID) + " " + hash
		}
	}
	if owner.Kind == "Job" { // its template never changes
		return string(owner.UID)
	}
	return string(p.UID)
}
