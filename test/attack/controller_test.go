package attack

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// forgeries are what a tenant may write on a pod while no webhook answers.
func forgeries(key signature.Key) map[string]*corev1.Pod {
	critical := map[string]string{workload.AnnotationMaxJitter: "10us", workload.AnnotationProbe: "udp:5201", workload.AnnotationProbeFrom: "worker-1", workload.AnnotationRank: "1000"}
	limits := map[string]string{workload.AnnotationInitialBandwidth: "400G", workload.AnnotationEgressBandwidth: "400G", workload.AnnotationMinBandwidth: "400G", workload.AnnotationRank: "1000"}
	pod := func(name, class string, annotations map[string]string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: name, Labels: map[string]string{workload.LabelClass: class}, Annotations: map[string]string{}}}
		for k, v := range annotations {
			p.Annotations[k] = v
		}
		p.Spec = corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}}
		return p
	}
	signed := func(p *corev1.Pod, namespace string, key signature.Key) *corev1.Pod {
		p.Annotations[workload.AnnotationSignature] = signature.Sign(key, namespace, p.Labels, p.Annotations)
		return p
	}
	stolen := signed(pod("stolen", "critical", critical), "factory", key)
	grown := signed(pod("grown", "best-effort", map[string]string{workload.AnnotationInitialBandwidth: "100M"}), "tenant", key)
	grown.Annotations[workload.AnnotationMinBandwidth] = "1G"
	return map[string]*corev1.Pod{
		"a class that admission did not give": pod("forged", "critical", critical),
		"a class that nobody knows":           pod("unknown", "emperor", critical),
		"limits of one's own":                 pod("limits", "best-effort", limits),
		"a signature by a key of one's own":   signed(pod("own-key", "critical", critical), "tenant", make(signature.Key, signature.KeyLength)),
		"the signature of another namespace":  stolen,
		"a signature and one key more":        grown,
		"a signature that is none": func() *corev1.Pod {
			p := pod("none", "critical", critical)
			p.Annotations[workload.AnnotationSignature] = ".."
			return p
		}(),
		"the critical class on a throttled pod's": pod("both", "critical", limits),
	}
}

// Nothing that a tenant writes on its pods while the webhook is away makes the
// controller protect or throttle anybody; all of it is found, to be mended.
func TestControllerBelievesNoTenant(t *testing.T) {
	env := apitest.Start(t)
	admin := kubernetes.NewForConfigOrDie(env.Config)
	for _, name := range []string{"tenant", "factory"} {
		if _, err := admin.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	tenant := editor(t, env.Config, admin, "tenant")
	key := signature.Key("0123456789abcdef0123456789abcdef")
	all := forgeries(key)
	for what, pod := range all {
		created, err := tenant.CoreV1().Pods("tenant").Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		created.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}}
		if _, err := admin.CoreV1().Pods("tenant").UpdateStatus(t.Context(), created, metav1.UpdateOptions{}); err != nil { // as the kubelet does
			t.Fatalf("%s: %v", what, err)
		}
	}
	inv := inventory.New(admin, "detnet", workload.Enforce)
	inv.SetKeys(signature.Keys{Current: key})
	go func() { _ = inv.Start(t.Context()) }()
	<-inv.Synced()
	s := inv.Snapshot()
	for what, pod := range all {
		if slices.ContainsFunc(s.Apps, func(a *inventory.App) bool { return a.Pod.Name == pod.Name }) {
			t.Errorf("%s: the pod is protected", what)
		}
		if slices.ContainsFunc(s.Senders, func(x *inventory.Sender) bool { return x.Pod.Name == pod.Name }) {
			t.Errorf("%s: the pod is throttled by its own word", what)
		}
	}
}

// editor is a user who may do with pods of one namespace what the role edit may.
func editor(t *testing.T, cluster *rest.Config, admin kubernetes.Interface, namespace string) kubernetes.Interface {
	t.Helper()
	_, err := admin.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "editor"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"*"}}},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = admin.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "editor"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "editor"},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "tenant"}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	as := rest.CopyConfig(cluster)
	as.Impersonate = rest.ImpersonationConfig{UserName: "tenant", Groups: []string{"system:authenticated"}}
	tenant := kubernetes.NewForConfigOrDie(as)
	await.Success(t, "the tenant may do what its role allows", func() error { // the authorizer learns of roles by watching
		_, err := tenant.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil && !apierrors.IsForbidden(err) {
			t.Fatal(err)
		}
		return err
	})
	return tenant
}
