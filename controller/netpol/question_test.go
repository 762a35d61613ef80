package netpol

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
)

// replica is pod n of a workload.
func replica(kind string, n string, labels map[string]string) *pod {
	yes := true
	labels[workload.LabelClass] = "critical"
	p := &pod{metav1.ObjectMeta{Name: "p-" + n, UID: types.UID(n), Labels: labels, Annotations: map[string]string{workload.AnnotationDecision: "d"}}}
	if kind != "" {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, UID: "owner", Controller: &yes}}
	}
	return p
}

// The webhook is asked once for the pods of a revision, and anew for another.
func TestQuestion(t *testing.T) {
	for name, c := range map[string]struct {
		a, b *pod
		same bool
	}{
		"replicas of a Deployment":       {replica("ReplicaSet", "1", map[string]string{"pod-template-hash": "x"}), replica("ReplicaSet", "2", map[string]string{"pod-template-hash": "x"}), true},
		"another template":               {replica("ReplicaSet", "1", map[string]string{"pod-template-hash": "x"}), replica("ReplicaSet", "2", map[string]string{"pod-template-hash": "y"}), false},
		"pods of a StatefulSet":          {replica("StatefulSet", "1", map[string]string{"controller-revision-hash": "x", "apps.kubernetes.io/pod-index": "0"}), replica("StatefulSet", "2", map[string]string{"controller-revision-hash": "x", "apps.kubernetes.io/pod-index": "1"}), true},
		"pods of a Job":                  {replica("Job", "1", map[string]string{}), replica("Job", "2", map[string]string{}), true},
		"a ReplicaSet's template may go": {replica("ReplicaSet", "1", map[string]string{}), replica("ReplicaSet", "2", map[string]string{}), false},
		"pods of nobody":                 {replica("", "1", map[string]string{}), replica("", "2", map[string]string{}), false},
		"other labels":                   {replica("Job", "1", map[string]string{"app": "a"}), replica("Job", "2", map[string]string{"app": "b"}), false},
	} {
		if same := c.a.question() == c.b.question(); same != c.same {
			t.Errorf("%s: the same question: %v", name, same)
		}
	}
}

// counts is an Asker.
type counts int

func (c *counts) Ask(context.Context, string, string) (ask.Answer, error) {
	*c++
	return ask.Answer{}, nil
}

// Whoever makes many pods, each of its own kind, has the others wait for a few of
// them and not for all.
func TestManyPodsAreAskedAboutInTurns(t *testing.T) {
	var asked counts
	k := &Keeper{Settings: Settings{Asker: &asked, Now: time.Now}, answers: map[string]answers{}}
	s := &scene{name: "churn"}
	for i := range 2*perLook + 1 {
		s.pods = append(s.pods, replica("", fmt.Sprint(i), map[string]string{}))
	}
	for _, want := range []counts{perLook, 2 * perLook, 2*perLook + 1, 2*perLook + 1} {
		_, err := k.ask(t.Context(), s)
		if all := int(want) == len(s.pods); asked != want || errors.Is(err, errMore) == all {
			t.Errorf("asked %d times, %v; want %d", asked, err, want)
		}
	}
}
