package webhook

import (
	"fmt"
	"strconv"
	"strings"

	admissionregv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload"
)

// guardName is the name of the policy and of its binding.
const guardName = "detnet-guard"

// GuardPolicy is the guard in CEL: the API server evaluates it itself
// (Kubernetes 1.30, KEP-3488). The chart renders the same objects; a golden
// file keeps the two together.
func GuardPolicy(t Trusted) (*admissionregv1.ValidatingAdmissionPolicy, *admissionregv1.ValidatingAdmissionPolicyBinding) {
	ignore, forbidden := admissionregv1.Ignore, metav1.StatusReasonForbidden
	policy := &admissionregv1.ValidatingAdmissionPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicy"},
		ObjectMeta: metav1.ObjectMeta{Name: guardName},
		Spec: admissionregv1.ValidatingAdmissionPolicySpec{
			FailurePolicy: &ignore,
			MatchConstraints: &admissionregv1.MatchResources{ResourceRules: []admissionregv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionregv1.RuleWithOperations{
					Operations: []admissionregv1.OperationType{admissionregv1.Update},
					// Labels and annotations can be written through pods/status too.
					Rule: admissionregv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods", "pods/status"}},
				},
			}}},
			MatchConditions: GuardConditions(t),
			// Asked only where something changed: kubelet updates every pod's status.
			Variables: []admissionregv1.Variable{MayChangeStamps()},
			Validations: []admissionregv1.Validation{
				{Expression: unchanged("labels", guardedLabels), Message: t.refusal("its labels"), Reason: &forbidden},
				{Expression: unchanged("annotations", workload.ManagedAnnotations), Message: t.refusal("its annotations"), Reason: &forbidden},
			},
		},
	}
	return policy, denyingBy(guardName)
}

// GuardBindings is the guard of the other way to change a pod: who binds it to a
// node, as schedulers do, also gives it labels and annotations. A Binding does not
// say what the pod has, so it brings none of the managed keys.
func GuardBindings(t Trusted) (*admissionregv1.ValidatingAdmissionPolicy, *admissionregv1.ValidatingAdmissionPolicyBinding) {
	const name = guardName + "-bindings"
	policy, _ := GuardPolicy(t)
	policy.Name = name
	rule := &policy.Spec.MatchConstraints.ResourceRules[0]
	rule.Operations, rule.Resources = []admissionregv1.OperationType{admissionregv1.Create}, []string{"pods/binding", "bindings"}
	policy.Spec.MatchConditions = trustedConditions(t)
	policy.Spec.Validations[0].Expression = absent("labels", guardedLabels)
	policy.Spec.Validations[1].Expression = absent("annotations", workload.ManagedAnnotations)
	return policy, denyingBy(name)
}

func denyingBy(policy string) *admissionregv1.ValidatingAdmissionPolicyBinding {
	return &admissionregv1.ValidatingAdmissionPolicyBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicyBinding"},
		ObjectMeta: metav1.ObjectMeta{Name: policy},
		Spec: admissionregv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: policy, ValidationActions: []admissionregv1.ValidationAction{admissionregv1.Deny},
		},
	}
}

func MayChangeStamps() admissionregv1.Variable {
	return admissionregv1.Variable{
		Name:       "trusted",
		Expression: fmt.Sprintf("authorizer.group('').resource('pods').subresource('%s').check('%s').allowed()", trustSubresource, trustVerb),
	}
}

// GuardConditions keep pods without a class and the updates of the trusted away
// from the guard, as matchConditions of either form of it.
func GuardConditions(t Trusted) []admissionregv1.MatchCondition {
	class := strconv.Quote(workload.LabelClass)
	return append([]admissionregv1.MatchCondition{{
		Name:       "has-a-class",
		Expression: fmt.Sprintf("object.metadata.?labels[?%s].hasValue() || oldObject.metadata.?labels[?%s].hasValue()", class, class),
	}}, trustedConditions(t)...)
}

func trustedConditions(t Trusted) []admissionregv1.MatchCondition {
	conditions := []admissionregv1.MatchCondition{{
		Name:       "not-trusted-user",
		Expression: fmt.Sprintf("!(request.userInfo.username in %s)", celList(t.Users)),
	}}
	if len(t.Groups) > 0 {
		conditions = append(conditions, admissionregv1.MatchCondition{
			Name:       "not-trusted-group",
			Expression: fmt.Sprintf("!request.userInfo.groups.exists(g, g in %s)", celList(t.Groups)),
		})
	}
	return conditions
}

// unchanged is true where none of the keys differs between the old and the new
// map of metadata, and for who is trusted.
func unchanged(field string, keys []string) string {
	at := func(object string) string { return fmt.Sprintf("%s.metadata.?%s[?k]", object, field) }
	return fmt.Sprintf("%s.all(k, %s == %s) || variables.trusted", celList(keys), at("object"), at("oldObject"))
}

// absent is true where the map of metadata has none of the keys, and for who is
// trusted.
func absent(field string, keys []string) string {
	return fmt.Sprintf("%s.all(k, !object.metadata.?%s[?k].hasValue()) || variables.trusted", celList(keys), field)
}

func celList(items []string) string {
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = strconv.Quote(item)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}
