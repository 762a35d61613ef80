package targets

import (
	"bytes"
	"maps"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/workload"
)

// Whether the fragments may be applied to workloads that others manage, and add
// to them without taking anything away, the API server decides.
func TestImportIsApplied(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "factory"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	imported, err := Parse([]byte(sample(t)))
	if err != nil {
		t.Fatal(err)
	}
	where := map[string]string{"robot-control": "default", "safety-scanner": "factory", "telemetry-upload-deployment": "default", "erp-dashboard": "default"}
	for name, namespace := range where {
		labels := map[string]string{"app": name}
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name}}
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
		d.Spec.Template.Labels, d.Spec.Template.Annotations = labels, map[string]string{"other": "kept"}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
		if _, err := client.AppsV1().Deployments(namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := WriteWorkloads(&out, imported); err != nil {
		t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldManager: "kubectl"}
	for _, text := range bytes.Split(out.Bytes(), []byte("---\n"))[1:] {
		var object struct {
			Kind     string
			Metadata metav1.ObjectMeta
		}
		body, err := yaml.YAMLToJSON(text)
		if err == nil {
			err = yaml.Unmarshal(body, &object)
		}
		switch {
		case err != nil:
		case object.Kind == "Namespace":
			_, err = client.CoreV1().Namespaces().Patch(t.Context(), object.Metadata.Name, types.ApplyPatchType, body, options)
		default:
			_, err = client.AppsV1().Deployments(object.Metadata.Namespace).Patch(t.Context(), object.Metadata.Name, types.ApplyPatchType, body, options)
		}
		if err != nil {
			t.Errorf("apply:\n%s%v", text, err)
		}
	}
	want := map[string]string{"other": "kept", workload.AnnotationMaxJitter: "2ms", workload.AnnotationProbe: "tcp:5202"}
	d, err := client.AppsV1().Deployments("factory").Get(t.Context(), "safety-scanner", metav1.GetOptions{})
	if err != nil || d.Spec.Template.Labels[workload.LabelPriority] != workload.ClassCritical || d.Spec.Template.Labels["app"] == "" || !maps.Equal(d.Spec.Template.Annotations, want) {
		t.Errorf("template %+v, %v", d.Spec.Template.ObjectMeta, err)
	}
	for _, name := range []string{"default", "factory"} {
		ns, err := client.CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || ns.Labels[workload.LabelAllowCritical] != "true" {
			t.Errorf("namespace %s: %v, %v", name, ns.Labels, err)
		}
	}
}
