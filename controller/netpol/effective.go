package netpol

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/detnet/detnet/workload/ask"
)

// Effective is what becomes of the policies that were decided for pods with these
// labels, all of one namespace, beside the policies of others: NetworkPolicies,
// CiliumNetworkPolicies and CiliumClusterwideNetworkPolicies. It is what the
// Keeper does, without a cluster. Its error names a policy that can't be read.
func Effective(namespace string, pods []map[string]string, decided []ask.Policy, others []*unstructured.Unstructured) ([]ask.Policy, error) {
	s := &scene{name: namespace}
	for i, labels := range pods {
		s.pods = append(s.pods, &pod{metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint(i), Labels: labels}})
	}
	for _, o := range others {
		read := ofCilium
		if o.GetKind() == "NetworkPolicy" {
			read = ofKubernetes
		}
		s.others = append(s.others, read(o))
	}
	want := map[string]*wanted{}
	if err := collect(want, nil, decided); err != nil {
		return nil, fmt.Errorf("read the policies that were decided: %w", err)
	}
	var out []ask.Policy
	for _, m := range s.decide(want, false, false).put {
		for _, r := range m.rules {
			out = append(out, ask.Policy{Name: m.name, Yields: m.yields, Spec: []byte(r.text())})
		}
	}
	return out, nil
}
