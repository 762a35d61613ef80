package inventory

import (
	"slices"

	registrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// Unstamped is a pod that admission would be asked about if it were created now,
// and that carries nothing that proves that it was. A new one stands for a pod
// whose labels or annotations have changed.
type Unstamped struct {
	Pod  plan.PodID
	UID  types.UID
	Mode workload.ControlMode
	// Forged: it carries stamps all the same, without a signature that counts.
	// Pods of versions that did not sign are such, too.
	Forged bool
	// Outdated: admission did sign it, with a key that will go.
	Outdated bool
}

// asked is whom the API server asks the webhook about, as its configuration
// says. Match conditions can't be evaluated afterwards, since they may speak of
// who created a pod: where there are any, only pods that wear stamps count.
type asked []entry

type entry struct {
	namespaces, pods labels.Selector
	conditional      bool
}

// askedIn reads a configuration. An entry that can't be read asks about nobody.
func askedIn(c *registrationv1.MutatingWebhookConfiguration) asked {
	var all asked
	for _, w := range c.Webhooks {
		namespaces, err := metav1.LabelSelectorAsSelector(orAll(w.NamespaceSelector))
		if err != nil {
			continue
		}
		pods, err := metav1.LabelSelectorAsSelector(orAll(w.ObjectSelector))
		if err == nil && slices.ContainsFunc(w.Rules, createsPods) {
			all = append(all, entry{namespaces, pods, len(w.MatchConditions) > 0})
		}
	}
	return all
}

// orAll: the API server takes an absent selector for one that selects all.
func orAll(s *metav1.LabelSelector) *metav1.LabelSelector {
	if s == nil {
		return &metav1.LabelSelector{}
	}
	return s
}

func createsPods(r registrationv1.RuleWithOperations) bool {
	has := func(list []string, one string) bool {
		return slices.Contains(list, one) || slices.Contains(list, "*")
	}
	create := slices.ContainsFunc(r.Operations, func(o registrationv1.OperationType) bool {
		return o == registrationv1.Create || o == registrationv1.OperationAll
	})
	return create && has(r.APIGroups, "") && has(r.APIVersions, "v1") && (has(r.Resources, "pods") || slices.Contains(r.Resources, "*/*"))
}

func (a asked) about(namespace labels.Set, pod *slimPod) bool {
	for _, e := range a {
		if e.namespaces.Matches(namespace) && e.pods.Matches(labels.Set(pod.Labels)) && (!e.conditional || wears(pod)) {
			return true
		}
	}
	return false
}

func (inv *Inventory) setWebhook(_ string, object any) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.asked = nil
	if c, ok := object.(*registrationv1.MutatingWebhookConfiguration); ok {
		inv.asked = askedIn(c)
	}
	inv.again(func(string) bool { return true })
}

// wanting reports that admission should be asked about a pod. A namespace that
// is not known is none that a selector could speak of. It is called with mu held.
func (inv *Inventory) wanting(r *record) bool {
	pod := r.pod
	// One that is to stop may go on for as long as its own grace period says.
	alive := (pod.phase == corev1.PodPending || pod.phase == corev1.PodRunning)
	if !alive || r.settled || (r.err == nil && !inv.keys.Outdated(pod.Annotations) && !inv.due(pod)) {
		return false
	}
	ns, known := inv.namespaces[pod.Namespace]
	return known && inv.asked.about(ns.labels, pod)
}

// due reports that a pod was admitted while detnet only observed, and that it
// enforces now. It is called with mu held.
func (inv *Inventory) due(pod *slimPod) bool {
	return withheld(pod) && inv.modeOf(pod.Namespace) == workload.Enforce
}
