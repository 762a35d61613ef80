package targets

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

func sample(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/critical-apps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParse(t *testing.T) {
	want := Targets{
		Apps: []App{
			{"robot-control", "robot-control.default.svc", workload.Probe{Protocol: workload.UDP, Port: 5201}, workload.SLO{Jitter: time.Millisecond, Latency: 10 * time.Millisecond}, 100},
			{"safety-scanner", "safety-scanner.factory.svc.cluster.local", workload.Probe{Protocol: workload.TCP, Port: 5202}, workload.SLO{Jitter: 2 * time.Millisecond}, 90},
		},
		Deployments: []Deployment{
			{"default", "telemetry-upload-deployment", 100 * bitrate.Mbit},
			{"default", "erp-dashboard", 100 * bitrate.Mbit},
		},
		Control: Control{
			Probe: 500 * time.Millisecond, Interval: 2 * time.Second, Window: 20,
			StepDown: 50 * bitrate.Mbit, StepUp: 10 * bitrate.Mbit, Severity: 3, Min: 10 * bitrate.Mbit, Max: 1000 * bitrate.Mbit,
		},
	}
	indented := strings.ReplaceAll(sample(t), "\n", "\n    ")
	for name, text := range map[string]string{
		"as it is":           sample(t),
		"in a ConfigMap":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: critical-apps-config}\ndata:\n  critical-apps.yaml: |\n    " + indented,
		"beside others":      "kind: Namespace\nmetadata: {name: x}\n---\nkind: ConfigMap\ndata:\n  critical-apps.yaml: |\n    " + indented + "\n---\n",
		"under another name": "kind: ConfigMap\ndata:\n  config.yaml: |\n    " + indented,
	} {
		got, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"critical_apps: [{name: a, port: 0, max_jitter_ms: 1}]":                                       "critical_apps[0].port: 0 must be from 1 to 65535",
		"critical_apps: [{name: a, port: x, max_jitter_ms: 1}]":                                       `critical_apps[0].port: "x" must be a whole number`,
		"critical_apps: [{name: a, max_jitter_ms: 1, port: }]":                                        `critical_apps[0].port: "" must be a whole number`,
		"critical_apps: [{name: a b, port: 1, max_jitter_ms: 1}]":                                     `critical_apps[0].name: "a b" is no name`,
		"critical_apps: [{name: a, service: 'Ü;rm', port: 1, max_jitter_ms: 1}]":                      `critical_apps[0].service: "Ü;rm" is no name`,
		"best_effort_targets: [{deployment: x/y, namespace: A}]":                                      `best_effort_targets[0].deployment: "x/y" is no name`,
		"best_effort_targets: [{deployment: x, namespace: A}]":                                        `best_effort_targets[0].namespace: "A" is no name`,
		"best_effort_targets: [{deployment: x}, {deployment: x, namespace: default}]":                 `best_effort_targets[1].deployment: "x" is there twice`,
		"control: {step_up: 10}\n---\ncontrol: {step_up: 20}":                                         "the file: must be one document, another begins here (line 3)",
		"kind: ConfigMap\ndata: {a: x}\n---\nkind: ConfigMap\ndata: {a: x}":                           "must have one ConfigMap, another begins in line 4",
		"kind: ConfigMap\ndata: {a: 5, b: {}}":                                                        "data: must be texts",
		"kind: Deployment\nspec: {}":                                                                  "the file: has none of: critical_apps, best_effort_targets, control",
		"a: " + strings.Repeat("b", 1<<20):                                                            "the file: must have at most 1048576 bytes",
		"critical_apps: [{port: 1, max_jitter_ms: 1}]":                                                "critical_apps[0].name: must be given",
		"critical_apps: [{name: a, port: 1}]":                                                         "critical_apps[0]: must give max_jitter_ms or max_latency_ms",
		"critical_apps: [{name: a, port: 1, max_jitter_ms: -1}]":                                      "critical_apps[0].max_jitter_ms: -1 must be from 0.01 to 10000",
		"critical_apps: [{name: a, port: 1, max_jitter_ms: .nan}]":                                    "critical_apps[0].max_jitter_ms",
		"critical_apps: [{name: a, port: 1, max_jitter_ms: 1, protocol: SCTP}]":                       `critical_apps[0].protocol: "SCTP" must be UDP or TCP`,
		"critical_apps: [{name: a, port: 1, max_jitter_ms: 1}, {name: a, port: 1, max_jitter_ms: 1}]": `critical_apps[1].name: "a" is there twice`,
		"critical_apps: {name: a}":                                                                    "critical_apps: must be a list",
		"best_effort_targets: [{namespace: b}]":                                                       "best_effort_targets[0].deployment: must be given",
		"best_effort_targets: [{deployment: b, initial_bandwidth: 0}]":                                "best_effort_targets[0].initial_bandwidth",
		"control: {min_bandwidth: lots}":                                                              "control.min_bandwidth",
		"control: {probe_interval: -1}":                                                               "control.probe_interval",
		"control: {probe_interval: 120}":                                                              `control.probe_interval: "120" must be seconds, such as 0.5, or a duration, such as 500ms, from 10ms to 1m0s`,
		"control: {control_interval: 1ms}":                                                            "control.control_interval",
		"control: {window_size: 3}":                                                                   "control.window_size: 3 must be from 5 to 1000",
		"control: {step_down: -5}":                                                                    "control.step_down: -5 must be from 1 to",
		"control: {step_down: 0.95}":                                                                  "control.step_down: 0.95 must be a share from 0.01 to 0.9",
		"control: {step_up: .nan}":                                                                    "control.step_up",
		"control: {min_bandwidth: 100, max_bandwidth: 50}":                                            "control.min_bandwidth: 100M must be at most max_bandwidth, 50M",
		"control: {severity_max_multiplier: 0.5}":                                                     "control.severity_max_multiplier: 0.5 must be from 1 to 10",
		"severity_max_multiplier: .nan":                                                               "severity_max_multiplier: NaN must be from 1 to 10",
		"kind: ConfigMap\ndata: {a: x, b: y}":                                                         "data: must have critical-apps.yaml",
	} {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\nerror %v\nlacks %s", text, err, want)
		}
	}
}

func TestSeverity(t *testing.T) {
	for text, want := range map[string]float64{
		"{}":                                0,
		"severity_multiplier_enabled: true": 5,
		"severity_multiplier_enabled: true\nseverity_max_multiplier: 2.5":                 2.5,
		"control: {severity_multiplier_enabled: true, severity_max_multiplier: 2}":        2,
		"severity_multiplier_enabled: false\nseverity_max_multiplier: 5.0":                1,
		"control: {severity_multiplier_enabled: true}\nseverity_multiplier_enabled: true": 5,
	} {
		if got, err := Parse([]byte(text)); err != nil || got.Control.Severity != want || len(got.Ignored) > 0 {
			t.Errorf("%s: severity %v, ignored %q, %v; want %v", text, got.Control.Severity, got.Ignored, err, want)
		}
	}
}

// The configuration in the original's README gives no port and no service.
func TestTheOriginalsReadmeIsTakenAsItIs(t *testing.T) {
	got, err := Parse([]byte(`critical_apps:
  - name: robot-control
    protocol: UDP
    max_jitter_ms: 1.0    # Jitter threshold
    priority: 100          # Highest priority
    
  - name: safety-scanner
    protocol: TCP
    max_jitter_ms: 2.0
    priority: 90

control:
  min_bandwidth: 10       # Mbps
  max_bandwidth: 1000     # Mbps
best_effort_targets:
`))
	if err != nil || len(got.Apps) != 2 || got.Apps[0].Probe.String() != "udp:5201" || got.Apps[1].Probe.String() != "tcp:5202" {
		t.Fatalf("%+v, %v", got, err)
	}
	if len(got.Assumed) != 2 || !strings.Contains(got.Assumed[1], "critical_apps[1].port: not given; 5202") || len(got.Ignored) > 0 {
		t.Errorf("assumed %q, ignored %q", got.Assumed, got.Ignored)
	}
}

func TestUnknownKeysAreNamed(t *testing.T) {
	got, err := Parse([]byte("prometheus_url: http://x\ncritical_apps: [{name: a, port: 1, max_jitter_ms: 1, color: red}]"))
	if err != nil || len(got.Apps) != 1 || len(got.Ignored) != 2 {
		t.Errorf("Parse = %+v, %v; want one app and two ignored keys", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("critical_apps: [{name: a, port: 1, max_jitter_ms: 1}]\ncontrol: {step_up: 10}")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse([]byte(text))
		if err != nil {
			return
		}
		for _, a := range got.Apps {
			if a.SLO.IsZero() || a.SLO.Jitter < 0 || a.Probe.Port == 0 {
				t.Errorf("accepted %+v", a)
			}
		}
	})
}
