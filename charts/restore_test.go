package charts

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/restore"
)

// Behind the chart's guard an administrator as kubeadm makes one, who is in none of the
// groups that a value names, puts limits back; a tenant who may do with pods what the
// role edit may does not, whatever their namespace grants.
func TestWhoMayRestore(t *testing.T) {
	i := newInstallation(t)
	i.helm("install", "detnet", "detnet")
	group := func(name string) []rbacv1.Subject {
		return []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "Group", Name: name}}
	}
	i.create(
		// As kubeadm makes it since 1.29.
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "kubeadm:cluster-admins"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"}, Subjects: group("kubeadm:cluster-admins")},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "tenant"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods", "pods/detnet"}, Verbs: []string{"*"}},
			{APIGroups: []string{"apps"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "tenant"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "tenant"}, Subjects: group("tenants")},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "upload", Labels: map[string]string{"detnet.dev/class": "best-effort"}, Annotations: map[string]string{"detnet.dev/initial-bandwidth": "100M", "kubernetes.io/egress-bandwidth": "20M"}},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		},
	)
	putBack := func(groups ...string) error {
		t.Helper()
		as := rest.CopyConfig(i.cfg)
		as.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: append(groups, "system:authenticated")}
		changes, err := restore.Find(t.Context(), kubernetes.NewForConfigOrDie(as), "default")
		if err != nil || len(changes) != 1 {
			t.Fatalf("%d changes, %v", len(changes), err)
		}
		return restore.Apply(t.Context(), changes, func(restore.Change) {})
	}
	limit := func() string {
		var pod corev1.Pod
		if err := i.c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "upload"}, &pod); err != nil {
			t.Fatal(err)
		}
		return pod.Annotations["kubernetes.io/egress-bandwidth"]
	}
	await.Until(t, "the guard is in force", func() bool {
		as := rest.CopyConfig(i.cfg)
		as.Impersonate = rest.ImpersonationConfig{UserName: "somebody", Groups: []string{"tenants", "system:authenticated"}}
		_, err := kubernetes.NewForConfigOrDie(as).CoreV1().Pods("default").Patch(t.Context(), "upload", "application/merge-patch+json",
			[]byte(`{"metadata":{"annotations":{"kubernetes.io/egress-bandwidth":"500M"}}}`), metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		return apierrors.IsForbidden(err)
	})
	if err := putBack("tenants"); err == nil || limit() != "20M" {
		t.Errorf("a tenant: %v, limit %s", err, limit())
	}
	if err := putBack("kubeadm:cluster-admins"); err != nil || limit() != "100M" {
		t.Errorf("an administrator: %v, limit %s", err, limit())
	}
}
