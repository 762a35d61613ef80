package workload

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SLO is what a critical workload asks of the network. A zero field is not
// asked for.
type SLO struct {
	Jitter  time.Duration // packet delay variation, D − min D (RFC 5481)
	Latency time.Duration // round trip
	Loss    float64       // ratio of lost probes, 0…1
}

// Late reports whether a packet is: it took more above its base, or there and back, than
// the targets allow.
func (s SLO) Late(variation, latency time.Duration) bool {
	return s.Jitter > 0 && variation > s.Jitter || s.Latency > 0 && latency > s.Latency
}

// IsZero reports whether nothing is asked for.
func (s SLO) IsZero() bool { return s == SLO{} }

// Bounds of an SLO's durations and of its loss ratio.
const (
	MinTarget = 10 * time.Microsecond
	MaxTarget = 10 * time.Second
)

// ParseSLO reads the SLO annotations. An unreadable one is left out of the
// result and reported; the others still count.
func ParseSLO(annotations map[string]string) (SLO, []error) {
	var slo SLO
	var errs []error
	for _, target := range []struct {
		key string
		to  *time.Duration
	}{{AnnotationMaxJitter, &slo.Jitter}, {AnnotationMaxLatency, &slo.Latency}} {
		if text, ok := annotations[target.key]; ok {
			d, err := parseTarget(text)
			if err != nil {
				errs = append(errs, fmt.Errorf("annotation %s: %w", target.key, err))
			}
			*target.to = d
		}
	}
	if text, ok := annotations[AnnotationMaxLoss]; ok {
		ratio, err := parseLoss(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("annotation %s: %w", AnnotationMaxLoss, err))
		}
		slo.Loss = ratio
	}
	return slo, errs
}

func parseTarget(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < MinTarget || d > MaxTarget {
		return 0, fmt.Errorf("%q must be a duration from %v to %v, such as 1ms", text, MinTarget, MaxTarget)
	}
	return d, nil
}

// parseLoss reads "0.1%" or the ratio "0.001".
func parseLoss(text string) (float64, error) {
	digits, percent := strings.CutSuffix(text, "%")
	v, err := strconv.ParseFloat(digits, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v > 0 && v <= 1) {
		return 0, fmt.Errorf("%q must be more than 0%% and at most 100%%, such as 0.1%%", text)
	}
	return v, nil
}
