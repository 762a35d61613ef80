package workload

import (
	"fmt"
	"strconv"

	"github.com/detnet/detnet/bitrate"
)

// Bounds are the limits between which a throttleable pod may be moved, and
// its share among pods of the same rank.
type Bounds struct {
	Min, Max bitrate.Rate // 0 where not given
	Weight   int          // 1 where not given
}

// MaxWeight is the largest weight.
const MaxWeight = 1000

// ParseBounds reads the bandwidth bounds and the weight. An unreadable one is
// reported and takes its default; a floor above the ceiling drops both.
func ParseBounds(annotations map[string]string) (Bounds, []error) {
	b := Bounds{Weight: 1}
	var errs []error
	for _, bound := range []struct {
		key string
		to  *bitrate.Rate
	}{{AnnotationMinBandwidth, &b.Min}, {AnnotationMaxBandwidth, &b.Max}} {
		if text, ok := annotations[bound.key]; ok {
			r, err := bitrate.ParseLimit(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("annotation %s: %w", bound.key, err))
			}
			*bound.to = r
		}
	}
	if b.Max != 0 && b.Min > b.Max {
		errs = append(errs, fmt.Errorf("annotation %s: %v is above %s: %v", AnnotationMinBandwidth, b.Min, AnnotationMaxBandwidth, b.Max))
		b.Min, b.Max = 0, 0
	}
	if text, ok := annotations[AnnotationWeight]; ok {
		w, err := strconv.Atoi(text)
		if err != nil || w < 1 || w > MaxWeight {
			errs = append(errs, fmt.Errorf("annotation %s: %q must be a whole number from 1 to %d", AnnotationWeight, text, MaxWeight))
			w = 1
		}
		b.Weight = w
	}
	return b, errs
}

// FloorsAtMost is how far the floors of a namespace's pods may lie above those of their
// classes, all pods together, by the namespace's labels: 0 without the label, and with
// one that can't be read.
func FloorsAtMost(labels map[string]string) (bitrate.Rate, error) {
	text, ok := labels[LabelFloorsAtMost]
	if !ok {
		return 0, nil
	}
	r, err := bitrate.ParseLimit(text)
	if err != nil {
		return 0, fmt.Errorf("label %s=%s grants nothing: %w", LabelFloorsAtMost, text, err)
	}
	return r, nil
}
