package policies

import (
	"errors"
	"fmt"
	"strconv"

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
}

var askable = []ask{
	{"maxJitter", workload.MaxJitter, normalJitter},
	{"maxLatency", workload.MaxLatency, normalLatency},
	{"maxLoss", workload.MaxLoss, normalLoss},
	{"probe", workload.ProbeWith, normalProbe},
	{"query", workload.PromQL, normalQuery},
	{"dscp", workload.ProbeDSCP, normalDSCP},
	{"minBandwidth", workload.MinBandwidth, normalRate},
	{"maxBandwidth", workload.MaxBandwidth, normalRate},
	{"weight", workload.Weight, normalWeight},
	{"initial", workload.InitialBandwidth, normalRate},
	{"egress", workload.EgressBandwidth, normalRate},
	{"ingress", workload.IngressBandwidth, normalRate},
}

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
			value, err := a.normal(source.text)
			if err == nil {
				out[a.name] = value
				break
			}
			problems = append(problems, problem{a.key, fmt.Sprintf("%s annotation %s is ignored: %v", source.where, a.key, err)})
		}
	}
	return out, problems
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

// shortfalls says where a throttleable pod asked for more than it gets.
func (a asks) shortfalls(d Decision) []string {
	b := d.Bandwidth
	if b.Initial == 0 {
		return nil
	}
	var out []string
	for _, s := range []struct {
		key   string
		short bool
		got   string
	}{
		{workload.MinBandwidth, a.rate("minBandwidth") > b.Min, b.Min.String()},
		{workload.MaxBandwidth, a.rate("maxBandwidth") > b.Max, b.Max.String()},
		{workload.Weight, a.weight() > b.Weight, strconv.Itoa(b.Weight)},
	} {
		if s.short {
			out = append(out, fmt.Sprintf("annotation %s asks for more than class %s allows; the pod gets %s", s.key, d.Class, s.got))
		}
	}
	return out
}

func normalRate(text string) (any, error) {
	r, err := bitrate.Parse(text)
	if err != nil {
		return nil, err
	}
	return int64(r), nil
}

func normalProbe(text string) (any, error) {
	p, err := workload.ParseProbe(text)
	if err != nil {
		return nil, err
	}
	return p.String(), nil
}

func normalQuery(text string) (any, error) {
	q, err := workload.ParseQuery(text)
	return q.Text, err
}

func normalDSCP(text string) (any, error) {
	d, err := workload.ParseDSCP(text)
	return d.String(), err
}

func normalJitter(text string) (any, error) {
	slo, errs := workload.ParseSLO(map[string]string{workload.MaxJitter: text})
	return slo.Jitter.String(), bare(errs)
}

func normalLatency(text string) (any, error) {
	slo, errs := workload.ParseSLO(map[string]string{workload.MaxLatency: text})
	return slo.Latency.String(), bare(errs)
}

func normalLoss(text string) (any, error) {
	_, errs := workload.ParseSLO(map[string]string{workload.MaxLoss: text})
	return text, bare(errs)
}

func normalWeight(text string) (any, error) {
	b, errs := workload.ParseBounds(map[string]string{workload.Weight: text})
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
