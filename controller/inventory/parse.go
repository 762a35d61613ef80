package inventory

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/workload"
)

// App is a critical pod that asks for something and can be measured.
type App struct {
	plan.App // without Sessions
	UID      types.UID
	Workload Workload
	IP       string // of the family that Probe asks for
	Probe    workload.Probe
	Query    workload.Query // where Probe is Prometheus
	DSCP     workload.DSCP  // of the probes' packets
	Pinned   []string       // nodes to measure from; nil leaves the choice to placement
	Mode     workload.ControlMode
}

// Workload is what a pod was made from; zero for a pod of its own.
type Workload struct{ Kind, Namespace, Name string }

// workloadOf follows a ReplicaSet's name, "<deployment>-<hash>", to its
// Deployment without asking. A ReplicaSet of its own has pods without the hash.
func workloadOf(pod *slimPod) Workload {
	owner := pod.owner
	if owner.kind == "" {
		return Workload{}
	}
	hash := pod.Labels["pod-template-hash"]
	if name, ok := strings.CutSuffix(owner.name, "-"+hash); ok && owner.kind == "ReplicaSet" && hash != "" && name != "" {
		return Workload{"Deployment", pod.Namespace, name}
	}
	return Workload{owner.kind, pod.Namespace, owner.name}
}

// Sender is a pod whose egress limit may be moved.
type Sender struct {
	plan.Sender           // without Rates
	UID         types.UID // tells a pod from its reborn namesake
	Workload    Workload
	Initial     bitrate.Rate // limit given at admission
	// Of a pod whose floor is above that of its class: the floor that admission gave, and
	// the class's. Min lies between them where pods share what the namespace is granted.
	Floor, ClassMin bitrate.Rate
	Annotation      string // the limit as it is written
	// Decided is the decision that Annotation is the record of, zero where
	// somebody else wrote it; Marked: the pod carries workload.AnnotationLimitDecision.
	Decided workload.Order
	Marked  bool
	// Before is what a pod that nobody stamped had for a limit and has to be
	// told with the first write (workload.NoLimit for none); "" if it is on it.
	Before string
	// Restore is the limit to go back to when detnet stops, as it is written:
	// workload.NoLimit for none, "" where the limit was never moved.
	Restore string
	Static  bool // limited by the administrator's word, not by a stamp
	Mode    workload.ControlMode
}

// Bounds of a throttleable pod whose own can't be read: the class defaults
// that ship with detnet.
const (
	defaultMin = 10 * bitrate.Mbit
	defaultMax = bitrate.Gbit
)

// parse reads what the webhook stamped on pod, and signed. It never fails: what
// can't be read is a problem to report, and takes a default that is safe for the
// others. Admission gives targets to protected classes alone, so a pod that has
// any is protected.
func parse(pod *slimPod) meaning {
	if !runs(pod) {
		return meaning{}
	}
	_, throttleable := initial(pod)
	if pod.Labels[workload.LabelClass] == workload.ClassCritical || !throttleable {
		return parseApp(pod)
	}
	return parseSender(pod)
}

func parseApp(pod *slimPod) meaning {
	var p meaning
	slo, errs := workload.ParseSLO(pod.Annotations)
	p.report(errs...)
	if slo.IsZero() || !measurable(pod) {
		return p
	}
	app := &App{UID: pod.UID, Workload: workloadOf(pod)}
	app.Pod = podID(pod)
	app.Node = pod.node
	app.SLO = slo
	app.Rank = p.rank(pod.Annotations)
	app.Probe, app.NodeReflects = p.probe(pod.Annotations)
	if app.Probe.Protocol == workload.Prometheus {
		if app.Query = p.query(pod.Annotations); app.Query.Text == "" {
			app.Probe, app.NodeReflects = fallback, true
		}
	}
	app.IP = p.address(pod, app.Probe.Family)
	app.DSCP = p.dscp(pod.Annotations)
	app.Protocol = app.Probe.Protocol
	for node := range strings.SplitSeq(pod.Annotations[workload.AnnotationProbeFrom], ",") {
		switch node = strings.TrimSpace(node); node {
		case "":
		case app.Node: // what never leaves the node meets no queue, and no node session
			p.report(fmt.Errorf("annotation %s: %s is the pod's own node; it is not measured from there", workload.AnnotationProbeFrom, node))
		default:
			app.Pinned = append(app.Pinned, node)
		}
	}
	p.app = app
	return p
}

// measurable: a pod that is starting, stopping or unready loses probes for
// reasons of its own, which would be read as congestion.
func measurable(pod *slimPod) bool {
	if pod.DeletionTimestamp != nil || pod.phase != corev1.PodRunning || pod.ip == "" {
		return false
	}
	return pod.ready != unready
}

// fallback is the probe where none can be read: the reflector beside the pod
// needs nothing of it.
var fallback = workload.Probe{Protocol: workload.STAMP, Port: workload.STAMPPort}

func (p *meaning) probe(annotations map[string]string) (_ workload.Probe, nodeReflects bool) {
	text, ok := annotations[workload.AnnotationProbe]
	if !ok {
		return fallback, true
	}
	probe, err := workload.ParseProbe(text)
	if err != nil {
		p.report(fmt.Errorf("annotation %s: %w", workload.AnnotationProbe, err))
		return fallback, true
	}
	switch where := cmp.Or(annotations[workload.AnnotationReflector], "pod"); where {
	case "pod":
	case "node":
		return workload.Probe{Protocol: fallback.Protocol, Port: fallback.Port, Family: probe.Family}, true
	default:
		p.report(fmt.Errorf("annotation %s: %q must be pod or node", workload.AnnotationReflector, where))
	}
	return probe, false
}

// address is where a pod is measured: at its primary address, which the API server
// lists first, unless another family is asked for.
func (p *meaning) address(pod *slimPod, family workload.Family) string {
	for _, ip := range []string{pod.ip, pod.ip2} {
		if addr, err := netip.ParseAddr(ip); err == nil && family.Has(addr) {
			return ip
		}
	}
	if family != workload.AnyFamily {
		p.report(fmt.Errorf("annotation %s: the pod has no IPv%d address; it is measured at %s", workload.AnnotationProbe, family, pod.ip))
	}
	return pod.ip
}

// query is what Prometheus is asked; one that can't be read is zero.
func (p *meaning) query(annotations map[string]string) workload.Query {
	q, err := workload.ParseQuery(annotations[workload.AnnotationQuery])
	if err != nil {
		p.report(fmt.Errorf("annotation %s: %w", workload.AnnotationQuery, err))
	}
	return q
}

func (p *meaning) dscp(annotations map[string]string) workload.DSCP {
	text, ok := annotations[workload.AnnotationDSCP]
	if !ok {
		return 0
	}
	d, err := workload.ParseDSCP(text)
	if err != nil {
		p.report(fmt.Errorf("annotation %s: %w", workload.AnnotationDSCP, err))
	}
	return d
}

func parseSender(pod *slimPod) meaning {
	var p meaning
	if pod.hostNetwork {
		p.report(fmt.Errorf("a pod on the host network can't be limited; take it out of its class or off the host network"))
		return p
	}
	s := &Sender{UID: pod.UID, Annotation: pod.Annotations[workload.AnnotationEgressBandwidth], Restore: pod.Annotations[workload.AnnotationInitialBandwidth]}
	s.Pod = podID(pod)
	s.Node = pod.node
	s.Rank = p.rank(pod.Annotations)
	bounds, errs := workload.ParseBounds(pod.Annotations)
	p.report(errs...)
	s.Weight = bounds.Weight
	s.Min, s.Max = withDefaults(bounds.Min, bounds.Max)
	if _, ok := pod.Annotations[workload.AnnotationClassMinBandwidth]; ok {
		s.ClassMin = min(p.rate(pod.Annotations, workload.AnnotationClassMinBandwidth), s.Min)
		s.Floor, s.Min = s.Min, s.ClassMin // until what the namespace is granted is shared out
	}
	first, _ := initial(pod)
	s.Initial = p.rate(map[string]string{workload.AnnotationInitialBandwidth: first}, workload.AnnotationInitialBandwidth)
	if s.Annotation != "" {
		s.Limit = p.rate(pod.Annotations, workload.AnnotationEgressBandwidth)
	}
	s.decided(pod)
	s.Workload = workloadOf(pod)
	p.sender = s
	return p
}

func (s *Sender) decided(pod *slimPod) {
	decision := pod.Annotations[workload.AnnotationLimitDecision]
	s.Marked = decision != ""
	s.Decided, _ = workload.DecidedOrder(decision, s.Annotation)
}

// withDefaults fills what is not given without crossing what is.
func withDefaults(lo, hi bitrate.Rate) (_, _ bitrate.Rate) {
	switch {
	case lo == 0 && hi == 0:
		return defaultMin, defaultMax
	case lo == 0:
		return min(defaultMin, hi), hi
	case hi == 0:
		return lo, max(defaultMax, lo)
	}
	return lo, hi
}

// rate reads a rate annotation; one that can't be read is no limit, which is
// also what the CNI makes of it.
func (p *meaning) rate(annotations map[string]string, key string) bitrate.Rate {
	r, err := bitrate.ParseLimit(annotations[key])
	if err != nil {
		p.report(fmt.Errorf("annotation %s: %w", key, err))
	}
	return r
}

func (p *meaning) rank(annotations map[string]string) int {
	text, ok := annotations[workload.AnnotationRank]
	if !ok {
		return 0
	}
	rank, err := strconv.Atoi(text)
	if err != nil {
		p.report(fmt.Errorf("annotation %s: %q must be a whole number", workload.AnnotationRank, text))
	}
	return rank
}

func (p *meaning) report(errs ...error) {
	for _, err := range errs {
		p.problems = append(p.problems, err.Error())
	}
}

func podID(pod *slimPod) plan.PodID {
	return plan.PodID{Namespace: pod.Namespace, Name: pod.Name}
}
