package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/targets"
	"github.com/detnet/detnet/workload"
)

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "# nothing\n", "{}"} {
		if c, err := Parse([]byte(text), Default()); err != nil || c != Default() {
			t.Errorf("Parse(%q) = %+v, %v; want the default", text, c, err)
		}
	}
}

func TestParse(t *testing.T) {
	c, err := Parse([]byte(`
mode: observe
law: aimd
vantages: 3
writesPerSecond: 0.5
laws:
  adaptive: {window: 500ms, soft: 0.4, blind: assume}
  aimd: {increase: 20M, window: 30}
`), Default())
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Mode, want.Law, want.Vantages, want.WritesPerSecond = workload.Observe, "aimd", 3, 0.5
	want.Laws.Adaptive.Limits.Writes = 0.5
	want.Laws.Adaptive.Sense.Window, want.Laws.Adaptive.Sense.Soft, want.Laws.Adaptive.Blind = 500*time.Millisecond, 0.4, "assume"
	want.Laws.AIMD.Increase, want.Laws.AIMD.Window = 20*bitrate.Mbit, 30
	if c != want {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// Each error names the path, and what would be accepted there.
func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []string
	}{
		{"mode: on", []string{"mode:", "enforce, observe or off"}},
		{"law: pid", []string{"law:", "adaptive, aimd, step"}},
		{"vantages: 0", []string{"vantages: 0", "1 to 16"}},
		{"vantages: two", []string{`vantages: "two"`, "a whole number", "line 1"}},
		{"vantages: 1.5", []string{"vantages:", "a whole number"}},
		{"vantages:", []string{"vantages:", "a whole number"}},
		{"vantages: [1]", []string{"vantages:", "a whole number"}},
		{"writesPerSecond: .nan", []string{"writesPerSecond:", "0.1 to 1000"}},
		{"rolloutEvery: 5s", []string{"rolloutEvery: 5s", "0s or from 10s to 24h0m0s"}},
		{"nodes: {taintAfter: 1s}", []string{"nodes.taintAfter: 1s", "0s or from 10s to 1h0m0s"}},
		{"nodes: {bandwidth: 1}", []string{"nodes.bandwidth:", "true or false"}},
		{"\nspeed: 1", []string{"speed:", "known are: mode, law", "line 2"}},
		{"laws: {adaptive: {window: 1}}", []string{"laws.adaptive.window:", "a duration such as 250ms"}},
		{"laws: {adaptive: {window: 1h}}", []string{"laws.adaptive.window: 1h", "from 20ms to 10s"}},
		{"laws: {adaptive: {blind: panic}}", []string{"laws.adaptive.blind:", "hold, assume or decrease"}},
		{"laws: {aimd: {min: 0}}", []string{"laws.aimd.min:", "a rate such as 10M"}},
		{"laws: {aimd: 3}", []string{"laws.aimd:", "must be a mapping", "increase"}},
		{"prometheus: {url: 'prometheus:9090'}", []string{"prometheus.url:", "http or https URL"}},
		{"prometheus: {unit: us, interval: 1ms}", []string{"prometheus.unit:", "seconds or milliseconds", "prometheus.interval: 1ms", "from 1s to 1m0s"}},
		{"prometheus: {server: x}", []string{"prometheus.server:", "known are: url, tokenFile"}},
		{"mode: enforce\nmode: off", []string{"mode: is given twice"}},
		{"- mode", []string{"the file: must be a mapping"}},
		{"mode: &m enforce\nlaw: *m", []string{"law: anchors are not read"}},
		{"mode: {", []string{"not YAML"}},
		{"mode: enforce\n---\nmode: off", []string{"the file: must be one document", "line 3"}},
		{"#" + strings.Repeat("x", 1<<20), []string{"the file: must have at most 1048576 bytes"}},
	} {
		_, err := Parse([]byte(tt.text), Default())
		if err == nil {
			t.Errorf("%q is accepted", tt.text)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: error %q lacks %q", tt.text, err, part)
			}
		}
	}
}

func TestParseReportsEverything(t *testing.T) {
	_, err := Parse([]byte("mode: on\nvantages: 99\nlaws: {step: {target: 1h}}"), Default())
	for _, path := range []string{"mode:", "vantages:", "laws.step.target:"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v lacks %s", err, path)
		}
	}
}

func TestWith(t *testing.T) {
	got := Default().With(targets.Control{Decrease: 0.3, Max: 500 * bitrate.Mbit, Interval: 3 * time.Second})
	want := Default()
	want.Laws.AIMD.Decrease, want.Laws.AIMD.Max, want.Laws.Step.Max = 0.3, 500*bitrate.Mbit, 500*bitrate.Mbit
	want.Laws.AIMD.Interval, want.Laws.Step.Interval = 3*time.Second, 3*time.Second
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// Whatever the static targets accept, the laws do: an error is found where it
// is made.
func TestEveryControlIsAValidConfiguration(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := func(name string, some ...float64) float64 {
			return rapid.OneOf(rapid.SampledFrom(some), rapid.Float64Range(0, 2000)).Draw(t, name)
		}
		text := fmt.Sprintf("control: {probe_interval: %v, control_interval: %v, window_size: %d, step_down: %v, step_up: %v, min_bandwidth: %v, max_bandwidth: %v, severity_multiplier_enabled: true, severity_max_multiplier: %v}",
			number("probe", 0.01, 60, 61), number("interval", 0.1, 3600), rapid.IntRange(0, 1100).Draw(t, "window"),
			number("down", 0.005, 0.2, 0.9, 0.91, 50), number("up", 0, 0.5, 10), number("min", 0.001, 10), number("max", 1000), number("severity", 1, 5, 10.5))
		given, err := targets.Parse([]byte(text))
		if err != nil {
			return
		}
		if err := Default().With(given.Control).Validate(); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

// What is imported is a configuration that the controller accepts, and the one
// that it would have had by reading the file as it is.
func TestImportedValuesAreTheSameLaws(t *testing.T) {
	text, err := os.ReadFile("../targets/testdata/critical-apps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	original, err := targets.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := targets.WriteValues(&out, original); err != nil {
		t.Fatal(err)
	}
	var values struct {
		Controller struct {
			Config yaml.Node `yaml:"config"`
		} `yaml:"controller"`
	}
	if err := yaml.Unmarshal(out.Bytes(), &values); err != nil {
		t.Fatal(err)
	}
	imported, err := yaml.Marshal(&values.Controller.Config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Parse(imported, Default())
	if want := Default().With(original.Control); err != nil || got != want || want == Default() {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mode: observe\nlaws: {aimd: {increase: 20M}}")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := Parse([]byte(text), Default()); err == nil && c.Validate() != nil {
			t.Errorf("accepted an invalid configuration: %+v", c)
		}
	})
}
