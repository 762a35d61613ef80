package rollout

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

const mbit = bitrate.Mbit

func sender(kind, name string, limit bitrate.Rate, mode workload.ControlMode) inventory.Sender {
	s := inventory.Sender{Mode: mode, Workload: inventory.Workload{Kind: kind, Namespace: "default", Name: name}}
	s.Limit, s.Initial = limit, 100*mbit
	return s
}

func TestWanted(t *testing.T) {
	lone := sender("", "", 10*mbit, workload.Enforce)
	lone.Workload = inventory.Workload{}
	got := wanted(&inventory.Snapshot{Senders: []inventory.Sender{
		sender("Deployment", "a", 80*mbit, workload.Enforce),
		sender("Deployment", "a", 60*mbit, workload.Enforce),
		sender("Deployment", "watched", 60*mbit, workload.Observe),
		sender("Deployment", "unlimited", 0, workload.Enforce),
		sender("StatefulSet", "a", 90*mbit, workload.Enforce),
		lone,
	}})
	want := []template{
		{inventory.Workload{Kind: "Deployment", Namespace: "default", Name: "a"}, 60 * mbit, 100 * mbit},
		{inventory.Workload{Kind: "StatefulSet", Namespace: "default", Name: "a"}, 90 * mbit, 100 * mbit},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(template{})); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
}

func TestOnceOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	createEach(t, client)
	kinds := []string{"Deployment", "StatefulSet", "DaemonSet"}
	limit := 80 * mbit
	r := &Rollout{Client: client, Log: slog.New(slog.DiscardHandler)}
	r.Snapshot = func() *inventory.Snapshot {
		s := &inventory.Snapshot{Senders: []inventory.Sender{
			sender("Job", "a", limit, workload.Enforce), sender("Deployment", "gone", limit, workload.Enforce),
		}}
		for _, kind := range kinds {
			s.Senders = append(s.Senders, sender(kind, "a", limit, workload.Enforce))
		}
		return s
	}
	for _, step := range []struct {
		limit bitrate.Rate
		want  string
	}{
		{80 * mbit, "80M"},
		{85 * mbit, "80M"}, // not worth new pods
		{60 * mbit, "60M"},
	} {
		limit = step.limit
		// One kind that can't be changed does not stop the others.
		if err := r.Once(t.Context()); err == nil || !strings.Contains(err.Error(), "Job default/a") || strings.Contains(err.Error(), "gone") {
			t.Errorf("Once: %v, want an error about the Job alone", err)
		}
		for _, kind := range kinds {
			_, got, err := get(t.Context(), client, inventory.Workload{Kind: kind, Namespace: "default", Name: "a"})
			if err != nil || got[workload.EgressBandwidth] != step.want || got["other"] != "kept" || got[workload.InitialBandwidth] != "100M" {
				t.Errorf("%s at %v: template has %v, %v; want %s, and 100M at first", kind, step.limit, got, err, step.want)
			}
		}
	}

	changed, err := Find(t.Context(), client, "")
	if err != nil || len(changed) != len(kinds) {
		t.Fatalf("Find: %v, %v", changed, err)
	}
	for _, c := range changed {
		if c.From != "60M" || c.To != "" {
			t.Errorf("%s: %s → %s, want 60M to none", c, c.From, c.To)
		}
		if err := c.Undo(t.Context(), client); err != nil {
			t.Error(err)
		}
		meta, got, err := get(t.Context(), client, c.Workload)
		if err != nil || len(meta) > 1 || meta[workload.TemplateBefore] != "" || !maps.Equal(got, map[string]string{"other": "kept"}) {
			t.Errorf("%s: %v, template %v, %v", c, meta, got, err)
		}
	}
}

// createEach makes a workload "a" of each kind.
func createEach(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	labels := map[string]string{"app": "a"}
	pod := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"other": "kept"}}}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	selector := &metav1.LabelSelector{MatchLabels: labels}
	meta := metav1.ObjectMeta{Name: "a"}
	apps := client.AppsV1()
	if _, err := apps.Deployments("default").Create(t.Context(), &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.StatefulSets("default").Create(t.Context(), &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.DaemonSets("default").Create(t.Context(), &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}
