package policies

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// classSpec is one entry of the data's "classes".
type classSpec struct {
	// Rank orders classes: pods of the lowest are cut first.
	Rank int `json:"rank"`
	// Protected classes are measured against their SLO and never limited.
	Protected bool `json:"protected,omitempty"`
	// PriorityClassName is stamped where the pod names no class of its own.
	PriorityClassName string `json:"priorityClassName,omitempty"`
	// CiliumPriority is guaranteed, burstable, besteffort or a number.
	CiliumPriority string `json:"ciliumPriority,omitempty"`
	// NetworkPolicies is off, allow or strict.
	NetworkPolicies string `json:"networkPolicies,omitempty"`
	// SLO holds the targets of a protected class's pods that give none.
	SLO classSLO `json:"slo,omitzero"`
	// Affinity is added to the pod's own; it may only prefer.
	Affinity *corev1.Affinity `json:"affinity,omitempty"`
	// Bandwidth makes the class throttleable.
	Bandwidth *classBandwidth `json:"bandwidth,omitempty"`
}

// classBandwidth is the limit of a throttleable class's pods and what they may
// ask for.
//
// In classes.yaml rates are quantities such as 100M; rules see them as numbers
// of bit/s.
type classBandwidth struct {
	Initial quantity `json:"initial"` // egress limit at admission; the largest floor a pod may be granted
	Min     quantity `json:"min"`     // floor
	Max     quantity `json:"max"`     // ceiling, also of what a pod may ask for
	Weight  int      `json:"weight"`
	// MaxWeight is the largest weight a pod may ask for.
	MaxWeight int `json:"maxWeight"`
	// Ingress is a policer at the receiver; "" means none.
	Ingress quantity `json:"ingress,omitempty"`
}

// parseClasses reads data.classes strictly and checks every value, so that a
// typing error is found when the policy is loaded and not at an admission. It
// puts them back into data as the rules see them.
func (s Set) parseClasses(data map[string]any) (map[string]classSpec, error) {
	raw, ok := data["classes"].(map[string]any)
	if !ok || len(raw) == 0 {
		return nil, fmt.Errorf("%w: data.classes is missing: a policy set needs at least one class", ErrPolicy)
	}
	classes := map[string]classSpec{}
	for _, name := range sortedKeys(raw) {
		var c classSpec
		err := complete(raw[name])
		if err == nil {
			err = strictly(raw[name], &c)
		}
		path := []string{"classes", name}
		if errors.Is(err, errIncomplete) {
			err = fmt.Errorf("%w%s", err, didYouMean(name, slices.DeleteFunc(sortedKeys(raw), func(n string) bool { return n == name })))
		} else if err != nil {
			path = append(path, narrow(raw[name], func(v any) error { return strictly(v, new(classSpec)) })...)
			err = fmt.Errorf("%w%s", err, didYouMean(path[len(path)-1], classKeys))
		} else if err = c.check(name); err != nil {
			field, _, _ := strings.Cut(err.Error(), ":")
			path = append(path, field)
			err = fmt.Errorf("%w%s", err, didYouMean(name, slices.DeleteFunc(sortedKeys(raw), func(n string) bool { return n == name })))
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s class %s: %w", ErrPolicy, s.place(path...), name, err)
		}
		classes[name] = c
	}
	if err := s.checkSettings(data, classes); err != nil {
		return nil, err
	}
	if err := s.checkRanks(classes); err != nil {
		return nil, err
	}
	var err error
	if data["classes"], err = plain(classes); err != nil {
		return nil, fmt.Errorf("%w: data.classes: %w", ErrPolicy, err)
	}
	return classes, nil
}

// classKeys are the keys of a class, for advice.
var classKeys = []string{
	"rank", "protected", "priorityClassName", "ciliumPriority", "networkPolicies", "slo", "affinity", "bandwidth",
	"initial", "min", "max", "weight", "maxWeight", "ingress", "maxJitter", "maxLatency", "maxLoss", "minJitter", "minLatency", "minLoss",
}

// strictly reads plain data into a type that must know every key.
func strictly(value, into any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return plainText(err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func (c classSpec) check(name string) error {
	if msgs := validation.IsValidLabelValue(name); len(msgs) > 0 || name == "" {
		return fmt.Errorf("the name must be a label value: %v", msgs)
	}
	if err := checkCiliumPriority(c.CiliumPriority); err != nil {
		return fmt.Errorf("ciliumPriority: %w", err)
	}
	if err := c.SLO.check(); err != nil {
		return fmt.Errorf("slo: %w", err)
	}
	if !slices.Contains([]string{"", "off", "allow", "strict"}, c.NetworkPolicies) {
		return fmt.Errorf("networkPolicies: %q must be off, allow or strict", c.NetworkPolicies)
	}
	if err := validateAffinity(c.Affinity); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	if c.Protected && c.Bandwidth != nil {
		return fmt.Errorf("a protected class can't have bandwidth: its pods are never limited")
	}
	if c.Bandwidth == nil {
		return nil
	}
	return c.Bandwidth.check()
}

func (b classBandwidth) check() error {
	if !(b.Min > 0 && b.Min <= b.Initial && b.Initial <= b.Max) {
		return fmt.Errorf("bandwidth: a class has all three of them, and min <= initial <= max; here they are %v, %v and %v", bitrate.Rate(b.Min), bitrate.Rate(b.Initial), bitrate.Rate(b.Max))
	}
	if b.Weight < 1 || b.MaxWeight < b.Weight || b.MaxWeight > workload.MaxWeight {
		return fmt.Errorf("bandwidth: want 1 <= weight <= maxWeight <= %d, got %d and %d", workload.MaxWeight, b.Weight, b.MaxWeight)
	}
	return nil
}

// quantity is a rate that is read as text and written as a number.
type quantity bitrate.Rate

func (q *quantity) UnmarshalJSON(raw []byte) error {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("bandwidth: %s must be a quantity with a unit, such as 100M (bit/s)", raw)
	}
	r, err := bitrate.Parse(text)
	if err != nil {
		return fmt.Errorf("bandwidth: %w", err)
	}
	*q = quantity(r)
	return nil
}

// plain is v as JSON has it.
func plain(v any) (any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var out any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&out)
	return out, err
}
