package attack

import (
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// account asks the API server's own authorizer, with the chart's RBAC in force.
func (w *policed) account() {
	w.applyRBAC()
	may := func(account, verb, resource string) bool {
		review, err := w.admin.AuthorizationV1().SubjectAccessReviews().Create(w.t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "system:serviceaccount:detnet:" + account, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:detnet", "system:authenticated"},
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "tenant", Verb: verb, Group: "cilium.io", Resource: resource},
			},
		}, metav1.CreateOptions{})
		w.must(err)
		return review.Status.Allowed
	}
	// The authorizer learns of roles by watching.
	w.eventually("the controller may make policies", func() bool { return may("detnet-controller", "create", "ciliumnetworkpolicies") })
	for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection"} {
		for _, resource := range []string{"ciliumnetworkpolicies", "ciliumclusterwidenetworkpolicies"} {
			if may("detnet-webhook", verb, resource) {
				w.t.Errorf("the webhook may %s %s", verb, resource)
			}
		}
	}
}

// applyRBAC makes the roles and bindings that the chart renders.
func (w *policed) applyRBAC() {
	helm := os.Getenv("HELM")
	if helm == "" {
		helm = "helm"
	}
	if _, err := exec.LookPath(helm); err != nil {
		if os.Getenv("CI") == "true" {
			w.t.Fatal("no helm: in CI set HELM to its path")
		}
		w.t.Skip("no helm: put it on the PATH or set HELM to its path")
	}
	cmd := exec.CommandContext(w.t.Context(), helm, "template", "detnet", "../../charts/detnet", "--namespace", "detnet")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	rendered, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("render the chart: %v: %s", err, stderr.Bytes())
	}
	rbac, made := w.admin.RbacV1(), 0
	for document := range strings.SplitSeq(string(rendered), "\n---\n") {
		var kind metav1.TypeMeta
		w.must(yaml.Unmarshal([]byte(document), &kind))
		var err error
		switch kind.Kind {
		case "ClusterRole":
			_, err = rbac.ClusterRoles().Create(w.t.Context(), decode[rbacv1.ClusterRole](w, document), metav1.CreateOptions{})
		case "ClusterRoleBinding":
			_, err = rbac.ClusterRoleBindings().Create(w.t.Context(), decode[rbacv1.ClusterRoleBinding](w, document), metav1.CreateOptions{})
		case "Role":
			o := decode[rbacv1.Role](w, document)
			_, err = rbac.Roles(cmp.Or(o.Namespace, "detnet")).Create(w.t.Context(), o, metav1.CreateOptions{})
		case "RoleBinding":
			o := decode[rbacv1.RoleBinding](w, document)
			_, err = rbac.RoleBindings(cmp.Or(o.Namespace, "detnet")).Create(w.t.Context(), o, metav1.CreateOptions{})
		default:
			continue
		}
		w.must(err)
		made++
	}
	if made == 0 {
		w.t.Fatal("the chart renders no roles")
	}
}

func decode[T any](w *policed, document string) *T {
	object := new(T)
	w.must(yaml.Unmarshal([]byte(document), object))
	return object
}
