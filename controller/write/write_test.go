package write

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
)

type recorded []string

func (r *recorded) Eventf(regarding, _ runtime.Object, _, reason, _, note string, args ...any) {
	ref := regarding.(*corev1.ObjectReference)
	*r = append(*r, fmt.Sprintf("%s %s %s: %s", ref.Kind, ref.Name, reason, fmt.Sprintf(note, args...)))
}

// requireOwner makes the API server refuse updates of pods without that label,
// as policies do that were written for new pods.
func requireOwner(t *testing.T, client kubernetes.Interface) (lift func()) {
	t.Helper()
	fail, forbidden := admissionv1.Fail, metav1.StatusReasonForbidden
	policies, bindings := client.AdmissionregistrationV1().ValidatingAdmissionPolicies(), client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
	_, err := policies.Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "require-owner"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &fail,
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}}}},
			Validations: []admissionv1.Validation{{
				Expression: `"owner" in object.metadata.?labels.orValue({})`, Message: "you must provide the label owner", Reason: &forbidden,
			}},
		},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = bindings.Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "require-owner"},
			Spec:       admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: "require-owner", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := bindings.Delete(t.Context(), "require-owner", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// A refusal is told once, in the API server's words, on the object, and is not
// asked for again until its back-off is over; a dry run finds out earlier.
func TestRefusalOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	pod, err := client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "legacy"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	lift := requireOwner(t, client)
	var events recorded
	var log strings.Builder
	w := New(client, NewBudget(1000, 1000), &events, slog.New(slog.NewTextHandler(&log, nil)))
	change := Change{Target: Target{Kind: "Pod", Namespace: "default", Name: "legacy", UID: pod.UID}, Annotations: map[string]string{"kubernetes.io/egress-bandwidth": "50M"}}
	await.Until(t, "the policy is in force", func() bool {
		change.DryRun = true
		_, refused := AsRefusal(w.Do(t.Context(), change))
		return refused
	})
	change.DryRun = false
	for range 20 {
		refusal, ok := AsRefusal(w.Do(t.Context(), change))
		if !ok || !strings.Contains(refusal.Words(), "you must provide the label owner") || !refusal.Again.After(time.Now()) {
			t.Fatalf("refusal = %v, %v", refusal, ok)
		}
	}
	if len(events) != 1 || !strings.Contains(events[0], "Pod legacy Refused") || !strings.Contains(events[0], "label owner") {
		t.Errorf("events %q, want one with the policy's words", events)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines of log, want one:\n%s", n, &log)
	}
	if words := w.Refused()[pod.UID]; !strings.Contains(words, "label owner") {
		t.Errorf("refused pods: %v", w.Refused())
	}
	lift()
	await.Until(t, "a dry run finds the policy gone", func() bool {
		try := change
		try.DryRun = true
		return w.Do(t.Context(), try) == nil
	})
	if err := w.Do(t.Context(), change); err != nil || len(w.Refused()) != 0 {
		t.Errorf("after the policy has gone: %v, still refused %v", err, w.Refused())
	}
}

// What pins a change to the object that was read.
func TestPinnedToTheObject(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	node, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := New(client, nil, nil, slog.New(slog.DiscardHandler))
	target := Target{Kind: "Node", Name: "n1", UID: node.UID}
	do := func(c Change) error { return w.Do(context.WithoutCancel(t.Context()), c) }
	if err := do(Change{Target: target, Version: node.ResourceVersion, Labels: map[string]string{"a": "b"}}); err != nil {
		t.Errorf("in the version that was read: %v", err)
	}
	if err := do(Change{Target: target, Version: node.ResourceVersion, Labels: map[string]string{"a": "c"}}); !Gone(err) {
		t.Errorf("in an old version: %v, want Gone", err)
	}
	target.UID = "another"
	if err := do(Change{Target: target, Labels: map[string]string{"a": "c"}}); !Gone(err) {
		t.Errorf("of a namesake: %v, want Gone", err)
	}
	if err := do(Change{Target: Target{Kind: "Secret", Namespace: "default", Name: "s"}}); err == nil || Gone(err) {
		t.Errorf("of a kind that is not detnet's: %v", err)
	}
}

func TestNoteFits(t *testing.T) {
	if got := Note(strings.Repeat("ä", 2000)); len(got) > 1024 || !strings.HasSuffix(got, "ä …") {
		t.Errorf("%d bytes, %q at the end", len(got), got[len(got)-10:])
	}
}
