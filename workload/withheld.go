package workload

import (
	"encoding/json"
	"fmt"
)

// Withheld is what a pod would have got if detnet did more than observe: the
// value of AnnotationWould.
type Withheld struct {
	Labels            map[string]string `json:"labels,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	PriorityClassName string            `json:"priorityClassName,omitempty"`
	Affinity          bool              `json:"affinity,omitempty"` // preferred terms of its own
	NetworkPolicies   []string          `json:"networkPolicies,omitempty"`
	Deny              []string          `json:"deny,omitempty"` // why it would have been refused
}

// String is the annotation's value; equal values have equal texts.
func (w Withheld) String() string {
	raw, err := json.Marshal(w)
	if err != nil {
		panic(err) // texts, lists and maps of them
	}
	return string(raw)
}

// ParseWithheld reads AnnotationWould; ok is false on a pod without it.
func ParseWithheld(annotations map[string]string) (w Withheld, ok bool, err error) {
	text, ok := annotations[AnnotationWould]
	if !ok {
		return Withheld{}, false, nil
	}
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return Withheld{}, true, fmt.Errorf("annotation %s: %w", AnnotationWould, err)
	}
	return w, true, nil
}
