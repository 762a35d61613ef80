package webhook

import (
	"encoding/json"
	"testing"

	evanphx "github.com/evanphx/json-patch/v5"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/policies"
	"github.com/detnet/detnet/workload"
)

// Whatever a pod's labels and annotations say, its stamp can be applied, holds
// readable limits, none on a critical pod, and is stamped no second time.
func FuzzStamp(f *testing.F) {
	engine, err := policies.Compile(f.Context(), policies.Default())
	if err != nil {
		f.Fatal(err)
	}
	f.Add("best-effort", "upload", "100M", "10M", "1G", "2", "1ms", "udp:5201", false)
	f.Add("critical", "robot.control_1", "10Mbit", "0", "-1", "1.5", "0.1", "stamp", true)
	f.Add("none", "", "1.5G", "1e3", "10Mi", "-1", "1h", "tcp:0", false)
	f.Add("gold", "ä~1/x", "262144", "400G", "400G", "1000", "10s", "icmp", false)
	f.Fuzz(func(t *testing.T, priority, app, egress, least, most, weight, jitter, probe string, host bool) {
		raw, err := json.Marshal(map[string]any{
			"metadata": map[string]any{
				"name":   "p",
				"labels": map[string]string{workload.LabelPriority: priority, "app": app, workload.LabelClass: app},
				"annotations": map[string]string{
					workload.AnnotationEgressBandwidth: egress, workload.AnnotationMinBandwidth: least, workload.AnnotationMaxBandwidth: most,
					workload.AnnotationWeight: weight, workload.AnnotationMaxJitter: jitter, workload.AnnotationProbe: probe, app: egress,
				},
			},
			"spec": map[string]any{"hostNetwork": host},
		})
		if err != nil {
			t.Skip() // not text
		}
		first := stampOnce(t, engine, raw)
		second := stampOnce(t, engine, first)
		if string(first) != string(second) {
			t.Fatalf("stamped twice:\n%s\n%s", first, second)
		}
	})
}

// stampOnce returns the stamped pod and checks it.
func stampOnce(t *testing.T, engine *policies.Engine, raw []byte) []byte {
	t.Helper()
	object, err := policies.ReadObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	pod, err := podOf(object)
	if err != nil {
		t.Fatal(err)
	}
	d, err := engine.Decide(t.Context(), policies.Input{Pod: object, Operation: "CREATE", Namespace: policies.Namespace{
		Name: "shop", Labels: map[string]string{"detnet.dev/allow-critical": "true"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ops, _ := Patch(pod, d, Setting{Priorities: wanted(-1), Sign: signed})
	text, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := evanphx.DecodePatch(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := patch.Apply(raw)
	if err != nil {
		t.Fatalf("%s\ndoes not apply to\n%s\n%v", text, raw, err)
	}
	object, err = policies.ReadObject(out)
	if err != nil {
		t.Fatal(err)
	}
	meta, err := metadataOf(object)
	if err != nil {
		t.Fatal(err)
	}
	limit, limited := meta.Annotations[workload.AnnotationEgressBandwidth]
	if d.Protected && limited {
		t.Fatalf("a protected pod has the limit %s", limit)
	}
	if _, err := bitrate.ParseLimit(limit); d.Bandwidth.Initial != 0 && meta.Annotations[workload.AnnotationInitialBandwidth] != "" && err != nil {
		t.Fatalf("limit %q: %v", limit, err)
	}
	return out
}
