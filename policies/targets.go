package policies

import (
	"errors"
	"fmt"

	"github.com/detnet/detnet/workload"
)

// classSLO are the targets of a protected class's pods that give none, and the
// strictest that a pod may ask for.
type classSLO struct {
	SLO
	MinJitter  string `json:"minJitter,omitempty"`
	MinLatency string `json:"minLatency,omitempty"`
	MinLoss    string `json:"minLoss,omitempty"`
}

func (c classSLO) strictest() SLO { return SLO{c.MinJitter, c.MinLatency, c.MinLoss} }

func (c classSLO) check() error {
	targets, errs := workload.ParseSLO(c.annotations())
	least, more := workload.ParseSLO(c.strictest().annotations())
	if err := errors.Join(append(errs, more...)...); err != nil {
		return err
	}
	switch {
	case targets.Jitter != 0 && targets.Jitter < least.Jitter:
		return fmt.Errorf("maxJitter %s is below minJitter %s", c.MaxJitter, c.MinJitter)
	case targets.Latency != 0 && targets.Latency < least.Latency:
		return fmt.Errorf("maxLatency %s is below minLatency %s", c.MaxLatency, c.MinLatency)
	case targets.Loss != 0 && targets.Loss < least.Loss:
		return fmt.Errorf("maxLoss %s is below minLoss %s", c.MaxLoss, c.MinLoss)
	}
	return nil
}

// normal has one text for equal durations, so that what was stamped reads the
// same when it is sent again. What can't be read stays for validate to refuse.
func (s SLO) normal() SLO {
	slo, _ := workload.ParseSLO(s.annotations())
	if slo.Jitter != 0 {
		s.MaxJitter = slo.Jitter.String()
	}
	if slo.Latency != 0 {
		s.MaxLatency = slo.Latency.String()
	}
	return s
}

// bounded is what a pod asks for, but nothing stricter than the class allows:
// others pay for what one asks. It says on d what was too strict.
func (c classSLO) bounded(asked SLO, d *Decision) SLO {
	want, _ := workload.ParseSLO(asked.annotations())
	least, _ := workload.ParseSLO(c.strictest().annotations())
	for _, t := range []struct {
		strict bool
		key    string
		asked  *string
		least  string
	}{
		{want.Jitter != 0 && want.Jitter < least.Jitter, workload.AnnotationMaxJitter, &asked.MaxJitter, c.MinJitter},
		{want.Latency != 0 && want.Latency < least.Latency, workload.AnnotationMaxLatency, &asked.MaxLatency, c.MinLatency},
		{want.Loss != 0 && want.Loss < least.Loss, workload.AnnotationMaxLoss, &asked.MaxLoss, c.MinLoss},
	} {
		if t.strict {
			d.Warnings = append(d.Warnings, fmt.Sprintf("annotation %s: %s is stricter than class %s allows; the pod gets %s", t.key, *t.asked, d.Class, t.least))
			*t.asked = t.least
		}
	}
	return asked
}
