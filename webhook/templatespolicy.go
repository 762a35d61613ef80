package webhook

import (
	"fmt"
	"slices"

	admissionregv1 "k8s.io/api/admissionregistration/v1"

	"github.com/detnet/detnet/workload"
)

// Variables of TemplatesPolicy that the chart sets: what a site's own policy has
// besides the default set.
const (
	siteClasses = "siteClasses"
	siteKeys    = "siteKeys"
)

// templates are the workloads whose pods come from a template of theirs: at
// spec.template but for CronJobs, PodTemplates and JobSets, which have many.
var templates = []struct {
	group     string
	resources []string
}{
	{"apps", []string{"deployments", "statefulsets", "daemonsets", "replicasets"}},
	{"batch", []string{"jobs", "cronjobs"}},
	{"", []string{"replicationcontrollers", "podtemplates"}},
	{"argoproj.io", []string{"rollouts"}},
	{"apps.openshift.io", []string{"deploymentconfigs"}},
	{"serving.knative.dev", []string{"services", "configurations"}},
	{"jobset.x-k8s.io", []string{"jobsets"}},
}

// TemplatesPolicy says, to whoever creates or changes a workload, which key of its
// pods' template looks like detnet's and is none, and which class there is not: at
// the pods, nobody hears it. It is meant for the action Warn. The chart renders it
// from a file that is made of this.
func TemplatesPolicy(classes []string) admissionregv1.ValidatingAdmissionPolicySpec {
	ignore := admissionregv1.Ignore
	spec := admissionregv1.ValidatingAdmissionPolicySpec{
		FailurePolicy:    &ignore,
		MatchConstraints: &admissionregv1.MatchResources{},
		MatchConditions: []admissionregv1.MatchCondition{
			// What a controller made was told to the one who made its owner.
			{Name: "somebody-wrote-it", Expression: "!has(object.metadata.ownerReferences)"},
			{Name: "it-is-new", Expression: `request.operation == "CREATE" || dyn(object).?spec != dyn(oldObject).?spec || dyn(object).?template != dyn(oldObject).?template`},
		},
	}
	for _, t := range templates {
		spec.MatchConstraints.ResourceRules = append(spec.MatchConstraints.ResourceRules, admissionregv1.NamedRuleWithOperations{
			RuleWithOperations: admissionregv1.RuleWithOperations{
				Operations: []admissionregv1.OperationType{admissionregv1.Create, admissionregv1.Update},
				Rule:       admissionregv1.Rule{APIGroups: []string{t.group}, APIVersions: []string{"*"}, Resources: t.resources},
			},
		})
	}
	set := func(name, expression string) {
		spec.Variables = append(spec.Variables, admissionregv1.Variable{Name: name, Expression: expression})
	}
	set(siteClasses, "[]")
	set(siteKeys, "[]")
	set("classes", celList(append([]string{"none"}, slices.Sorted(slices.Values(classes))...))+" + variables."+siteClasses)
	set("knownLabels", celList(workload.PodLabels))
	set("knownAnnotations", celList(workload.PodAnnotations))
	set("templates", "dyn(object).?spec.replicatedJobs.orValue([]).map(j, j.?template.spec.template.metadata.orValue({})) + "+
		"[dyn(object).?spec.jobTemplate.spec.template.metadata.or(dyn(object).?spec.template.metadata).or(dyn(object).?template.metadata).orValue({})]")
	set("classesUnknown", fmt.Sprintf("variables.templates.map(t, t.?labels[?%q].orValue('none')).filter(c, !(c in variables.classes))", workload.LabelPriority))
	for _, of := range []struct{ what, here, elsewhere, advice string }{
		{"label", "knownLabels", "knownAnnotations", "is an annotation, not a label"},
		{"annotation", "knownAnnotations", "knownLabels", "is a label, not an annotation"},
	} {
		unknown := of.what + "sUnknown"
		set(unknown, fmt.Sprintf(`variables.templates.map(t, t.?%ss.orValue({}).filter(k, k.startsWith("detnet.dev/") && !(k in variables.%s) && !(k in variables.siteKeys)))`, of.what, of.here))
		// detnet.dev/ and the letter behind it: CEL can't count typing errors.
		near := `(variables.knownLabels + variables.knownAnnotations).filter(w, w.startsWith(k.substring(0, 12)))`
		spec.Validations = append(spec.Validations, admissionregv1.Validation{
			Expression: fmt.Sprintf("variables.%s.all(keys, keys.size() == 0)", unknown),
			MessageExpression: fmt.Sprintf(`"detnet ignores " + variables.%s.map(keys, keys.map(k, "%s " + k + (k in variables.%s ? ", which %s" : ", which it does not know" + (%s.size() == 0 ? "" : " (it knows " + %s.join(", ") + ")"))).join("; ")).filter(s, s != "").join("; ")`,
				unknown, of.what, of.elsewhere, of.advice, near, near),
			Message: fmt.Sprintf("detnet ignores a %s of the pods that begins with detnet.dev/ and that it does not know", of.what),
		})
	}
	spec.Validations = append(spec.Validations, admissionregv1.Validation{
		Expression:        "variables.classesUnknown.size() == 0",
		MessageExpression: fmt.Sprintf(`"detnet ignores label %s=" + variables.classesUnknown.join(", ") + " of the pods: known classes are " + variables.classes.join(", ")`, workload.LabelPriority),
		Message:           "detnet ignores the priority of the pods: it is no class",
	})
	return spec
}
