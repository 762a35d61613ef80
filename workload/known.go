package workload

import "slices"

// LabelAllowCritical on a namespace lets its pods claim the trusted classes.
const LabelAllowCritical = "detnet.dev/allow-critical"

// What detnet reads or writes, by where it stands: other keys with its prefix
// are somebody's typing errors.
var (
	PodLabels      = slices.Concat(ManagedLabels, []string{LabelPriority})
	PodAnnotations = ManagedAnnotations
	// Namespaces also give their pods' annotations as defaults.
	NamespaceLabels      = []string{LabelPriority, LabelPriorityAtMost, LabelPriorityAtLeast, LabelFloorsAtMost, LabelAllowCritical}
	NamespaceAnnotations = []string{AnnotationMode}
)
