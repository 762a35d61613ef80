package policies

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Decision is what a pod gets. The zero Class means that the pod does not
// concern detnet: nothing is stamped.
type Decision struct {
	Class             string            `json:"class"`
	PriorityClassName string            `json:"priorityClassName,omitempty"`
	Rank              int               `json:"rank"`
	Protected         bool              `json:"protected,omitempty"`
	Bandwidth         Bandwidth         `json:"bandwidth,omitzero"`
	SLO               SLO               `json:"slo,omitzero"`
	Probe             string            `json:"probe,omitempty"`
	Query             string            `json:"query,omitempty"` // PromQL, where Probe is prometheus
	DSCP              string            `json:"dscp,omitempty"`
	ProbeFrom         string            `json:"probeFrom,omitempty"` // nodes, separated by commas
	Reflector         string            `json:"reflector,omitempty"` // pod or node
	NetworkPolicies   []NetworkPolicy   `json:"networkPolicies,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	// Affinity holds only preferred terms; they are added to the pod's own.
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	Warnings []string         `json:"warnings,omitempty"`
	// Deny holds why the pod is refused; empty admits it.
	Deny []string `json:"deny,omitempty"`
	// Reasons are the ids of the rules that led here, sorted.
	Reasons []string `json:"reasons,omitempty"`

	// PolicyHash is the hash of the set that decided.
	PolicyHash string `json:"policyHash,omitempty"`
	// Problems are annotations that could not be read.
	Problems []problem `json:"problems,omitempty"`
}

// Bandwidth is the limit of a throttleable pod; the zero Initial means that
// the pod is not throttled. Rates are in bit/s.
type Bandwidth struct {
	Initial  bitrate.Rate // the limit to go back to
	Egress   bitrate.Rate // the limit to begin with
	Ingress  bitrate.Rate
	Min      bitrate.Rate
	ClassMin bitrate.Rate // the floor without the namespace's grant, where Min is above it
	Max      bitrate.Rate
	Weight   int
	Priority string // bandwidth.cilium.io/priority
}

// MarshalJSON writes the rates as people do, such as "100M".
func (b Bandwidth) MarshalJSON() ([]byte, error) {
	text := func(r bitrate.Rate) string {
		if r == 0 {
			return ""
		}
		return r.String()
	}
	return json.Marshal(struct {
		Initial  string `json:"initial,omitempty"`
		Egress   string `json:"egress,omitempty"`
		Ingress  string `json:"ingress,omitempty"`
		Min      string `json:"min,omitempty"`
		ClassMin string `json:"classMin,omitempty"`
		Max      string `json:"max,omitempty"`
		Weight   int    `json:"weight,omitempty"`
		Priority string `json:"priority,omitempty"`
	}{text(b.Initial), text(b.Egress), text(b.Ingress), text(b.Min), text(b.ClassMin), text(b.Max), b.Weight, b.Priority})
}

// SLO is what a protected pod asks of the network, as annotation values.
type SLO struct {
	MaxJitter  string `json:"maxJitter,omitempty"`
	MaxLatency string `json:"maxLatency,omitempty"`
	MaxLoss    string `json:"maxLoss,omitempty"`
}

// ID is the value of the decision annotation: equal decisions have equal IDs.
func (d Decision) ID() string { return strings.Join(d.Reasons, ",") + "@" + d.PolicyHash }

// annotations returns the targets by their annotation keys.
func (s SLO) annotations() map[string]string { return Decision{SLO: s}.Stamps() }

// Stamps are the annotations of the decision's fields that have one of their own.
func (d Decision) Stamps() map[string]string {
	out := map[string]string{}
	for _, f := range textFields {
		if text := *f.of(&d); text != "" {
			out[f.key] = text
		}
	}
	for _, f := range rateFields {
		if r := *f.of(&d); r != 0 {
			out[f.key] = r.String()
		}
	}
	if r := d.Bandwidth.ClassMin; r != 0 {
		out[workload.AnnotationClassMinBandwidth] = r.String()
	}
	if d.Bandwidth.Weight != 0 {
		out[workload.AnnotationWeight] = strconv.Itoa(d.Bandwidth.Weight)
	}
	if d.Bandwidth.Priority != "" {
		out[workload.AnnotationCiliumPriority] = d.Bandwidth.Priority
	}
	return out
}

// Warn returns every message the client should see.
func (d Decision) Warn() []string {
	out := slices.Clone(d.Warnings)
	for _, p := range d.Problems {
		out = append(out, p.Message)
	}
	return out
}
