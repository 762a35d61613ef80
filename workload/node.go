package workload

import (
	"fmt"
	"strings"
	"time"

	"github.com/detnet/detnet/bitrate"
)

// What a node carries for the scheduler, where that is switched on.
const (
	// TaintCongested keeps pods away that can go elsewhere (PreferNoSchedule).
	TaintCongested = "detnet.dev/congested"
	// BestEffortBandwidth is an extended resource, in bit/s: what the
	// best-effort pods of a node may send together. As an annotation on the
	// node people state it; otherwise it is what was found.
	BestEffortBandwidth = "detnet.dev/best-effort-bandwidth"
)

// Annotations of a node that say what its uplink carries. Nobody who may only write
// pods can write them.
const (
	// AnnotationUplinkRate is stated by people, "200M": the most that the link
	// carries, where the interface's own speed is not it.
	AnnotationUplinkRate = "detnet.dev/uplink-rate"
	// AnnotationUplinkFound is the controller's, where it is to remember; see type Found.
	AnnotationUplinkFound = "detnet.dev/uplink-found"
)

// Found is what the throttleable pods of a node had together while its uplink was full
// and all was well. It is where the next leader begins, and nothing is believed for it.
type Found struct {
	Rate bitrate.Rate
	At   time.Time // in whole seconds, UTC
}

// FoundFor is how long it says anything: links are replaced and rented anew.
const FoundFor = 7 * 24 * time.Hour

// ahead is how far another node's clock may be ahead.
const ahead = 10 * time.Minute

// String is the annotation's value, "194M 2026-01-01T00:00:00Z"; "" for the zero Found.
func (f Found) String() string {
	if f.Rate == 0 {
		return ""
	}
	return f.Rate.String() + " " + f.At.UTC().Format(time.RFC3339)
}

// Fresh is the rate, or 0 where it is too old, or from the future.
func (f Found) Fresh(now time.Time) bitrate.Rate {
	if age := now.Sub(f.At); age < -ahead || age > FoundFor {
		return 0
	}
	return f.Rate
}

// ParseFound reads what String writes; "" is the zero Found.
func ParseFound(text string) (Found, error) {
	if text == "" {
		return Found{}, nil
	}
	rate, at, _ := strings.Cut(text, " ")
	r, errRate := bitrate.Parse(rate)
	t, errTime := time.Parse(time.RFC3339, at)
	if errRate != nil || errTime != nil || t.Nanosecond() != 0 {
		return Found{}, fmt.Errorf("%.64q must be a rate from %v to %v and a time, such as \"194M 2026-01-01T00:00:00Z\"", text, bitrate.Min, bitrate.Max)
	}
	return Found{r, t.UTC()}, nil
}
