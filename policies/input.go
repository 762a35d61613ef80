package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/detnet/detnet/bitrate"
)

// Input is all a decision may depend on. In Rego it is
//
//	input.pod        the pod as JSON, with metadata.namespace filled in
//	input.namespace  {name, labels, annotations}
//	input.user       {name, groups}
//	input.operation  "CREATE"
//	input.dryRun     boolean
//	input.workload   {label, name, slug}: the label that names the pod's workload
//	                 (app.kubernetes.io/name, app or k8s-app), its value, and the value fit
//	                 for an object's name; {} where the pod has none of them
//	input.ports      [{port, protocol}], both as text, that containers declare
//	input.siblings   [{name, egress}] the workload's running pods that have a limit
//	input.asks       what pod or, failing it, namespace ask for in annotations
//	                 that could be read: maxJitter, maxLatency, maxLoss, probe, query,
//	                 dscp, probeFrom, reflector, minBandwidth, maxBandwidth, weight, initial, egress, ingress
//
// Rates are numbers of bit/s.
type Input struct {
	Pod       Object // Decide fills in metadata.namespace
	Namespace Namespace
	User      User
	Operation string
	DryRun    bool
	Siblings  []Sibling
}

// Namespace is the pod's namespace.
type Namespace struct {
	Name                string
	Labels, Annotations map[string]string
}

// User is who creates the pod; for most pods a controller of kube-system.
type User struct {
	Name   string
	Groups []string
}

// Sibling is a running pod of the same workload and the egress limit it has.
type Sibling struct {
	Name   string
	Egress bitrate.Rate
}

// ErrInput marks a pod that could not be read.
var ErrInput = errors.New("pod is not readable")

// Object is a Kubernetes object as JSON has it, with numbers as json.Number.
type Object map[string]any

// ReadObject reads an object from JSON.
func ReadObject(raw []byte) (Object, error) {
	var o Object
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	return o, nil
}

// value is the input in the form OPA evaluates. Only what a rule touches is
// converted: of a typical pod that is a tenth.
func (in Input) value(a asks, w declared) (ast.Value, error) {
	meta, ok := in.Pod["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: metadata is not an object", ErrInput)
	}
	// The object of a review may lack what the request's path said.
	// Once it is there the pod is only read, by however many engines.
	if meta["namespace"] != in.Namespace.Name {
		meta["namespace"] = in.Namespace.Name
	}
	siblings := make([]any, len(in.Siblings))
	for i, s := range in.Siblings {
		siblings[i] = map[string]any{"name": s.Name, "egress": int64(s.Egress)}
	}
	return ast.LazyObject(map[string]any{
		"pod":      map[string]any(in.Pod),
		"workload": w.value(),
		"ports":    portValues(w.ports),
		"namespace": map[string]any{
			"name":        in.Namespace.Name,
			"labels":      in.Namespace.Labels,
			"annotations": in.Namespace.Annotations,
		},
		"user":      map[string]any{"name": in.User.Name, "groups": in.User.Groups},
		"operation": in.Operation,
		"dryRun":    in.DryRun,
		"siblings":  siblings,
		"asks":      map[string]any(a),
	}), nil
}
