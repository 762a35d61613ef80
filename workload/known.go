package workload

import "slices"

// What detnet reads or writes, by where it stands: other keys with its prefix
// are somebody's typing errors.
var (
	PodLabels      = slices.Concat(ManagedLabels, []string{LabelPriority})
	PodAnnotations = ManagedAnnotations
	// Namespaces also give their pods' annotations as defaults.
	NamespaceLabels      = []string{LabelPriority, LabelPriorityAtMost, LabelPriorityAtLeast, LabelFloorsAtMost, LabelAllowCritical}
	NamespaceAnnotations = []string{AnnotationMode}
)
