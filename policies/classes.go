package policies

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// Class is one entry of the data's "classes".
type Class struct {
	// Rank orders classes: pods of the lowest are cut first.
	Rank int `json:"rank"`
	// Protected classes are measured against their SLO and never limited.
	Protected bool `json:"protected,omitempty"`
	// PriorityClassName is stamped where the pod names no class of its own.
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// CiliumPriority is guaranteed, burstable, besteffort or a number.
	CiliumPriority string `json:"ciliumPriority,omitempty"`
	// SLO holds the targets of a protected class's pods that give none.
	SLO SLO `json:"slo,omitzero"`
	// Bandwidth makes the class throttleable.
	Bandwidth *ClassBandwidth `json:"bandwidth,omitempty"`
}

// ClassBandwidth is the limit of a throttleable class's pods and what they may
// ask for.
type ClassBandwidth struct {
	Initial string `json:"initial"` // egress limit at admission; the largest floor a pod may ask for
	Min     string `json:"min"`     // floor
	Max     string `json:"max"`     // ceiling, also of what a pod may ask for
	Weight  int    `json:"weight"`
	// MaxWeight is the largest weight a pod may ask for.
	MaxWeight int `json:"maxWeight"`
	// Ingress is a policer at the receiver; "" means none.
	Ingress string `json:"ingress,omitempty"`
}

// parseClasses reads data.classes strictly and checks every value, so that a
// typing error is found when the policy is loaded and not at an admission.
func parseClasses(data map[string]any) (map[string]Class, error) {
	raw, err := json.Marshal(data["classes"])
	if err != nil {
		return nil, fmt.Errorf("%w: classes: %w", ErrPolicy, err)
	}
	var classes map[string]Class
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&classes); err != nil {
		return nil, fmt.Errorf("%w: data.classes: %w", ErrPolicy, err)
	}
	if len(classes) == 0 {
		return nil, fmt.Errorf("%w: data.classes is missing: a policy set needs at least one class", ErrPolicy)
	}
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		if err := classes[name].check(name); err != nil {
			return nil, fmt.Errorf("%w: data.classes.%s: %w", ErrPolicy, name, err)
		}
	}
	return classes, nil
}

func (c Class) check(name string) error {
	if msgs := validation.IsValidLabelValue(name); len(msgs) > 0 || name == "" {
		return fmt.Errorf("the name must be a label value: %v", msgs)
	}
	if err := checkCiliumPriority(c.CiliumPriority); err != nil {
		return fmt.Errorf("ciliumPriority: %w", err)
	}
	if _, errs := workload.ParseSLO(c.SLO.annotations()); len(errs) > 0 {
		return fmt.Errorf("slo: %w", errs[0])
	}
	if c.Protected && c.Bandwidth != nil {
		return fmt.Errorf("a protected class can't have bandwidth: its pods are never limited")
	}
	if c.Bandwidth == nil {
		return nil
	}
	return c.Bandwidth.check()
}

func (b ClassBandwidth) check() error {
	rates := map[string]bitrate.Rate{}
	for _, field := range []struct{ name, text string }{{"initial", b.Initial}, {"min", b.Min}, {"max", b.Max}} {
		r, err := bitrate.Parse(field.text)
		if err != nil {
			return fmt.Errorf("bandwidth.%s: %w", field.name, err)
		}
		rates[field.name] = r
	}
	if !(rates["min"] <= rates["initial"] && rates["initial"] <= rates["max"]) {
		return fmt.Errorf("bandwidth: want min <= initial <= max, got %s, %s, %s", b.Min, b.Initial, b.Max)
	}
	if b.Ingress != "" {
		if _, err := bitrate.Parse(b.Ingress); err != nil {
			return fmt.Errorf("bandwidth.ingress: %w", err)
		}
	}
	if b.Weight < 1 || b.MaxWeight < b.Weight || b.MaxWeight > workload.MaxWeight {
		return fmt.Errorf("bandwidth: want 1 <= weight <= maxWeight <= %d, got %d and %d", workload.MaxWeight, b.Weight, b.MaxWeight)
	}
	return nil
}
