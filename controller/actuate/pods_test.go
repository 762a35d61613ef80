package actuate_test

import (
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/actuate/actuatetest"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
)

func TestFakeConforms(t *testing.T) {
	actuatetest.Conformance(t, &actuatetest.Fake{})
}

func TestPodsConform(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	actuatetest.Conformance(t, realCluster{actuate.Pods{Writer: write.New(client, nil, nil, slog.New(slog.DiscardHandler))}, client})
}

// realCluster is an API server without kubelets: pods exist, nothing runs.
type realCluster struct {
	actuate.Pods
	client kubernetes.Interface
}

func (c realCluster) Create(t *testing.T, pod plan.PodID, annotations map[string]string) types.UID {
	t.Helper()
	created, err := c.client.CoreV1().Pods(pod.Namespace).Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Annotations: annotations},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create %s: %v", pod, err)
	}
	return created.UID
}

func (c realCluster) Delete(t *testing.T, pod plan.PodID) {
	t.Helper()
	now := int64(0)
	err := c.client.CoreV1().Pods(pod.Namespace).Delete(t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil {
		t.Fatalf("delete %s: %v", pod, err)
	}
}

func (c realCluster) Annotations(t *testing.T, pod plan.PodID) map[string]string {
	t.Helper()
	got, err := c.client.CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatalf("get %s: %v", pod, err)
	}
	return got.Annotations
}
