package targets

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/config/strict"
)

// unwrap returns the file inside the one ConfigMap among the documents of text, or
// text as it is.
func unwrap(text []byte) ([]byte, error) {
	documents, err := strict.Documents(text)
	if err != nil {
		return nil, err
	}
	var wrapper struct {
		Data map[string]string `yaml:"data"`
	}
	found := 0
	for _, document := range documents {
		var what struct {
			Kind string `yaml:"kind"`
		}
		if document.Kind != yaml.MappingNode || document.Decode(&what) != nil || what.Kind != "ConfigMap" {
			continue // what is wrong with it is said when it is decoded
		}
		if found++; found > 1 {
			return nil, fmt.Errorf("the file: must have one ConfigMap, another begins in line %d", document.Line)
		}
		if err := document.Decode(&wrapper); err != nil {
			return nil, fmt.Errorf("data: must be texts: %w", err)
		}
	}
	if found == 0 {
		return text, nil
	}
	if len(wrapper.Data) == 1 {
		for _, inside := range wrapper.Data {
			return []byte(inside), nil
		}
	}
	inside, ok := wrapper.Data["critical-apps.yaml"]
	if !ok {
		return nil, fmt.Errorf("data: must have critical-apps.yaml, or one file alone")
	}
	return []byte(inside), nil
}

// Ranges of the constants: those of the laws that they go to.
const (
	minProbe, maxProbe       = 10 * time.Millisecond, time.Minute
	minInterval, maxInterval = 100 * time.Millisecond, time.Hour
	minWindow, maxWindow     = 5, 1000
	minShare, maxShare       = 0.01, 0.9
	maxSeverity              = 10
	defaultSeverity          = 5 // of a file that enables it and says no more
)

func (c *checker) control(f file) Control {
	in := f.Control
	out := Control{
		Probe:    c.seconds("control.probe_interval", in.ProbeInterval, minProbe, maxProbe),
		Interval: c.seconds("control.control_interval", in.ControlInterval, minInterval, maxInterval),
		Window:   in.WindowSize,
		StepUp:   c.step("control.step_up", in.StepUp),
		Severity: c.severity(f),
		Min:      c.rate("control.min_bandwidth", in.MinBandwidth),
		Max:      c.rate("control.max_bandwidth", in.MaxBandwidth),
	}
	if in.WindowSize != 0 && (in.WindowSize < minWindow || in.WindowSize > maxWindow) {
		c.fail("control.window_size", "%d must be from %d to %d", in.WindowSize, minWindow, maxWindow)
	}
	if in.StepDown > 0 && in.StepDown < 1 {
		out.Decrease = in.StepDown
		if !(in.StepDown >= minShare && in.StepDown <= maxShare) {
			c.fail("control.step_down", "%v must be a share from %v to %v, or Mbit/s from 1", in.StepDown, minShare, maxShare)
		}
	} else {
		out.StepDown = c.step("control.step_down", in.StepDown)
	}
	if lo, hi := cmp.Or(out.Min, defaultMin), cmp.Or(out.Max, defaultMax); lo > hi {
		c.fail("control.min_bandwidth", "%v must be at most max_bandwidth, %v", lo, hi)
	}
	return out
}

// step reads Mbit/s; 0 is not given.
func (c *checker) step(path string, mbit float64) bitrate.Rate {
	if mbit != 0 && !(mbit >= 1 && mbit <= bitrate.Max.Mbit()) {
		c.fail(path, "%v must be from 1 to %v, in Mbit/s", mbit, bitrate.Max.Mbit())
		return 0
	}
	return bitrate.FromMbit(mbit)
}

// severity is 0 where the file says nothing of it.
func (c *checker) severity(f file) float64 {
	path, most := "severity_max_multiplier", f.SeverityMaxMultiplier
	if most == 0 && f.Control.SeverityMaxMultiplier != 0 {
		path, most = "control."+path, f.Control.SeverityMaxMultiplier
	}
	if most != 0 && !(most >= 1 && most <= maxSeverity) {
		c.fail(path, "%v must be from 1 to %d", most, maxSeverity)
		return 0
	}
	switch {
	case f.SeverityMultiplierEnabled, f.Control.SeverityMultiplierEnabled:
		return cmp.Or(most, defaultSeverity)
	case most != 0:
		return 1
	}
	return 0
}

// seconds reads "0.5" or "500ms"; "" is not given.
func (c *checker) seconds(path, text string, least, most time.Duration) time.Duration {
	if text == "" {
		return 0
	}
	var d time.Duration
	v, err := strconv.ParseFloat(text, 64)
	if err == nil && v <= most.Seconds() {
		d = time.Duration(v * float64(time.Second))
	} else if err != nil {
		d, err = time.ParseDuration(text)
	}
	if err != nil || d < least || d > most {
		c.fail(path, "%q must be seconds, such as 0.5, or a duration, such as 500ms, from %v to %v", text, least, most)
	}
	return d
}

// rate reads "100", in Mbit/s as the original does, or "100M"; "" is not given.
func (c *checker) rate(path, text string) bitrate.Rate {
	if text == "" {
		return 0
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += "M"
	}
	r, err := bitrate.Parse(text)
	if err != nil {
		c.fail(path, "%w", err)
	}
	return r
}

// Bounds of throttled pods that state none, as in the original.
const (
	defaultMin = 10 * bitrate.Mbit
	defaultMax = 1000 * bitrate.Mbit
)

// Bounds are the floor and the ceiling of throttled pods that state none.
func (c Control) Bounds() (lo, hi bitrate.Rate) {
	lo, hi = cmp.Or(c.Min, defaultMin), cmp.Or(c.Max, defaultMax)
	return lo, max(lo, hi)
}
