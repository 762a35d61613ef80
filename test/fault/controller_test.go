// Package fault breaks what detnet stands on, one thing at a time, and expects
// that limits in force stay and that work goes on when it is whole again.
package fault

import (
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// The Secret with the key of the stamps is deleted: it comes back with the key
// that it had, and no pod's stamps stop counting meanwhile. Emptied, it gets
// another key, and what the old one signed counts no more but stays in force.
func TestKeyOfTheStampsIsLost(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	inv := inventory.New(client, "default", workload.Enforce)
	keys := &signature.Secret{Client: client, Namespace: "default", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), OnChange: inv.SetKeys}
	go func() { _ = keys.Start(t.Context()) }()
	go func() { _ = inv.Start(t.Context()) }()
	await.Until(t, "the missing Secret is made", func() bool { return keys.Keys().CanSign() })
	first := keys.Keys().Current

	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "upload", Labels: map[string]string{workload.LabelClass: "best-effort"},
		Annotations: map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "12M"},
	}}
	pod.Annotations[workload.AnnotationSignature] = signature.Sign(first, "default", pod.Labels, pod.Annotations)
	pod.Spec = corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	throttled := func() bool { return len(inv.Snapshot().Senders) == 1 }
	await.Until(t, "the pod is throttled", throttled)

	secrets := client.CoreV1().Secrets("default")
	if err := secrets.Delete(t.Context(), signature.SecretName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "the deleted Secret is back", func() bool {
		if !throttled() {
			t.Fatal("the pod's stamps stopped counting with the Secret")
		}
		_, err := secrets.Get(t.Context(), signature.SecretName, metav1.GetOptions{})
		return err == nil
	})
	if string(keys.Keys().Current) != string(first) {
		t.Error("the Secret came back with another key")
	}

	empty, err := secrets.Get(t.Context(), signature.SecretName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	empty.Data = nil
	if _, err := secrets.Update(t.Context(), empty, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	await.Until(t, "another key is in force", func() bool { return string(keys.Keys().Current) != string(first) && !throttled() })
	got, err := client.CoreV1().Pods("default").Get(t.Context(), "upload", metav1.GetOptions{})
	if err != nil || got.Annotations[workload.AnnotationEgressBandwidth] != "12M" {
		t.Errorf("the limit in force went to %q, %v; want 12M", got.Annotations[workload.AnnotationEgressBandwidth], err)
	}
}
