package netpol

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/controller/write"
)

// States of a policy in the metric; one may be in several.
const (
	stateMade   = "made"
	stateHeld   = "held_back"
	stateFailed = "failed"
	stateUnseen = "selects_nobody"
)

// figures are the metrics.
type figures struct {
	policies *prometheus.GaugeVec
	deleted  prometheus.Counter
	counts   map[string]map[string]int // by namespace and state
}

func newFigures(reg prometheus.Registerer) figures {
	f := figures{
		policies: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "detnet_network_policies",
			Help: "CiliumNetworkPolicies that pods should have, by what became of them: made, held_back (not made, or not in both directions, because other policies restrict the pods), failed, selects_nobody (Cilium does not know the labels they select by).",
		}, []string{"state"}),
		deleted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "detnet_network_policies_deleted_total",
			Help: "CiliumNetworkPolicies deleted because no pod had needed them for a while, because other policies restrict the pods, or because the namespace is not in mode enforce.",
		}),
		counts: map[string]map[string]int{},
	}
	reg.MustRegister(f.policies, f.deleted)
	f.set("", nil)
	return f
}

// set takes in the counts of a namespace.
func (f figures) set(namespace string, counts map[string]int) {
	f.counts[namespace] = counts
	for _, state := range []string{stateMade, stateHeld, stateFailed, stateUnseen} {
		sum := 0
		for _, c := range f.counts {
			sum += c[state]
		}
		f.policies.WithLabelValues(state).Set(float64(sum))
	}
}

func (f figures) forget(namespace string) {
	f.set(namespace, nil)
	delete(f.counts, namespace)
}

// told says what there is to say of a namespace, each thing once for as long as
// it holds.
type told struct {
	keeper    *Keeper
	namespace string
	counts    map[string]int
	now       map[string]bool
}

func (t *told) count(state string) {
	if t.counts == nil {
		t.counts = map[string]int{}
	}
	t.counts[state]++
}

// once reports whether the text is new.
func (t *told) once(text string) bool {
	if t.now == nil {
		t.now = map[string]bool{}
	}
	known := t.now[text] || t.keeper.said[t.namespace][text]
	t.now[text] = true
	return !known
}

// event puts the text on the pod, if there is one.
func (t *told) event(p *pod, kind, reason, text string) {
	if p == nil {
		return
	}
	t.keeper.Events.Eventf(p.reference(), nil, kind, reason, "network policy", "%s", write.Note(text))
}

func (t *told) failure(p *pod, err error) {
	if err == nil {
		return
	}
	t.count(stateFailed)
	if _, refused := write.AsRefusal(err); refused {
		return // told by who wrote
	}
	if t.once(err.Error()) {
		t.keeper.Log.Warn("network policy failed", "namespace", t.namespace, "err", err)
		t.event(p, corev1.EventTypeWarning, "NetworkPolicyFailed", err.Error())
	}
}

// held tells what a policy does not do because others restrict the pods.
func (t *told) held(m put, rest bool) {
	if m.held == (directions{}) {
		return
	}
	t.count(stateHeld)
	text := fmt.Sprintf("CiliumNetworkPolicy %s would open what other policies close, and is not made", m.name)
	if rest {
		text = fmt.Sprintf("CiliumNetworkPolicy %s would open what other policies close: it leaves %s to them", m.name, m.held)
	}
	if t.once(text) {
		t.keeper.Log.Info("network policy held back", "namespace", t.namespace, "policy", m.name, "leaves_alone", m.held.String())
		t.event(m.pod, corev1.EventTypeNormal, "NetworkPolicyHeldBack", text)
	}
}

// unseen tells of a policy that selects nobody.
func (t *told) unseen(m put, s *scene) {
	for _, r := range m.rules {
		hidden := s.cilium.hides(r)
		if len(hidden) == 0 {
			continue
		}
		t.count(stateUnseen)
		text := fmt.Sprintf("CiliumNetworkPolicy %s selects nobody: Cilium's setting \"labels\" leaves %s out of pods' identities; add %s to it", m.name, strings.Join(hidden, ", "), "k8s:"+strings.Join(hidden, " k8s:"))
		if t.once(text) {
			t.keeper.Log.Warn("network policy selects nobody", "namespace", t.namespace, "policy", m.name, "labels", hidden)
			t.event(m.pod, corev1.EventTypeWarning, "NetworkPolicySelectsNobody", text)
		}
		return
	}
}

// done keeps what was said.
func (t *told) done(made int) {
	if made > 0 {
		if t.counts == nil {
			t.counts = map[string]int{}
		}
		t.counts[stateMade] = made
	}
	t.keeper.said[t.namespace] = t.now
	t.keeper.figures.set(t.namespace, t.counts)
}
