package netpol

import (
	"encoding/json"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// rule is a Cilium rule as JSON has it, with whole numbers as int64.
type rule map[string]any

func readRule(raw []byte) (rule, error) {
	var r rule
	return r, utiljson.Unmarshal(raw, &r)
}

// directions of traffic, as seen by a pod.
type directions struct{ ingress, egress bool }

func (d directions) or(other directions) directions {
	return directions{d.ingress || other.ingress, d.egress || other.egress}
}

// closing is whom a rule selects, and in which directions it restricts them.
type closing struct {
	who *metav1.LabelSelector
	directions
}

// everybody is a selector that selects every pod.
var everybody = &metav1.LabelSelector{}

// unreadable stands for a rule that can't be read: it may close anything.
var unreadable = closing{everybody, directions{true, true}}

// closes says what the rule restricts: what it denies by default, and what it
// allows only under a condition beyond address and port, which a plain rule
// beside it would do away with. A rule for nodes selects no pods. What it denies
// outright needs no care: that comes before everything allowed.
func (r rule) closes() (closing, bool) {
	raw, err := json.Marshal(r)
	if err != nil {
		return unreadable, true
	}
	var fields struct {
		EndpointSelector  *metav1.LabelSelector
		Ingress, Egress   []allowance
		IngressDeny       []any
		EgressDeny        []any
		EnableDefaultDeny struct{ Ingress, Egress *bool }
	}
	if err := json.Unmarshal(raw, &fields); err != nil {
		return unreadable, true
	}
	if fields.EndpointSelector == nil {
		return closing{}, false
	}
	denies := func(said *bool, rules int) bool {
		if said != nil {
			return *said
		}
		return rules > 0
	}
	return closing{fields.EndpointSelector, directions{
		ingress: denies(fields.EnableDefaultDeny.Ingress, len(fields.Ingress)+len(fields.IngressDeny)) || slices.ContainsFunc(fields.Ingress, allowance.conditional),
		egress:  denies(fields.EnableDefaultDeny.Egress, len(fields.Egress)+len(fields.EgressDeny)) || slices.ContainsFunc(fields.Egress, allowance.conditional),
	}}, true
}

// allowance is an entry of ingress or egress.
type allowance struct {
	ToPorts        []map[string]any
	Authentication any
}

// conditional is what depends on more than address and port, such as on HTTP
// paths, names or mutual authentication.
func (a allowance) conditional() bool {
	return a.Authentication != nil || slices.ContainsFunc(a.ToPorts, func(p map[string]any) bool {
		_, ports := p["ports"]
		return len(p) > 1 || len(p) == 1 && !ports
	})
}

// without is the rule that leaves the directions alone: it opens nothing there
// and closes nothing. Nil where nothing is left of it.
func (r rule) without(d directions) rule {
	if d == (directions{}) {
		return r
	}
	out := maps.Clone(r)
	deny, _ := r["enableDefaultDeny"].(map[string]any)
	deny = maps.Clone(deny)
	if deny == nil {
		deny = map[string]any{}
	}
	for _, side := range []struct {
		name  string
		alone bool
	}{{"ingress", d.ingress}, {"egress", d.egress}} {
		if side.alone {
			delete(out, side.name)
			delete(out, side.name+"Deny")
			deny[side.name] = false
		}
	}
	out["enableDefaultDeny"] = deny
	for _, section := range []string{"ingress", "ingressDeny", "egress", "egressDeny"} {
		if list, _ := out[section].([]any); len(list) > 0 {
			return out
		}
	}
	return nil
}
