package targets

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/bitrate"
)

// unwrap returns the file inside a ConfigMap, or text as it is.
func unwrap(text []byte) ([]byte, error) {
	var wrapper struct {
		Kind string            `yaml:"kind"`
		Data map[string]string `yaml:"data"`
	}
	// What is wrong with a text that is no YAML is said when it is decoded.
	wrapped := yaml.Unmarshal(text, &wrapper) == nil && wrapper.Kind == "ConfigMap"
	if !wrapped {
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

func (c *checker) control(f file) Control {
	in := f.Control
	out := Control{
		Probe:    c.seconds("control.probe_interval", in.ProbeInterval),
		Interval: c.seconds("control.control_interval", in.ControlInterval),
		Window:   in.WindowSize,
		StepUp:   bitrate.FromMbit(in.StepUp),
		Min:      c.rate("control.min_bandwidth", in.MinBandwidth),
		Max:      c.rate("control.max_bandwidth", in.MaxBandwidth),
	}
	if in.StepDown < 0 || in.StepUp < 0 {
		c.fail("control", "step_down %v and step_up %v must not be negative", in.StepDown, in.StepUp)
	}
	if in.StepDown < 1 {
		out.Decrease = in.StepDown
	} else {
		out.StepDown = bitrate.FromMbit(in.StepDown)
	}
	return out
}

// seconds reads "0.5" or "500ms"; "" is not given.
func (c *checker) seconds(path, text string) time.Duration {
	if text == "" {
		return 0
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && v > 0 && v <= 3600 {
		return time.Duration(v * float64(time.Second))
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > time.Hour {
		c.fail(path, "%q must be seconds, such as 0.5, or a duration, such as 500ms, up to an hour", text)
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
