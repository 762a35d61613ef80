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
		{[]string{"restore", "-n", "kube-system"}, "nothing is left to restore\n", "20M"},
		{[]string{"restore", "-o", "json"}, `{"from":"20M","object":"pod default/telemetry","to":"100M"}` + "\n", "100M"},
		{[]string{"restore"}, "nothing is left to restore\n", "100M"},
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
	for _, step := range []struct{ flag, namespace, says string }{
		{"--namespace", "elsewhere", "restore --namespace elsewhere: there is no such namespace, and nothing was restored: want one of default, kube-node-lease, kube-public, kube-system"},
		{"--secrets-of", "elsewhere", "restore --secrets-of elsewhere: there is no such namespace, and nothing was restored: no namespace has Secrets with detnet's keys; a namespace that was deleted took its Secrets with it: leave the flag out then"},
		{"--secrets-of", "default", "--secrets-of default: no Secret with detnet's keys was there"},
	} {
		out, err := runRoot("restore", step.flag, step.namespace)
		if err != nil {
			out = err.Error()
		}
		if !strings.Contains(out, step.says) || step.namespace == "elsewhere" != (exitCode(err) == program.Misuse) {
			t.Errorf("%s %s: %q, %v; want %q", step.flag, step.namespace, out, err, step.says)
		}
	}
	secrets := kubernetes.NewForConfigOrDie(env.Config).CoreV1().Secrets("kube-public")
	for _, name := range []string{"detnet-stamp-key", "detnet-webhook-tls", "another"} {
		if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := runRoot("restore", "--secrets-of", "elsewhere"); err == nil || !strings.Contains(err.Error(), "want one of kube-public, which have Secrets with detnet's keys") {
		t.Errorf("where the Secrets are: %v", err)
	}
	out, err := runRoot("restore", "--secrets-of", "kube-public")
	if want := "nothing is left to restore\nSecret kube-public/detnet-webhook-tls: deleted\nSecret kube-public/detnet-stamp-key: deleted\n"; err != nil || out != want {
		t.Errorf("%q, %v; want %q", out, err, want)
	}
	if list, err := secrets.List(t.Context(), metav1.ListOptions{}); err != nil || len(list.Items) != 1 {
		t.Errorf("%d Secrets are left, %v", len(list.Items), err)
	}
}
