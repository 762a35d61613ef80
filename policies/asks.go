package policies

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// problem is an annotation that could not be read. The pod is admitted
// without it, with the default in its place.
type problem struct {
	Key     string // the annotation
	Message string // for the client: what is wrong and what would be accepted
}

// asks is what people asked for, normalised, by its name in Rego.
type asks map[string]any

// ask reads one annotation. normal returns the value Rego sees.
type ask struct {
	name, key string
	normal    func(text string) (any, error)
	// forPods returns the value where a pod may ask for less than its namespace;
	// nil: for the same.
	forPods func(text string) (any, error)
}

// notAskedOfPods are the fields that a namespace may ask for, and a pod not or
// not in full.
var notAskedOfPods = map[string]func(string) (any, error){
	workload.AnnotationProbeFrom: notForPods,
	workload.AnnotationReflector: podReflector,
}

var askable = func() []ask {
	var out []ask
	for _, f := range textFields {
		_, name, nested := strings.Cut(f.path, ".")
		if !nested {
			name = f.path
		}
		out = append(out, ask{name, f.key, func(text string) (any, error) { return f.normal(text) }, notAskedOfPods[f.key]})
	}
	return append(out,
		ask{"minBandwidth", workload.AnnotationMinBandwidth, normalRate, nil},
		ask{"maxBandwidth", workload.AnnotationMaxBandwidth, normalRate, nil},
		ask{"weight", workload.AnnotationWeight, normalWeight, nil},
		ask{"initial", workload.AnnotationInitialBandwidth, normalRate, nil},
		ask{"egress", workload.AnnotationEgressBandwidth, normalRate, nil},
		ask{"ingress", workload.AnnotationIngressBandwidth, normalRate, nil},
	)
}()

// readAsks reads the annotations of the pod and, where it has none that can be
// read, those of its namespace.
func readAsks(pod Object, namespace map[string]string) (asks, []problem) {
	meta, _ := pod["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	out := asks{}
	var problems []problem
	for _, a := range askable {
		fromPod, onPod := annotations[a.key].(string)
		fromNamespace, onNamespace := namespace[a.key]
		for _, source := range []struct {
			where, text string
			ok          bool
		}{{"pod", fromPod, onPod}, {"namespace", fromNamespace, onNamespace}} {
			if !source.ok {
				continue
			}
			normal := a.normal
			if source.where == "pod" && a.forPods != nil {
				normal = a.forPods
			}
			value, err := normal(source.text)
			if err == nil {
				out[a.name] = value
				break
			}
			if errors.Is(err, errNotForPods) {
				continue // and taken away, unless detnet wrote it
			}
			problems = append(problems, problem{a.key, fmt.Sprintf("%s annotation %s is ignored: %v", source.where, a.key, err)})
		}
	}
	// The pod's own limit says more than the initial one of its namespace.
	if _, ok := annotations[workload.AnnotationInitialBandwidth].(string); !ok && out["egress"] != nil && annotations[workload.AnnotationEgressBandwidth] != nil {
		delete(out, "initial")
	}
	return out, problems
}

// limit is the limit that people gave the pod, 0 if they gave none. Beside an
// initial limit it is one that detnet moved.
func (a asks) limit() bitrate.Rate {
	if a.rate("initial") != 0 {
		return 0
	}
	return a.rate("egress")
}

// lower is the lowest of the rates that are given, 0 if none is.
func lower(rates ...bitrate.Rate) bitrate.Rate {
	var low bitrate.Rate
	for _, r := range rates {
		if r != 0 && (low == 0 || r < low) {
			low = r
		}
	}
	return low
}

func (a asks) text(name string) string {
	s, _ := a[name].(string)
	return s
}

func (a asks) rate(name string) bitrate.Rate {
	r, _ := a[name].(int64)
	return bitrate.Rate(r)
}

func (a asks) weight() int {
	w, _ := a["weight"].(int64)
	return int(w)
}

// shortfalls says where a pod asked for something else than it gets.
func (a asks) shortfalls(d Decision, in Namespace) []string {
	b := d.Bandwidth
	var out []string
	tell := func(key, what, got string) {
		out = append(out, fmt.Sprintf("annotation %s asks for %s; the pod gets %s", key, what, got))
	}
	most := "more than class " + d.Class + " allows"
	if ingress := a.rate("ingress"); b.Ingress != 0 && ingress > b.Ingress {
		tell(workload.AnnotationIngressBandwidth, most, b.Ingress.String())
	}
	if b.Initial == 0 {
		return out
	}
	if a.limit() > b.Max {
		tell(workload.AnnotationEgressBandwidth, most, b.Max.String())
	}
	if a.limit() != 0 && a.limit() == b.Max {
		most = "more than the pod's own limit of " + b.Max.String()
	}
	if a.rate("minBandwidth") > b.Min {
		tell(workload.AnnotationMinBandwidth, cmp.Or(in.ungranted(d), most), b.Min.String())
	}
	if a.rate("maxBandwidth") > b.Max {
		tell(workload.AnnotationMaxBandwidth, most, b.Max.String())
	}
	switch initial := a.rate("initial"); {
	case initial > b.Initial:
		tell(workload.AnnotationInitialBandwidth, most, b.Initial.String())
	case initial != 0 && initial < b.Initial:
		tell(workload.AnnotationInitialBandwidth, "less than the pod's floor", b.Initial.String())
	}
	if a.weight() > b.Weight {
		tell(workload.AnnotationWeight, "more than class "+d.Class+" allows", strconv.Itoa(b.Weight))
	}
	return out
}

// ungranted says that the namespace's grant is what keeps a pod's floor where it is, ""
// if it is not.
func (n Namespace) ungranted(d Decision) string {
	granted, _ := workload.FloorsAtMost(n.Labels)
	class := cmp.Or(d.Bandwidth.ClassMin, d.Bandwidth.Min)
	if d.Bandwidth.Min != class+granted || d.Bandwidth.Min == d.Bandwidth.Max {
		return ""
	}
	has := "no label " + workload.LabelFloorsAtMost
	if granted != 0 {
		has = fmt.Sprintf("the label %s=%v", workload.LabelFloorsAtMost, granted)
	}
	return fmt.Sprintf("a floor above that of class %s (%v), for which namespace %s has %s", d.Class, class, n.Name, has)
}

func normalRate(text string) (any, error) {
	r, err := bitrate.ParseLimit(text)
	if err != nil {
		return nil, err
	}
	return int64(r), nil
}

func normalProbe(text string) (string, error) {
	p, err := workload.ParseProbe(text)
	if err != nil {
		return "", err
	}
	return p.String(), nil
}

func normalQuery(text string) (string, error) {
	q, err := workload.ParseQuery(text)
	return q.Text, err
}

func normalDSCP(text string) (string, error) {
	d, err := workload.ParseDSCP(text)
	return d.String(), err
}

func normalJitter(text string) (string, error) {
	slo, errs := workload.ParseSLO(map[string]string{workload.AnnotationMaxJitter: text})
	return slo.Jitter.String(), bare(errs)
}

func normalLatency(text string) (string, error) {
	slo, errs := workload.ParseSLO(map[string]string{workload.AnnotationMaxLatency: text})
	return slo.Latency.String(), bare(errs)
}

func normalLoss(text string) (string, error) {
	_, errs := workload.ParseSLO(map[string]string{workload.AnnotationMaxLoss: text})
	return text, bare(errs)
}

var errNotForPods = errors.New("a namespace or the policy says so, and not the pod")

func notForPods(string) (any, error) { return nil, errNotForPods }

// podReflector lets a pod hand the answering over to detnet's agent, which is
// what it gets if it asks for nothing.
func podReflector(text string) (any, error) {
	if text != workload.ReflectorNode {
		return nil, errNotForPods
	}
	return text, nil
}

func normalWeight(text string) (any, error) {
	b, errs := workload.ParseBounds(map[string]string{workload.AnnotationWeight: text})
	return int64(b.Weight), bare(errs)
}

// bare is the first error without the annotation's name, which the caller
// knows better.
func bare(errs []error) error {
	if len(errs) == 0 {
		return nil
	}
	if inner := errors.Unwrap(errs[0]); inner != nil {
		return inner
	}
	return errs[0]
}
