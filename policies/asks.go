package policies

import (
	"errors"
	"fmt"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Problem is an annotation that could not be read. The pod is admitted
// without it, with the default in its place.
type Problem struct {
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
	{"minBandwidth", workload.MinBandwidth, normalRate},
	{"maxBandwidth", workload.MaxBandwidth, normalRate},
	{"weight", workload.Weight, normalWeight},
	{"initial", workload.InitialBandwidth, normalRate},
	{"egress", workload.EgressBandwidth, normalRate},
	{"ingress", workload.IngressBandwidth, normalRate},
}

// readAsks reads the annotations of the pod and, where it has none that can be
// read, those of its namespace.
func readAsks(pod map[string]any, namespace map[string]string) (asks, []Problem) {
	meta, _ := pod["metadata"].(map[string]any)
	annotations, _ := meta["annotations"].(map[string]any)
	out := asks{}
	var problems []Problem
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
			problems = append(problems, Problem{a.key, fmt.Sprintf("%s annotation %s is ignored: %v", source.where, a.key, err)})
		}
	}
	return out, problems
}

func normalRate(text string) (any, error) {
	r, err := bitrate.Parse(text)
	if err != nil {
		return nil, err
	}
	return r.String(), nil
}

func normalProbe(text string) (any, error) {
	p, err := workload.ParseProbe(text)
	if err != nil {
		return nil, err
	}
	return p.String(), nil
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
	return b.Weight, bare(errs)
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
