package inventory

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

// What is selected and dropped is decided by the API server and the informers.
func TestFollowsARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	populate(t, client)
	inv := New(client, "detnet", workload.Enforce)
	inv.SetStatic(staticTargets(t))
	done := make(chan error, 1)
	go func() { done <- inv.Start(t.Context()) }()
	select {
	case <-inv.Synced():
	case <-time.After(30 * time.Second):
		t.Fatal("not synced within 30 s")
	}
	s := inv.Snapshot()
	var senders, problems []string
	for _, sender := range s.Senders {
		senders = append(senders, sender.Pod.Name)
	}
	for _, p := range s.Problems {
		if p.Unstamped == "" {
			t.Errorf("problem %+v", p)
		}
		problems = append(problems, p.Object)
	}
	if got := strings.Join(senders, " "); got != "stamped static" {
		t.Errorf("senders %q, want stamped and static", got)
	}
	if got := strings.Join(problems, ", "); got != "pod factory/slipped, pod factory/slipped-original" {
		t.Errorf("unstamped %q, want the two that slipped", got)
	}
	if s.Zones["worker-1"] != "hall-a" {
		t.Errorf("zones = %v", s.Zones)
	}

	retarget(t, inv)
	patch := []byte(`{"metadata":{"annotations":{"detnet.dev/mode":"off"}}}`)
	if _, err := client.CoreV1().Namespaces().Patch(t.Context(), "factory", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); len(inv.Snapshot().Senders)+len(inv.Snapshot().Problems) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("30 s after the namespace was set to off: %+v", inv.Snapshot())
		}
	}
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
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{corev1.LabelTopologyZone: "hall-a"}}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create("stamped", map[string]string{workload.LabelClass: "best-effort", workload.LabelPriority: "best-effort"}, stamped(), asIs)
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
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s := inv.Snapshot()
		var names []string
		for _, sender := range s.Senders {
			names = append(names, sender.Pod.Name)
		}
		got := strings.Join(names, " ")
		if got == "another stamped" {
			break
		}
		if got != "stamped static" || time.Now().After(deadline) {
			t.Fatalf("senders %q on the way from one static target to another", got)
		}
	}
}
