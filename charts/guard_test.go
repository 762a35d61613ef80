package charts

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/internal/await"
)

// Nobody lifts their throttle through any of the ways in which the API server lets a
// pod be changed, though they may do with pods and all their subresources whatever they
// like: a Binding's labels and annotations end up on the pod, for one.
func TestGuardOfEverySubresource(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", "detnet", "detnet")
	i.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tenant"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "pods/status", "pods/binding", "pods/ephemeralcontainers", "pods/resize", "bindings"}, Verbs: []string{"*"}},
		}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tenant"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"}, Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "tenant"}}},
	)
	as := rest.CopyConfig(i.cfg)
	as.Impersonate = rest.ImpersonationConfig{UserName: "tenant", Groups: []string{"system:authenticated"}}
	tenant := kubernetes.NewForConfigOrDie(as).CoreV1().Pods("default")
	begin := func() {
		t.Helper()
		i.create(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "default", Name: "upload", Labels: map[string]string{"detnet.dev/class": "best-effort"},
				Annotations: map[string]string{"detnet.dev/initial-bandwidth": "100M", "kubernetes.io/egress-bandwidth": "20M"},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		})
	}
	end := func() {
		t.Helper()
		if err := i.c.Delete(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "upload"}}, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	const merge = `{"metadata":{"labels":{"detnet.dev/class":"critical"},"annotations":{"kubernetes.io/egress-bandwidth":"400G"}}%s}`
	patch := func(rest string, sub ...string) func() error {
		return func() error {
			_, err := tenant.Patch(t.Context(), "upload", types.StrategicMergePatchType, fmt.Appendf(nil, merge, rest), metav1.PatchOptions{}, sub...)
			return err
		}
	}
	bind := func(object metav1.ObjectMeta) func() error {
		object.Name, object.Namespace = "upload", "default"
		return func() error {
			return tenant.Bind(t.Context(), &corev1.Binding{ObjectMeta: object, Target: corev1.ObjectReference{Kind: "Node", Name: "worker-1"}}, metav1.CreateOptions{})
		}
	}
	await.Until(t, "the guard is in force", func() bool {
		_, err := tenant.Patch(t.Context(), "upload", types.StrategicMergePatchType, fmt.Appendf(nil, merge, ""), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err)
	})
	end()
	tries := map[string]func() error{
		"the pod":              patch(""),
		"status":               patch("", "status"),
		"ephemeralcontainers":  patch(`,"spec":{"ephemeralContainers":[{"name":"debug","image":"i"}]}`, "ephemeralcontainers"),
		"resize":               patch(`,"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":"1m"}}}]}`, "resize"),
		"binding, annotations": bind(metav1.ObjectMeta{Annotations: map[string]string{"kubernetes.io/egress-bandwidth": "400G"}}),
		"binding, labels":      bind(metav1.ObjectMeta{Labels: map[string]string{"detnet.dev/class": "critical"}}),
	}
	for name, try := range tries {
		begin()
		err := try()
		var pod corev1.Pod
		if err := i.c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "upload"}, &pod); err != nil {
			t.Fatal(err)
		}
		if limit, class := pod.Annotations["kubernetes.io/egress-bandwidth"], pod.Labels["detnet.dev/class"]; limit != "20M" || class != "best-effort" {
			t.Errorf("%s: class %s and limit %s: %v", name, class, limit, err)
		}
		end()
	}
	begin()
	// Who binds as schedulers do is in nobody's way.
	if err := bind(metav1.ObjectMeta{Annotations: map[string]string{"scheduler.example.com/why": "x"}})(); err != nil {
		t.Errorf("a scheduler: %v", err)
	}
}
