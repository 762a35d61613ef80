package webhook_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/webhook"
	"github.com/detnet/detnet/workload"
)

var update = flag.Bool("update", false, "rewrite golden files")

var trusted = webhook.Trusted{
	Users:  []string{"system:serviceaccount:detnet:detnet-controller"},
	Groups: []string{"system:masters", "detnet:admins"},
}

// The chart renders the guard; this file is what it has to agree with.
func TestGuardPolicyGolden(t *testing.T) {
	policy, binding := webhook.GuardPolicy(trusted)
	bindings, itsBinding := webhook.GuardBindings(trusted)
	var out []byte
	for _, object := range []any{policy, binding, bindings, itsBinding} {
		doc, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out = append(append(out, "---\n"...), doc...)
	}
	const golden = "testdata/guard.yaml"
	if *update {
		if err := os.WriteFile(golden, out, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(out)); diff != "" {
		t.Errorf("%s (-want +got), rewrite with -update:\n%s", golden, diff)
	}
}

// as returns a client that acts as somebody else.
func (c *testCluster) as(t *testing.T, user string, groups ...string) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: groups}
	out, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// grant gives subject the rules in all namespaces.
func (c *testCluster) grant(t *testing.T, name string, subject rbacv1.Subject, rules ...rbacv1.PolicyRule) {
	t.Helper()
	for _, object := range []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{subject},
		},
	} {
		if err := c.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// The same rule as a webhook and as CEL, on the API server.
func TestGuard(t *testing.T) {
	c := needCluster(t)
	ns := c.namespace(t)
	c.grant(t, "tenants", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "system:authenticated"},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "pods/status"}, Verbs: []string{"*"}})
	// As kubeadm's administrators, whoever's group is in no list, and one who was
	// given the permission by its name.
	c.grant(t, "administrators", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "kubeadm:cluster-admins"},
		rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}})
	c.grant(t, "detnet-admin", rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "operator"},
		rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods/detnet"}, Verbs: []string{"update"}})
	// All rights in one's own namespace are not enough.
	if err := c.client.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "owner"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "administrators"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: "owner"}},
	}); err != nil {
		t.Fatal(err)
	}
	pod := newPod(ns, bestEffort(), nil)
	c.create(t, pod)
	patch := func(by client.Client, body string, opts ...client.SubResourcePatchOption) error {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: pod.Name}}
		if len(opts) > 0 {
			return by.SubResource("status").Patch(t.Context(), p, client.RawPatch("application/merge-patch+json", []byte(body)), opts...)
		}
		return by.Patch(t.Context(), p, client.RawPatch("application/merge-patch+json", []byte(body)), client.DryRunAll)
	}
	annotate := func(key, value string) string {
		return `{"metadata":{"annotations":{"` + key + `":` + value + `}}}`
	}
	free := newPod(ns, nil, nil)
	c.create(t, free)
	tenant := c.as(t, "tenant", "system:authenticated")
	// The authorizer learns of roles by watching: until then all is refused, and not by the guard.
	eventually(t, func() bool { return patch(tenant, annotate(workload.AnnotationEgressBandwidth, `"1G"`)) == nil })
	for _, form := range []string{"policy", "webhook"} {
		remove := c.installGuard(t, form)
		eventually(t, func() bool { return patch(tenant, annotate(workload.AnnotationEgressBandwidth, `"1G"`)) != nil })
		refused := map[string]error{
			"throttle lifted":  patch(tenant, annotate(workload.AnnotationEgressBandwidth, `"1G"`)),
			"throttle removed": patch(tenant, annotate(workload.AnnotationEgressBandwidth, `null`)),
			"floor raised":     patch(tenant, annotate(workload.AnnotationMinBandwidth, `"1G"`)),
			"key added":        patch(tenant, annotate(workload.AnnotationMaxJitter, `"1ms"`)),
			"class changed":    patch(tenant, `{"metadata":{"labels":{"detnet.dev/class":"critical"}}}`),
			"by the owner":     patch(c.as(t, "owner", "system:authenticated"), annotate(workload.AnnotationEgressBandwidth, `"1G"`)),
			"through status":   patch(tenant, annotate(workload.AnnotationEgressBandwidth, `"1G"`), &client.SubResourcePatchOptions{}),
		}
		for name, err := range refused {
			if err == nil || !strings.Contains(err.Error(), "only detnet's controller") || !strings.Contains(err.Error(), "--clusterrole=detnet-admin") || !strings.Contains(err.Error(), "guard.trustedGroups") {
				t.Errorf("%s: %s: error %v", form, name, err)
			}
		}
		accepted := map[string]func() error{
			"another annotation": func() error { return patch(tenant, annotate("team", `"x"`)) },
			"another label":      func() error { return patch(tenant, `{"metadata":{"labels":{"app":"y"}}}`) },
			"the controller": func() error {
				return patch(c.as(t, trusted.Users[0], "system:authenticated"), annotate(workload.AnnotationEgressBandwidth, `"20M"`))
			},
			"kubeadm's admin": func() error {
				return patch(c.as(t, "kubernetes-admin", "kubeadm:cluster-admins", "system:authenticated"), annotate(workload.AnnotationEgressBandwidth, `"500M"`))
			},
			"by permission": func() error {
				return patch(c.as(t, "operator", "system:authenticated"), annotate(workload.AnnotationEgressBandwidth, `"500M"`))
			},
			"an administrator": func() error {
				return patch(c.as(t, "root", "system:authenticated", "detnet:admins"), annotate(workload.AnnotationEgressBandwidth, `"20M"`))
			},
		}
		accepted["a pod without a class"] = func() error {
			return tenant.Patch(t.Context(), free.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(annotate(workload.AnnotationEgressBandwidth, `"1G"`))), client.DryRunAll)
		}
		if err := tenant.Patch(t.Context(), free.DeepCopy(), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"detnet.dev/class":"critical"}}}`))); err == nil {
			t.Errorf("%s: a pod without a class took one", form)
		}
		for name, try := range accepted { // the guard asks the authorizer, which learns of each role in its own time
			await.Success(t, form+": "+name, try)
		}
		remove()
		eventually(t, func() bool { return patch(tenant, annotate(workload.AnnotationEgressBandwidth, `"1G"`)) == nil })
	}
}
