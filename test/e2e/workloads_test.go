package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/stage"
	"github.com/detnet/detnet/workload"
)

const (
	warehouse = "warehouse"
	stockers  = 5 // its pods: two of a Deployment, one of a StatefulSet, one on each node but the first
)

// rollsOut plays a cluster whose CNI reads limits at pod creation only: limits
// go into templates, and the cluster's own controllers replace the pods. On the
// way a node says what best effort may use on it.
func (w *world) rollsOut(t *testing.T) {
	ctx := t.Context()
	const every = 10 * time.Second
	// The factory is left alone meanwhile, and the warehouse afterwards.
	w.mode(t, stage.Factory, `"observe"`)
	t.Cleanup(func() { w.mode(t, stage.Factory, "null"); w.mode(t, warehouse, `"off"`) })
	if err := install.Detnet(ctx, w.Cluster, map[string]string{
		"controller.config.rolloutEvery":    every.String(),
		"controller.config.nodes.bandwidth": "true",
		// New pods read the new file at once, running ones within the minute
		// that the kubelet takes to refresh a mount.
		"logLevel": "debug",
	}); err != nil {
		t.Fatal(err)
	}
	w.stock(t)
	first := w.stockersWith(t, "")
	node := w.Cluster.Nodes()[0]
	w.patchNode(t, node, `{"metadata":{"annotations":{"detnet.dev/best-effort-bandwidth":"90M"}}}`)

	old := first
	for _, limit := range []string{"50M", "30M"} {
		for _, pod := range old {
			body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, workload.AnnotationEgressBandwidth, limit)
			if _, err := w.Client.CoreV1().Pods(warehouse).Patch(ctx, pod.Name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		next := w.stockersWith(t, limit, old...)
		for _, pod := range next {
			if got, want := pod.Annotations[workload.AnnotationInitialBandwidth], first[0].Annotations[workload.AnnotationInitialBandwidth]; got != want {
				t.Errorf("%s was admitted with %s, its forebears with %s", pod.Name, got, want)
			}
		}
		old = next
	}
	w.notTooOften(t, every)
	if out, err := w.Cluster.Kubectl(ctx, "get", "deployments", "-n", stage.Factory, "-o", "yaml"); err != nil || strings.Contains(out, workload.AnnotationTemplateBefore) {
		t.Errorf("a template of the stage.Factory, which is only observed, was changed: %v", err)
	}
	logs, err := w.Cluster.Kubectl(ctx, "logs", "-n", install.Namespace, "-l", "app.kubernetes.io/component=controller", "--tail=-1")
	if err != nil || !strings.Contains(logs, "each change replaces all pods") {
		t.Errorf("the log does not warn: %v", err)
	}
	stage.Eventually(t, "the kubelet lets pods ask for the node's bandwidth", func() error {
		n, err := w.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if q := n.Status.Allocatable[workload.BestEffortBandwidth]; q.String() != "90M" {
			return fmt.Errorf("allocatable %v", n.Status.Allocatable)
		}
		return nil
	})
}

// stock creates a workload of each kind.
func (w *world) stock(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if _, err := w.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: warehouse}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	template := func(app string) (metav1.ObjectMeta, *metav1.LabelSelector, corev1.PodTemplateSpec) {
		pod := simplePod(app, "best-effort", nil)
		pod.Spec.TerminationGracePeriodSeconds = new(int64)
		return metav1.ObjectMeta{Name: app}, &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels}, Spec: pod.Spec}
	}
	two := int32(2)
	meta, selector, pod := template("cart")
	_, err := w.Client.AppsV1().Deployments(warehouse).Create(ctx, &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: &two, Selector: selector, Template: pod}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	meta, selector, pod = template("shelf")
	if _, err = w.Client.AppsV1().StatefulSets(warehouse).Create(ctx, &appsv1.StatefulSet{ObjectMeta: meta, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	meta, selector, pod = template("camera")
	pod.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpNotIn, Values: w.Cluster.Nodes()[:1],
		}}}},
	}}}
	if _, err = w.Client.AppsV1().DaemonSets(warehouse).Create(ctx, &appsv1.DaemonSet{ObjectMeta: meta, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: pod}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// stockersWith waits for the warehouse's pods to run, all of them stamped, none
// of them one of the former, and with the limit, unless that is empty.
func (w *world) stockersWith(t *testing.T, limit string, former ...corev1.Pod) []corev1.Pod {
	t.Helper()
	gone := map[types.UID]bool{}
	for _, pod := range former {
		gone[pod.UID] = true
	}
	var found []corev1.Pod
	stage.Eventually(t, "replace all pods of the warehouse by such with "+limit, func() error {
		pods, err := w.Client.CoreV1().Pods(warehouse).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			got := pod.Annotations[workload.AnnotationEgressBandwidth]
			if gone[pod.UID] || pod.Status.Phase != corev1.PodRunning || got == "" || limit != "" && got != limit {
				return fmt.Errorf("pod %s is %s and has limit %q", pod.Name, pod.Status.Phase, got)
			}
		}
		if found = pods.Items; len(found) != stockers {
			return fmt.Errorf("%d pods, want %d", len(found), stockers)
		}
		return nil
	})
	return found
}

// notTooOften looks at when the Deployment's templates were made.
func (w *world) notTooOften(t *testing.T, every time.Duration) {
	t.Helper()
	sets, err := w.Client.AppsV1().ReplicaSets(warehouse).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]time.Time{}
	for _, set := range sets.Items {
		made[set.Spec.Template.Annotations[workload.AnnotationEgressBandwidth]] = set.CreationTimestamp.Time
	}
	// The API server's times are in whole seconds.
	if between := made["30M"].Sub(made["50M"]); len(made) != 3 || between < every-time.Second {
		t.Errorf("templates were made at %v: want three, the last two %v apart", made, every)
	}
}

// mode sets the annotation of a namespace; "null" takes it away.
func (w *world) mode(t *testing.T, namespace, value string) {
	t.Helper()
	body := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, workload.AnnotationMode, value)
	if _, err := w.Client.CoreV1().Namespaces().Patch(context.WithoutCancel(t.Context()), namespace, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
		t.Error(err)
	}
}

func (w *world) patchNode(t *testing.T, name, body string) {
	t.Helper()
	if _, err := w.Client.CoreV1().Nodes().Patch(t.Context(), name, types.MergePatchType, []byte(body), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// restored reports what uninstalling left on workloads and nodes.
func (w *world) restored(ctx context.Context) error {
	var kinds []any
	deployments, err := w.Client.AppsV1().Deployments(warehouse).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	statefulSets, err := w.Client.AppsV1().StatefulSets(warehouse).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	daemonSets, err := w.Client.AppsV1().DaemonSets(warehouse).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	nodes, err := w.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range deployments.Items {
		kinds = append(kinds, d.Annotations, d.Spec.Template.Annotations)
	}
	for _, s := range statefulSets.Items {
		kinds = append(kinds, s.Annotations, s.Spec.Template.Annotations)
	}
	for _, d := range daemonSets.Items {
		kinds = append(kinds, d.Annotations, d.Spec.Template.Annotations)
	}
	for _, n := range nodes.Items {
		kinds = append(kinds, n.Status.Capacity, n.Spec.Taints)
	}
	text, err := json.Marshal(kinds)
	if err != nil {
		return err
	}
	for _, trace := range []string{"detnet.dev/", workload.AnnotationEgressBandwidth} {
		if strings.Contains(string(text), trace) {
			return fmt.Errorf("%s is left: %s", trace, text)
		}
	}
	return nil
}
