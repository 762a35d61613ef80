package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/stage"
	"github.com/detnet/detnet/workload"
)

func (w *world) stamps(t *testing.T) {
	for _, app := range []string{"robot-control", "safety-scanner"} {
		p := w.MustPod(t, app)
		if p.Labels[workload.LabelClass] != workload.ClassCritical {
			t.Errorf("%s: labels %v", app, p.Labels)
		}
		if limit, ok := p.Annotations[workload.AnnotationEgressBandwidth]; ok {
			t.Errorf("%s is critical and has an egress limit of %s", app, limit)
		}
		if p.Annotations[workload.AnnotationCiliumPriority] == "" {
			t.Errorf("%s has no Cilium priority: %v", app, p.Annotations)
		}
		w.priorityAgrees(t, p)
	}
	for _, app := range scene.Senders {
		p := w.MustPod(t, app)
		if p.Labels[workload.LabelClass] != "best-effort" {
			t.Errorf("%s: labels %v", app, p.Labels)
		}
		for _, key := range []string{workload.AnnotationEgressBandwidth, workload.AnnotationInitialBandwidth, workload.AnnotationMinBandwidth, workload.AnnotationMaxBandwidth} {
			if _, err := bitrate.Parse(p.Annotations[key]); err != nil {
				t.Errorf("%s: %s: %v", app, key, err)
			}
		}
		w.priorityAgrees(t, p)
	}
	stage.Eventually(t, "each workload of the factory has its Cilium policy", func() error {
		out, err := w.Cluster.Kubectl(t.Context(), "get", "ciliumnetworkpolicies", "-n", stage.Factory, "-o", "name")
		if err != nil {
			return err
		}
		for _, app := range append([]string{"robot-control", "safety-scanner"}, scene.Senders...) {
			if !strings.Contains(out, "-"+app+"-") {
				err = errors.Join(err, fmt.Errorf("%s has none", app))
			}
		}
		return err
	})
}

func (w *world) priorityAgrees(t *testing.T, p *corev1.Pod) {
	t.Helper()
	class, err := w.Client.SchedulingV1().PriorityClasses().Get(t.Context(), p.Spec.PriorityClassName, metav1.GetOptions{})
	if err != nil {
		t.Errorf("%s: priority class %q: %v", p.Name, p.Spec.PriorityClassName, err)
		return
	}
	if p.Spec.Priority == nil || *p.Spec.Priority != class.Value {
		t.Errorf("%s: priority %v, class %s has %d", p.Name, p.Spec.Priority, class.Name, class.Value)
	}
}

// warnings collects what the API server tells a client.
type warnings struct {
	mu   sync.Mutex
	text []string
}

// HandleWarningHeader implements rest.WarningHandler.
func (w *warnings) HandleWarningHeader(_ int, _ string, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, text)
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.text, "\n")
}

func (w *world) warned(t *testing.T) (kubernetes.Interface, *warnings) {
	t.Helper()
	heard := new(warnings)
	config := rest.CopyConfig(w.Config)
	config.WarningHandler = heard
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client, heard
}

func simplePod(name, priority string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{workload.LabelPriority: priority, "app": name}, Annotations: annotations},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "c", Image: "detnet.local/traffic:" + install.Tag, ImagePullPolicy: corev1.PullNever, Args: []string{"echo"},
			Ports: []corev1.ContainerPort{{ContainerPort: 5201, Protocol: corev1.ProtocolUDP}},
		}}},
	}
}

func (w *world) badAnnotations(t *testing.T) {
	ctx := t.Context()
	client, heard := w.warned(t)
	p, err := client.CoreV1().Pods("default").Create(ctx, simplePod("careless", "best-effort", map[string]string{
		workload.AnnotationEgressBandwidth: "10Mbit",
		workload.AnnotationMinBandwidth:    "0",
	}), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err != nil {
		t.Fatalf("a careless annotation refused the pod: %v", err)
	}
	for _, key := range []string{workload.AnnotationEgressBandwidth, workload.AnnotationMinBandwidth} {
		if _, err := bitrate.Parse(p.Annotations[key]); err != nil {
			t.Errorf("%s did not take the default: %v", key, err)
		}
		if !strings.Contains(heard.String(), key) {
			t.Errorf("no warning names %s; heard %q", key, heard)
		}
	}
}

func (w *world) dryRun(t *testing.T) {
	ctx := t.Context()
	if _, err := w.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "rehearsal", Labels: map[string]string{"detnet.dev/allow-critical": "true"},
	}}, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	pod := simplePod("rehearsed", "critical", map[string]string{workload.AnnotationProbe: "udp:5201", workload.AnnotationMaxJitter: "1ms"})
	stage.Eventually(t, "stamp a pod of a new namespace on a dry run", func() error {
		p, err := w.Client.CoreV1().Pods("rehearsal").Create(ctx, pod.DeepCopy(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && p.Labels[workload.LabelClass] != workload.ClassCritical {
			t.Fatalf("labels %v", p.Labels)
		}
		return err // the service account may take a moment
	})
	if out, err := w.Cluster.Kubectl(ctx, "get", "ciliumnetworkpolicies", "-n", "rehearsal", "-o", "name"); err != nil || out != "" {
		t.Errorf("the dry run left %q, %v", out, err)
	}
}
