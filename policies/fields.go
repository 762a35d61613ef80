package policies

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// textField is a text of the decision that has an annotation of its own: what a
// protected pod is measured by, and against.
type textField struct {
	path, key string // in Rego and on the pod
	of        func(*Decision) *string
	read      func(ast.Value) (string, error) // takes a policy's value
	// normal has one text for equal values; its error says what is accepted.
	normal func(string) (string, error)
}

// rateField is a rate of the decision that has an annotation of its own.
type rateField struct {
	path, key string
	of        func(*Decision) *bitrate.Rate
}

// The tables of both. Decoding, checking, stamping and what a site's rules may
// set follow from them; workload.Managed says who may write the keys, askable
// what people may ask for by them.
var (
	textFields = []textField{
		{"slo.maxJitter", workload.AnnotationMaxJitter, func(d *Decision) *string { return &d.SLO.MaxJitter }, text, normalJitter},
		{"slo.maxLatency", workload.AnnotationMaxLatency, func(d *Decision) *string { return &d.SLO.MaxLatency }, text, normalLatency},
		{"slo.maxLoss", workload.AnnotationMaxLoss, func(d *Decision) *string { return &d.SLO.MaxLoss }, text, normalLoss},
		{"probe", workload.AnnotationProbe, func(d *Decision) *string { return &d.Probe }, text, normalProbe},
		{"query", workload.AnnotationQuery, func(d *Decision) *string { return &d.Query }, text, normalQuery},
		{"dscp", workload.AnnotationDSCP, func(d *Decision) *string { return &d.DSCP }, textOrNumber, normalDSCP},
		{"probeFrom", workload.AnnotationProbeFrom, func(d *Decision) *string { return &d.ProbeFrom }, textOrList, workload.ParseProbeFrom},
		{"reflector", workload.AnnotationReflector, func(d *Decision) *string { return &d.Reflector }, text, workload.ParseReflector},
	}
	rateFields = []rateField{
		{"bandwidth.initial", workload.AnnotationInitialBandwidth, func(d *Decision) *bitrate.Rate { return &d.Bandwidth.Initial }},
		{"bandwidth.egress", workload.AnnotationEgressBandwidth, func(d *Decision) *bitrate.Rate { return &d.Bandwidth.Egress }},
		{"bandwidth.ingress", workload.AnnotationIngressBandwidth, func(d *Decision) *bitrate.Rate { return &d.Bandwidth.Ingress }},
		{"bandwidth.min", workload.AnnotationMinBandwidth, func(d *Decision) *bitrate.Rate { return &d.Bandwidth.Min }},
		{"bandwidth.max", workload.AnnotationMaxBandwidth, func(d *Decision) *bitrate.Rate { return &d.Bandwidth.Max }},
	}
)
