package targets

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// WriteValues writes what t says of detnet itself, as values for the chart.
func WriteValues(out io.Writer, t Targets) error {
	comments := []string{"Values for the chart: helm upgrade --values"}
	if slices.ContainsFunc(t.Apps, func(a App) bool { return a.Rank != t.Apps[0].Rank }) {
		comments = append(comments, "Left out: priority: critical workloads are protected alike, each by its own targets")
	}
	for _, what := range t.Assumed {
		comments = append(comments, "Assumed: "+what)
	}
	for _, what := range t.Ignored {
		comments = append(comments, "Left out: "+what)
	}
	for _, app := range t.Apps {
		if _, _, inCluster := service(app.Host); !inCluster {
			comments = append(comments, fmt.Sprintf("Left out: %s at %s is outside the cluster; keep it in the file and give that to the controller by --static-targets", app.Name, app.Host))
		}
	}
	return write(out, strings.Join(comments, "\n"), values(t))
}

// WriteWorkloads writes what t says of workloads, as documents for kubectl
// apply --server-side: what each adds to a template. The file speaks of Services;
// the workloads behind them are taken for Deployments of the app's name.
func WriteWorkloads(out io.Writer, t Targets) error {
	var errs []error
	trusted := map[string]bool{}
	for _, app := range t.Apps {
		if service, namespace, inCluster := service(app.Host); inCluster {
			if !trusted[namespace] {
				trusted[namespace] = true
				errs = append(errs, write(out, "Its pods may be critical.", trust(namespace)))
			}
			comment := fmt.Sprintf("If the workload behind Service %s is called otherwise, or is no Deployment, change this.", service)
			errs = append(errs, write(out, comment, fragment(namespace, app.Name, workload.ClassCritical, app.annotations())))
		}
	}
	for _, d := range t.Deployments {
		errs = append(errs, write(out, "", fragment(d.Namespace, d.Name, "best-effort", d.annotations(t.Control))))
	}
	return errors.Join(errs...)
}

func write(out io.Writer, comment string, document any) error {
	text, err := marshal(document)
	if err != nil {
		return fmt.Errorf("encode the import: %w", err)
	}
	if _, err := fmt.Fprintf(out, "---\n%s%s", commented(comment), text); err != nil {
		return fmt.Errorf("write the import: %w", err)
	}
	return nil
}

// values are the chart's: the constants of the laws.
func values(t Targets) map[string]any {
	c := t.Control
	laws := map[string]map[string]any{"aimd": {}, "step": {}}
	put := func(law, key string, value any, given bool) {
		if given {
			laws[law][key] = value
		}
	}
	put("aimd", "probe", c.Probe.String(), c.Probe != 0)
	put("aimd", "window", c.Window, c.Window != 0)
	put("aimd", "decrease", c.Decrease, c.Decrease != 0)
	put("step", "severity", c.Severity, c.Severity != 0)
	put("step", "decrease", c.StepDown.String(), c.StepDown != 0)
	for _, law := range []string{"aimd", "step"} {
		put(law, "interval", c.Interval.String(), c.Interval != 0)
		put(law, "increase", c.StepUp.String(), c.StepUp != 0)
		put(law, "min", c.Min.String(), c.Min != 0)
		put(law, "max", c.Max.String(), c.Max != 0)
	}
	out := map[string]any{}
	if len(laws["aimd"])+len(laws["step"]) > 0 {
		out["controller"] = map[string]any{"config": map[string]any{"laws": laws}}
	}
	return out
}

func (a App) annotations() map[string]string {
	out := map[string]string{workload.AnnotationProbe: a.Probe.String()}
	for key, d := range map[string]time.Duration{workload.AnnotationMaxJitter: a.SLO.Jitter, workload.AnnotationMaxLatency: a.SLO.Latency} {
		if d != 0 {
			out[key] = d.String()
		}
	}
	return out
}

func (d Deployment) annotations(c Control) map[string]string {
	out := map[string]string{}
	for key, r := range map[string]bitrate.Rate{
		workload.AnnotationInitialBandwidth: d.Initial, workload.AnnotationMinBandwidth: c.Min, workload.AnnotationMaxBandwidth: c.Max,
	} {
		if r != 0 {
			out[key] = r.String()
		}
	}
	return out
}

// service undoes host: "robot.factory.svc" is Service robot in factory.
func service(host string) (name, namespace string, inCluster bool) {
	parts := strings.Split(host, ".")
	if len(parts) < 3 || parts[2] != "svc" {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// trust lets the pods of a namespace be critical.
func trust(namespace string) any {
	return map[string]any{
		"apiVersion": "v1",
		"kind":       "Namespace",
		"metadata":   map[string]any{"name": namespace, "labels": map[string]string{workload.LabelAllowCritical: "true"}},
	}
}

// fragment is as much of a Deployment as server-side apply needs.
func fragment(namespace, name, class string, annotations map[string]string) any {
	template := map[string]any{"labels": map[string]string{workload.LabelPriority: class}}
	if len(annotations) > 0 {
		template["annotations"] = annotations
	}
	return map[string]any{
		"apiVersion": "apps/v1",
		"kind":       "Deployment",
		"metadata":   map[string]any{"namespace": namespace, "name": name},
		"spec":       map[string]any{"template": map[string]any{"metadata": template}},
	}
}

func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func commented(text string) string {
	if text == "" {
		return ""
	}
	return "# " + strings.ReplaceAll(text, "\n", "\n# ") + "\n"
}
