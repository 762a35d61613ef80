package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/program"
	"github.com/detnet/detnet/workload"
)

func TestRestoreCommand(t *testing.T) {
	env := apitest.Start(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", kubeconfig)
	pods := kubernetes.NewForConfigOrDie(env.Config).CoreV1().Pods("default")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "telemetry", Labels: map[string]string{workload.LabelClass: "best-effort"},
		Annotations: map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "20M"},
	}}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		args        []string
		says, limit string
	}{
		{[]string{"restore", "--dry-run"}, "pod default/telemetry: 20M → 100M\n", "20M"},
		{[]string{"restore", "-n", "kube-system"}, "", "20M"},
		{[]string{"restore", "-o", "json"}, `{"from":"20M","object":"pod default/telemetry","to":"100M"}` + "\n", "100M"},
		{[]string{"restore"}, "", "100M"},
	} {
		out, err := runRoot(step.args...)
		if err != nil || out != step.says {
			t.Errorf("detnet %s: %q, %v; want %q", strings.Join(step.args, " "), out, err, step.says)
		}
		got, err := pods.Get(t.Context(), "telemetry", metav1.GetOptions{})
		if err != nil || got.Annotations[workload.AnnotationEgressBandwidth] != step.limit {
			t.Errorf("after detnet %s: %v, %v; want %s", strings.Join(step.args, " "), got.Annotations, err, step.limit)
		}
	}
	if _, err := runRoot("restore", "-o", "xml"); err == nil {
		t.Error("an unknown output is accepted")
	}
	for _, flag := range []string{"--namespace", "--secrets-of"} {
		if _, err := runRoot("restore", flag, "elsewhere"); exitCode(err) != program.Misuse || !strings.Contains(err.Error(), "elsewhere: there is no such namespace") {
			t.Errorf("%s elsewhere: %v", flag, err)
		}
	}
}
