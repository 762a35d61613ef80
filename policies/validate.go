package policies

import (
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/detnet/detnet/workload"
)

// validate refuses what no policy may do, whatever its rules say.
func (d Decision) validate() error {
	if msgs := validation.IsDNS1123Subdomain(d.PriorityClassName); d.PriorityClassName != "" && len(msgs) > 0 {
		return fmt.Errorf("priorityClassName: %q: %v", d.PriorityClassName, msgs)
	}
	if err := d.Bandwidth.validate(d.Protected); err != nil {
		return fmt.Errorf("bandwidth: %w", err)
	}
	if err := d.validateTexts(); err != nil {
		return err
	}
	if err := validateNetworkPolicies(d.NetworkPolicies); err != nil {
		return err
	}
	if err := validateAffinity(d.Affinity); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	return validateExtras(d)
}

// validateTexts checks what has an annotation of its own.
func (d Decision) validateTexts() error {
	if d.Probe == string(workload.Prometheus) && d.Query == "" {
		return fmt.Errorf("query: probe prometheus needs one")
	}
	for _, f := range textFields {
		value := *f.of(&d)
		if value == "" {
			continue
		}
		if _, err := f.normal(value); err != nil {
			return fmt.Errorf("%s: %w", f.path, err)
		}
	}
	return nil
}

func (b Bandwidth) validate(protected bool) error {
	if err := checkCiliumPriority(b.Priority); err != nil {
		return fmt.Errorf("priority: %w", err)
	}
	switch {
	case protected && (b.Egress != 0 || b.Ingress != 0 || b.Initial != 0):
		return fmt.Errorf("a protected pod must not be limited: Cilium's limiter would delay it by up to 2 s")
	case (b.Initial == 0) != (b.Egress == 0):
		return fmt.Errorf("initial and egress go together")
	case b.Initial == 0:
		return nil
	case b.Min == 0 || b.Max == 0:
		return fmt.Errorf("a limit needs min and max")
	case b.Min > b.Initial || b.Initial > b.Max || b.Min > b.Egress || b.Egress > b.Max:
		return fmt.Errorf("initial %v and egress %v must lie from min %v to max %v", b.Initial, b.Egress, b.Min, b.Max)
	case b.Weight < 1 || b.Weight > workload.MaxWeight:
		return fmt.Errorf("weight: %d must be from 1 to %d", b.Weight, workload.MaxWeight)
	}
	return nil
}

// checkCiliumPriority accepts what Cilium's bandwidth manager reads
// (pkg/endpoint/events.go): anything else it drops together with the limits.
func checkCiliumPriority(s string) error {
	switch s {
	case "", "guaranteed", "burstable", "besteffort":
		return nil
	}
	if _, err := strconv.ParseUint(s, 10, 32); err != nil {
		return fmt.Errorf("%q must be guaranteed, burstable, besteffort or a number from 0 to 2^32-1", s)
	}
	return nil
}

func validateNetworkPolicies(policies []NetworkPolicy) error {
	seen := map[string]bool{}
	for _, p := range policies {
		if msgs := validation.IsDNS1123Subdomain(p.Name); len(msgs) > 0 {
			return fmt.Errorf("networkPolicies: name %q: %v", p.Name, msgs)
		}
		if seen[p.Name] {
			return fmt.Errorf("networkPolicies: name %q appears twice", p.Name)
		}
		if p.Spec == nil {
			return fmt.Errorf("networkPolicies: %s has no spec", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// validateAffinity allows preferences only: a requirement added to other
// people's pods could leave them unscheduled.
func validateAffinity(a *corev1.Affinity) error {
	if a == nil {
		return nil
	}
	if n := a.NodeAffinity; n != nil && n.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		return fmt.Errorf("nodeAffinity must be preferred, not required")
	}
	if p := a.PodAffinity; p != nil && p.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		return fmt.Errorf("podAffinity must be preferred, not required")
	}
	if p := a.PodAntiAffinity; p != nil && p.RequiredDuringSchedulingIgnoredDuringExecution != nil {
		return fmt.Errorf("podAntiAffinity must be preferred, not required")
	}
	return nil
}

// validateExtras checks the labels and annotations a policy adds by hand.
func validateExtras(d Decision) error {
	for key, value := range d.Labels {
		if slices.Contains(workload.ManagedLabels, key) {
			return fmt.Errorf("labels: %s follows from the class and can't be set by hand", key)
		}
		if msgs := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(msgs) > 0 {
			return fmt.Errorf("labels: %s=%q: %v", key, value, msgs)
		}
	}
	for key := range d.Annotations {
		if slices.Contains(workload.ManagedAnnotations, key) {
			return fmt.Errorf("annotations: %s follows from the decision's own fields and can't be set by hand", key)
		}
		if msgs := validation.IsQualifiedName(key); len(msgs) > 0 {
			return fmt.Errorf("annotations: %s: %v", key, msgs)
		}
	}
	return nil
}
