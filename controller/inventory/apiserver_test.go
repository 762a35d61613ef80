package inventory

import (
	"fmt"
	"strings"
	"testing"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// What is selected and dropped is decided by the API server and the informers.
func TestFollowsARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	populate(t, client)
	inv := New(client, "detnet", workload.Enforce)
	inv.Webhook = "detnet-webhook"
	inv.SetKeys(signature.Keys{Current: key})
	inv.SetStatic(staticTargets(t))
	done := make(chan error, 1)
	go func() { done <- inv.Start(t.Context()) }()
	<-inv.Synced()
	s := inv.Snapshot()
	var senders, unstamped []string
	for _, sender := range s.Senders {
		senders = append(senders, sender.Pod.Name)
	}
	for _, u := range s.Unstamped {
		unstamped = append(unstamped, u.Pod.String())
	}
	if len(s.Problems) > 0 {
		t.Errorf("problems %+v", s.Problems)
	}
	if got := strings.Join(senders, " "); got != "stamped static" {
		t.Errorf("senders %q, want stamped and static", got)
	}
	if got := strings.Join(unstamped, ", "); got != "factory/forged, factory/slipped, factory/slipped-original" {
		t.Errorf("unstamped %q, want the two that slipped and the forged one", got)
	}
	if s.Zones["worker-1"] != "hall-a" {
		t.Errorf("zones = %v", s.Zones)
	}

	retarget(t, inv)
	patch := []byte(`{"metadata":{"annotations":{"detnet.dev/mode":"off"}}}`)
	if _, err := client.CoreV1().Namespaces().Patch(t.Context(), "factory", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Success(t, "the namespace is off", func() error {
		if s := inv.Snapshot(); len(s.Senders)+len(s.Unstamped) > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// likeTheChart is the configuration that the chart installs, as far as it
// selects.
func likeTheChart() *registrationv1.MutatingWebhookConfiguration {
	in := func(key string, operator metav1.LabelSelectorOperator, values ...string) metav1.LabelSelectorRequirement {
		return metav1.LabelSelectorRequirement{Key: key, Operator: operator, Values: values}
	}
	c := &registrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "detnet-webhook"}}
	add := func(name string, namespace metav1.LabelSelectorOperator, pod ...metav1.LabelSelectorRequirement) {
		url, none, ignore := "https://127.0.0.1:1/mutate", registrationv1.SideEffectClassNone, registrationv1.Ignore
		c.Webhooks = append(c.Webhooks, registrationv1.MutatingWebhook{
			Name: name + ".detnet.dev", SideEffects: &none, FailurePolicy: &ignore, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: registrationv1.WebhookClientConfig{URL: &url},
			NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
				in(corev1.LabelMetadataName, metav1.LabelSelectorOpNotIn, "kube-system", "detnet"), in(workload.LabelPriority, namespace),
			}},
			ObjectSelector: &metav1.LabelSelector{MatchExpressions: pod},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		})
	}
	const exists, absent = metav1.LabelSelectorOpExists, metav1.LabelSelectorOpDoesNotExist
	add("pods", absent, in(workload.LabelPriority, exists))
	add("plain-pods", absent, in(workload.LabelPriority, absent), in("priority", metav1.LabelSelectorOpIn, "critical", "best-effort"))
	add("forged-pods", absent, in(workload.LabelPriority, absent), in("priority", absent), in(workload.LabelClass, exists))
	add("namespaces", exists)
	return c
}

// populate creates a namespace, a node, and pods of every sort.
func populate(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	create := func(name string, labels, annotations map[string]string, change func(*corev1.Pod)) {
		t.Helper()
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: name, Labels: labels, Annotations: annotations}}
		pod.Spec = corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}}
		change(pod)
		if _, err := client.CoreV1().Pods("factory").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	asIs := func(*corev1.Pod) {}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "factory"}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Create(t.Context(), likeTheChart(), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{corev1.LabelTopologyZone: "hall-a"}}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create("stamped", map[string]string{workload.LabelClass: "best-effort", workload.LabelPriority: "best-effort"}, stamped(), func(pod *corev1.Pod) { sign(pod) })
	create("forged", map[string]string{workload.LabelClass: "critical"}, map[string]string{workload.AnnotationMaxJitter: "10us"}, asIs)
	create("slipped", map[string]string{workload.LabelPriority: "critical"}, nil, asIs)
	create("slipped-original", map[string]string{"priority": "best-effort"}, nil, asIs)
	create("stranger", map[string]string{"priority": "whatever"}, nil, asIs)
	create("static", nil, nil, func(pod *corev1.Pod) { ownedBy(pod, "telemetry-upload-5d4f") })
	create("another", nil, nil, func(pod *corev1.Pod) { ownedBy(pod, "erp-5d4f") })
}

func retarget(t *testing.T, inv *Inventory) {
	t.Helper()
	// The static targets change while it runs; nobody else's sender goes away
	// for it, not even for a moment.
	next := staticTargets(t)
	next.Deployments[0].Name = "erp"
	inv.SetStatic(next)
	await.Until(t, "the other static target is taken", func() bool {
		s := inv.Snapshot()
		var names []string
		for _, sender := range s.Senders {
			names = append(names, sender.Pod.Name)
		}
		got := strings.Join(names, " ")
		if got != "another stamped" && got != "stamped static" {
			t.Fatalf("senders %q on the way from one static target to another", got)
		}
		return got == "another stamped"
	})
}
