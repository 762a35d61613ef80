package netpol

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
)

// What the webhook decides for a workload "web" of class critical, by mode.
const (
	allowWeb = `{"endpointSelector":{"matchLabels":{"k8s:app":"web","k8s:detnet.dev/class":"critical"}},
		"enableDefaultDeny":{"ingress":false,"egress":false},
		"ingress":[{"fromEntities":["cluster"],"toPorts":[{"ports":[{"port":"80","protocol":"TCP"}]}]}],"egress":[{"toEntities":["cluster"]}]}`
	strictWeb = `{"endpointSelector":{"matchLabels":{"k8s:app":"web","k8s:detnet.dev/class":"critical"}},
		"enableDefaultDeny":{"ingress":true,"egress":true},
		"ingress":[{"fromEntities":["cluster"],"toPorts":[{"ports":[{"port":"80","protocol":"TCP"}]}]}],"egress":[{"toEntities":["cluster"]}]}`
)

// Policies of others.
const (
	denyAll = `{kind: NetworkPolicy, metadata: {name: deny, namespace: shop}, spec: {podSelector: {}, policyTypes: [Ingress, Egress]}}`
	denyIn  = `{kind: NetworkPolicy, metadata: {name: deny-in, namespace: shop}, spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}}`
	denyDB  = `{kind: NetworkPolicy, metadata: {name: deny-db, namespace: shop}, spec: {podSelector: {matchLabels: {tier: db}}, policyTypes: [Ingress, Egress]}}`
	ciliums = `{kind: CiliumNetworkPolicy, metadata: {name: closed, namespace: shop}, spec: {endpointSelector: {matchLabels: {"k8s:app": web}}, egress: [{}]}}`
	byName  = `{kind: CiliumClusterwideNetworkPolicy, metadata: {name: c}, specs: [{endpointSelector: {matchLabels: {"k8s:io.kubernetes.pod.namespace": shop}}, ingress: [{}]}]}`
	byTeam  = `{kind: CiliumClusterwideNetworkPolicy, metadata: {name: c}, spec: {endpointSelector: {matchExpressions: [{key: "k8s:io.cilium.k8s.namespace.labels.team", operator: In, values: [a, b]}]}, ingress: [{}]}}`
	byOther = `{kind: CiliumClusterwideNetworkPolicy, metadata: {name: c}, spec: {endpointSelector: {matchLabels: {"k8s:io.cilium.k8s.namespace.labels.team": z}}, ingress: [{}]}}`
	ofHosts = `{kind: CiliumClusterwideNetworkPolicy, metadata: {name: c}, spec: {nodeSelector: {}, ingress: [{}]}}`
	watches = `{kind: CiliumClusterwideNetworkPolicy, metadata: {name: c}, spec: {endpointSelector: {}, enableDefaultDeny: {ingress: false, egress: false}, egress: [{toEntities: [all]}], egressDeny: [{toCIDR: [10.0.0.0/8]}]}}`
	byPath  = `{kind: CiliumNetworkPolicy, metadata: {name: l7, namespace: shop}, spec: {endpointSelector: {}, enableDefaultDeny: {ingress: false, egress: false}, ingress: [{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]}]}}`
	later   = `{kind: CiliumNetworkPolicy, metadata: {name: later, namespace: shop}, spec: {endpointSelector: {matchLabels: {a: {not: understood}}}}}`
)

func object(t *testing.T, text string) *policy {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	if u.GetKind() == "NetworkPolicy" {
		return ofKubernetes(u)
	}
	return ofCilium(u)
}

func shop(t *testing.T, others ...string) *scene {
	s := &scene{name: "shop", labels: map[string]string{"team": "a"}, pods: []*pod{
		{metav1.ObjectMeta{Name: "web-0", Namespace: "shop", UID: "1", Labels: map[string]string{"app": "web", workload.LabelClass: "critical"}}},
	}}
	for _, text := range others {
		if p := object(t, text); len(p.closes) > 0 {
			s.others = append(s.others, p)
		}
	}
	return s
}

func wants(t *testing.T, s *scene, policies ...ask.Policy) map[string]*wanted {
	t.Helper()
	want := map[string]*wanted{}
	if err := collect(want, s.pods[0], policies); err != nil {
		t.Fatal(err)
	}
	return want
}

// sections are the directions that are left of a policy's rules.
func sections(p plan) map[string]bool {
	out := map[string]bool{}
	for _, m := range p.put {
		for _, r := range m.rules {
			for _, side := range []string{"ingress", "egress"} {
				if _, ok := r[side]; ok {
					out[side] = true
				}
			}
		}
	}
	return out
}

var both, in, eg, none = map[string]bool{"ingress": true, "egress": true}, map[string]bool{"ingress": true}, map[string]bool{"egress": true}, map[string]bool{}

var modes = map[string]string{"allow": allowWeb, "strict": strictWeb}

// yielding is what is left of the policy of a pod beside those of others.
var yielding = map[string]struct {
	others []string
	left   map[string]bool
}{
	"alone":                        {nil, both},
	"denied by Kubernetes":         {[]string{denyAll}, none},
	"denied at ingress":            {[]string{denyIn}, eg},
	"others are denied":            {[]string{denyDB}, both},
	"denied by Cilium":             {[]string{ciliums}, in},
	"denied by two":                {[]string{denyIn, ciliums}, none},
	"the namespace is denied":      {[]string{byName}, eg},
	"namespaces are, by label":     {[]string{byTeam}, eg},
	"other namespaces are":         {[]string{byOther}, both},
	"hosts are":                    {[]string{ofHosts}, both},
	"watched, and denied outright": {[]string{watches}, both},
	"allowed by path only":         {[]string{byPath}, eg},
	"what can't be read":           {[]string{later}, none},
}

func TestYieldsToWhoRestrictsThePod(t *testing.T) {
	for name, c := range yielding {
		for mode, spec := range modes {
			s := shop(t, c.others...)
			p := s.decide(wants(t, s, ask.Policy{Name: "p", Yields: true, Spec: []byte(spec)}), false, false)
			if diff := cmp.Diff(c.left, sections(p)); diff != "" {
				t.Errorf("%s, %s: (-want +got)\n%s", name, mode, diff)
			}
			if held := len(p.held) == 1 && p.held[0].held == (directions{true, true}); held != (len(c.left) == 0) {
				t.Errorf("%s, %s: held back %+v", name, mode, p.held)
			}
			for _, m := range p.put {
				deny, _ := m.rules[0]["enableDefaultDeny"].(map[string]any)
				for side, denies := range deny {
					if denies.(bool) != (mode == "strict" && c.left[side]) {
						t.Errorf("%s, %s: %s denied by default: %v", name, mode, side, denies)
					}
				}
			}
		}
	}
}

// A policy that selects two pods, one of which is restricted, opens neither.
func TestYieldsForEveryPodThatItSelects(t *testing.T) {
	s := shop(t, denyDB)
	want := wants(t, s, ask.Policy{Name: "p", Yields: true, Spec: []byte(allowWeb)})
	if p := s.decide(want, false, false); len(p.put) != 1 {
		t.Fatalf("%+v, want it made", p)
	}
	s.pods = append(s.pods, &pod{metav1.ObjectMeta{Name: "web-1", Namespace: "shop", Labels: map[string]string{"app": "web", "tier": "db", workload.LabelClass: "critical"}}})
	if p := s.decide(want, false, false); len(p.put) != 0 {
		t.Errorf("%+v, want it held back", p)
	}
}

// engineCase is a question to Cilium's own policy engine, which has a module of its
// own (test/cilium).
type engineCase struct {
	Name          string
	Others        []string
	Decided, Made []rule
}

var update = flag.Bool("update", false, "write the questions to Cilium's engine anew")

func TestQuestionsToCiliumsEngine(t *testing.T) {
	var all []engineCase
	for _, name := range sortedKeys(yielding) {
		for _, mode := range sortedKeys(modes) {
			decided, err := readRule([]byte(modes[mode]))
			if err != nil {
				t.Fatal(err)
			}
			c := engineCase{name + ", " + mode, yielding[name].others, []rule{decided}, nil}
			s := shop(t, c.Others...)
			for _, m := range s.decide(wants(t, s, ask.Policy{Name: "p", Yields: true, Spec: []byte(modes[mode])}), false, false).put {
				c.Made = append(c.Made, m.rules...)
			}
			all = append(all, c)
		}
	}
	raw, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/engine.json"
	if *update {
		if err := os.WriteFile(file, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.TrimSpace(string(want)), string(raw)); diff != "" {
		t.Errorf("what is made has changed: write it with -update, then ask Cilium by make test-cilium-engine\n%s", diff)
	}
}

// The site's own rules are the administrator's: they are made as decided, and
// what they close the class's policy does not open.
func TestSiteRulesDoNotYield(t *testing.T) {
	s := shop(t, denyAll)
	site := ask.Policy{Name: "site", Spec: []byte(allowWeb)}
	if p := s.decide(wants(t, s, site), false, false); len(sections(p)) != 2 {
		t.Errorf("%+v, want it as decided", p)
	}
	s = shop(t)
	site.Spec = []byte(`{"endpointSelector":{"matchLabels":{"k8s:detnet.dev/class":"critical"}},"egress":[{"toCIDR":["10.0.0.0/8"]}]}`)
	p := s.decide(wants(t, s, site, ask.Policy{Name: "z", Yields: true, Spec: []byte(allowWeb)}), false, false)
	if len(p.put) != 2 || p.put[1].held != (directions{egress: true}) {
		t.Errorf("%+v, want the class's policy to leave egress to the site's", p)
	}
}

// Two policies of one name are both in force, whoever comes first.
func TestTwoPoliciesOfOneName(t *testing.T) {
	s := shop(t)
	a, b := ask.Policy{Name: "p", Spec: []byte(allowWeb)}, ask.Policy{Name: "p", Spec: []byte(strictWeb)}
	one, other := s.decide(wants(t, s, a, b, a), false, false), s.decide(wants(t, s, b, a), false, false)
	if len(one.put) != 1 || len(one.put[0].rules) != 2 {
		t.Fatalf("%+v, want both rules", one.put)
	}
	if diff := cmp.Diff(one.put[0].rules, other.put[0].rules); diff != "" {
		t.Errorf("the order matters:\n%s", diff)
	}
}

// made is the policy as it is once it was made.
func made(t *testing.T, name, spec string, yields string) *policy {
	t.Helper()
	r, err := readRule([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	return &policy{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Labels: map[string]string{managedBy: detnet}, Annotations: map[string]string{workload.AnnotationYields: yields}}, rules: []rule{r}}
}

func names(list []*policy) []string {
	var out []string
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

func TestRemoves(t *testing.T) {
	gone := `{"endpointSelector":{"matchLabels":{"k8s:app":"gone"}},"ingress":[{}]}`
	for name, c := range map[string]struct {
		others          []string
		incomplete, off bool
		remove, unused  []string
		put             int
	}{
		"what selects and is not wanted at once, what selects nobody later": {remove: []string{"old", "site-old"}, unused: []string{"gone"}, put: 1},
		"both at once where others restrict anybody":                        {others: []string{denyDB}, remove: []string{"gone", "old", "site-old"}, put: 1},
		"what opens, where what is wanted is not known":                     {others: []string{denyAll}, incomplete: true, remove: []string{"old", "p"}},
		"nothing, where that is not known and nobody restricts":             {incomplete: true, put: 1},
		"everything where the mode is not enforce":                          {off: true, remove: []string{"gone", "old", "p", "site-old"}},
	} {
		s := shop(t, c.others...)
		s.have = []*policy{made(t, "gone", gone, "true"), made(t, "old", allowWeb, "true"), made(t, "p", allowWeb, "true"), made(t, "site-old", allowWeb, "false")}
		p := s.decide(wants(t, s, ask.Policy{Name: "p", Yields: true, Spec: []byte(allowWeb)}), c.incomplete, c.off)
		if diff := cmp.Diff(c.unused, names(p.unused)); diff != "" {
			t.Errorf("%s: unused (-want +got)\n%s", name, diff)
		}
		got := names(p.remove)
		for _, n := range c.remove {
			if !contains(got, n) {
				t.Errorf("%s: %s stays", name, n)
			}
		}
		if len(got) != len(c.remove) || len(p.put) != c.put {
			t.Errorf("%s: removes %v and makes %d, want %v and %d", name, got, len(p.put), c.remove, c.put)
		}
	}
}

func contains(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}

// While the webhook is away a strict policy of which one direction opens
// something leaves that direction alone and keeps the other.
func TestYieldsWithoutAnAnswer(t *testing.T) {
	s := shop(t, denyIn)
	s.have = []*policy{made(t, "p", strictWeb, "true")}
	p := s.decide(nil, true, false)
	if diff := cmp.Diff(map[string]bool{"egress": true}, sections(p)); diff != "" || len(p.remove) != 0 {
		t.Errorf("left (-want +got)\n%s, removed %v", diff, names(p.remove))
	}
}

// Where Cilium denies whatever nothing allows, an allow rule opens; where it
// makes every policy deny the rest, "allow" would deny.
func TestCiliumsOwnDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		cilium ciliumConfig
		mode   string
		made   int
	}{
		"denies always":             {ciliumConfig{always: true}, allowWeb, 0},
		"denies always, strict":     {ciliumConfig{always: true}, strictWeb, 0},
		"no policies without deny":  {ciliumConfig{denies: true}, allowWeb, 0},
		"the same, strict":          {ciliumConfig{denies: true}, strictWeb, 1},
		"as it is out of the boxes": {ciliumConfig{}, allowWeb, 1},
	} {
		s := shop(t)
		s.cilium = c.cilium
		p := s.decide(wants(t, s, ask.Policy{Name: "p", Yields: true, Spec: []byte(c.mode)}), false, false)
		if len(p.put) != c.made {
			t.Errorf("%s: %d made, want %d", name, len(p.put), c.made)
		}
	}
}
