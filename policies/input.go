package policies

import (
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
//	input.siblings   [{name, egress}] the workload's running pods that have a limit
//	input.asks       what pod or, failing it, namespace ask for in annotations
//	                 that could be read: maxJitter, maxLatency, maxLoss, probe,
//	                 minBandwidth, maxBandwidth, weight, initial, egress, ingress
type Input struct {
	Pod       json.RawMessage
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

// podObject is the pod as Rego sees it.
func (in Input) podObject() (map[string]any, error) {
	var pod map[string]any
	if err := json.Unmarshal(in.Pod, &pod); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	meta, ok := pod["metadata"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: metadata is not an object", ErrInput)
	}
	// The object of a review may lack what the request's path said.
	meta["namespace"] = in.Namespace.Name
	return pod, nil
}

// value converts the input to the form OPA evaluates without another
// conversion.
func (in Input) value(pod map[string]any, a asks) (ast.Value, error) {
	siblings := make([]any, len(in.Siblings))
	for i, s := range in.Siblings {
		siblings[i] = map[string]any{"name": s.Name, "egress": s.Egress.String()}
	}
	value, err := ast.InterfaceToValue(map[string]any{
		"pod": pod,
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
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	return value, nil
}
