package restore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

// One object that refuses or has gone does not keep the others from being
// restored.
func TestApplyGoesOn(t *testing.T) {
	refuse := func(context.Context) error { return errors.New("admission webhook denied the request") }
	succeed := func(context.Context) error { return nil }
	var done []string
	err := Apply(t.Context(), []Change{{Object: "refused", apply: refuse}, {Object: "fine", apply: succeed}}, func(c Change) { done = append(done, c.Object) })
	if !slices.Equal(done, []string{"fine"}) {
		t.Errorf("restored %v, want fine", done)
	}
	if err == nil || !strings.Contains(err.Error(), "restore refused") {
		t.Errorf("error = %v, want one about the refused", err)
	}
}

// What detnet writes in its life, on a real API server, and what is left of it
// afterwards.
func TestNothingIsLeft(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	leaveTraces(t, client)

	changes, err := Find(t.Context(), client, "")
	if err == nil || !strings.Contains(err.Error(), "careless") {
		t.Errorf("Find: %v, want an error about the careless pod", err)
	}
	if err := client.CoreV1().Pods("default").Delete(t.Context(), "gone", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	var done []string
	if err := Apply(t.Context(), changes, func(c Change) { done = append(done, c.Object+": "+c.From+" → "+c.To) }); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{
		"Deployment default/telemetry: 20M → 80M",
		"pod default/stamped: 20M → 100M",
		"pod default/static: 20M → ",
		"pod default/static-limited: 20M → 50M",
		"node n1: taint detnet.dev/congested, detnet.dev/best-effort-bandwidth 95M → ",
	}, done); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}

	if diff := cmp.Diff(map[string]map[string]string{
		"stamped":        {workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "100M"},
		"untouched":      {workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "100M"},
		"careless":       {workload.AnnotationInitialBandwidth: "lots", workload.AnnotationEgressBandwidth: "20M"},
		"static":         nil,
		"static-limited": {workload.AnnotationEgressBandwidth: "50M"},
		"stranger":       {workload.AnnotationEgressBandwidth: "5M"},
		"Deployment":     nil,
		"template":       {workload.AnnotationEgressBandwidth: "80M", "other": "kept"},
	}, annotations(t, client)); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if left, err := Find(t.Context(), client, ""); len(left) != 0 || err == nil {
		t.Errorf("found again: %v, %v", left, err)
	}
}

// leaveTraces makes what detnet leaves behind when it just stops.
func leaveTraces(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	pod := func(name string, labels, annotations map[string]string) {
		t.Helper()
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels, Annotations: annotations}}
		p.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
		if _, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	class := map[string]string{workload.LabelClass: "best-effort"}
	pod("stamped", class, map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "20M"})
	pod("untouched", class, map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "100M"})
	pod("careless", class, map[string]string{workload.AnnotationInitialBandwidth: "lots", workload.AnnotationEgressBandwidth: "20M"})
	pod("static", nil, map[string]string{workload.AnnotationInitialBandwidth: workload.NoLimit, workload.AnnotationEgressBandwidth: "20M"})
	pod("static-limited", nil, map[string]string{workload.AnnotationInitialBandwidth: "50M", workload.AnnotationEgressBandwidth: "20M"})
	pod("stranger", nil, map[string]string{workload.AnnotationEgressBandwidth: "5M"})
	pod("gone", class, map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "20M"})
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	node.Spec.Taints = []corev1.Taint{{Key: workload.TaintCongested, Effect: corev1.TaintEffectPreferNoSchedule}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	capacity := []byte(`{"status":{"capacity":{"` + workload.BestEffortBandwidth + `":"95M"}}}`)
	if _, err := client.CoreV1().Nodes().Patch(t.Context(), "n1", types.MergePatchType, capacity, metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	meta := metav1.ObjectMeta{Name: "telemetry", Annotations: map[string]string{workload.AnnotationTemplateBefore: `{"kubernetes.io/egress-bandwidth":"80M","detnet.dev/initial-bandwidth":null,"other":null}`}}
	d := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "a"}}}}
	d.Spec.Template.Labels = map[string]string{"app": "a"}
	d.Spec.Template.Annotations = map[string]string{workload.AnnotationEgressBandwidth: "20M", workload.AnnotationInitialBandwidth: "100M", "other": "kept"}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	if _, err := client.AppsV1().Deployments("default").Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// annotations are those of the pods, of the Deployment and of its template.
func annotations(t *testing.T, client kubernetes.Interface) map[string]map[string]string {
	t.Helper()
	has := map[string]map[string]string{}
	list, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		has[p.Name] = p.Annotations
	}
	got, err := client.AppsV1().Deployments("default").Get(t.Context(), "telemetry", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	has["Deployment"], has["template"] = got.Annotations, got.Spec.Template.Annotations
	return has
}
