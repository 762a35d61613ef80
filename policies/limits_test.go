package policies

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// What kubelet takes for a limit is one that detnet never exceeds, and what the
// pod does not get it is told.
func TestOwnLimitIsACeiling(t *testing.T) {
	e := mustLoad(t, Set{"site.rego": `package detnet.site

bandwidth.egress := "50M" if input.pod.metadata.labels.policy == "egress"
bandwidth.ingress := "50M" if input.pod.metadata.labels.policy == "ingress"
bandwidth.max := input.asks.egress if input.pod.metadata.labels.policy == "asked"
`})
	for _, tt := range []struct {
		annotations map[string]string
		policy      string
		want        Bandwidth
		told        int
	}{
		{map[string]string{workload.AnnotationEgressBandwidth: "800k", workload.AnnotationIngressBandwidth: "100Ki"}, "",
			Bandwidth{Initial: 800 * bitrate.Kbit, Egress: 800 * bitrate.Kbit, Min: 800 * bitrate.Kbit, Max: 800 * bitrate.Kbit, Ingress: 102400}, 0},
		{map[string]string{workload.AnnotationEgressBandwidth: "5M"}, "egress",
			Bandwidth{Initial: 5 * bitrate.Mbit, Egress: 5 * bitrate.Mbit, Min: 5 * bitrate.Mbit, Max: 5 * bitrate.Mbit}, 0},
		{map[string]string{workload.AnnotationEgressBandwidth: "800k"}, "asked",
			Bandwidth{Initial: 800 * bitrate.Kbit, Egress: 800 * bitrate.Kbit, Min: 800 * bitrate.Kbit, Max: 800 * bitrate.Kbit}, 0},
		{map[string]string{workload.AnnotationEgressBandwidth: "20e6", workload.AnnotationIngressBandwidth: "20M"}, "ingress",
			Bandwidth{Initial: 20 * bitrate.Mbit, Egress: 20 * bitrate.Mbit, Min: 10 * bitrate.Mbit, Max: 20 * bitrate.Mbit, Ingress: 20 * bitrate.Mbit}, 0},
		{map[string]string{workload.AnnotationEgressBandwidth: "2G", workload.AnnotationIngressBandwidth: "1P"}, "ingress",
			Bandwidth{Initial: bitrate.Gbit, Egress: bitrate.Gbit, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit, Ingress: 50 * bitrate.Mbit}, 2},
		{map[string]string{workload.AnnotationEgressBandwidth: "1P", workload.AnnotationIngressBandwidth: "1P"}, "",
			Bandwidth{Initial: bitrate.Gbit, Egress: bitrate.Gbit, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit, Ingress: bitrate.MostLimit}, 1},
		{map[string]string{workload.AnnotationEgressBandwidth: "5M", workload.AnnotationMinBandwidth: "8M"}, "",
			Bandwidth{Initial: 5 * bitrate.Mbit, Egress: 5 * bitrate.Mbit, Min: 5 * bitrate.Mbit, Max: 5 * bitrate.Mbit}, 1},
		{map[string]string{workload.AnnotationInitialBandwidth: "5M"}, "",
			Bandwidth{Initial: 10 * bitrate.Mbit, Egress: 10 * bitrate.Mbit, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit}, 1},
		{map[string]string{workload.AnnotationEgressBandwidth: "10Mbit"}, "",
			Bandwidth{Initial: 100 * bitrate.Mbit, Egress: 100 * bitrate.Mbit, Min: 10 * bitrate.Mbit, Max: bitrate.Gbit}, 1},
	} {
		in := podInput(t, map[string]string{workload.LabelPriority: "best-effort", "policy": tt.policy}, tt.annotations)
		d := mustDecide(t, e, in)
		tt.want.Weight, tt.want.Priority = 1, "besteffort"
		if d.Bandwidth != tt.want || len(d.Warn()) != tt.told {
			t.Errorf("%v %s:\n got %+v, warnings %q\nwant %+v and %d warnings", tt.annotations, tt.policy, d.Bandwidth, d.Warn(), tt.want, tt.told)
		}
	}
}

// A pod's own limit is the limit of its namespace's pods no more, and the
// second pass over what was stamped changes nothing.
func TestOwnLimitSurvives(t *testing.T) {
	e := mustLoad(t, nil)
	in := podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, map[string]string{workload.AnnotationEgressBandwidth: "5M"})
	in.Namespace.Annotations = map[string]string{workload.AnnotationInitialBandwidth: "50M"}
	first := mustDecide(t, e, in).Bandwidth
	if first.Egress != 5*bitrate.Mbit || first.Max != 5*bitrate.Mbit {
		t.Fatalf("the namespace's initial limit raises the pod's own: %+v", first)
	}
	stamped := podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, map[string]string{
		workload.AnnotationEgressBandwidth: first.Egress.String(), workload.AnnotationInitialBandwidth: first.Initial.String(),
		workload.AnnotationMinBandwidth: first.Min.String(), workload.AnnotationMaxBandwidth: first.Max.String(),
	})
	stamped.Namespace = in.Namespace
	if again := mustDecide(t, e, stamped); again.Bandwidth != first || len(again.Warn()) != 0 {
		t.Errorf("second pass: %+v, %q; want %+v", again.Bandwidth, again.Warn(), first)
	}
}

// A class that is not throttled raises nothing either.
func TestUnthrottledClassKeepsOwnLimit(t *testing.T) {
	e := mustLoad(t, Set{"site.rego": "package detnet.site\n\nbandwidth.ingress := \"50M\"\n"})
	d := mustDecide(t, e, podInput(t, map[string]string{workload.LabelPriority: "standard"}, map[string]string{workload.AnnotationIngressBandwidth: "800k"}))
	if d.Bandwidth.Ingress != 800*bitrate.Kbit {
		t.Errorf("ingress %v, want the pod's own 800k", d.Bandwidth.Ingress)
	}
}

// Sidecars are init containers that always restart; the others' ports are
// nobody's to reach.
func TestPortsOfSidecars(t *testing.T) {
	var pod Object
	if err := json.Unmarshal([]byte(`{"spec":{"containers":[{"name":"c"}],"initContainers":[
		{"name":"once","ports":[{"containerPort":1}]},
		{"name":"sidecar","restartPolicy":"Always","ports":[{"containerPort":5202,"protocol":"UDP"}]}]}}`), &pod); err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(pod)
	pod, err := ReadObject(raw)
	if got := declaredPorts(pod); err != nil || !slices.Equal(got, []port{{"5202", "UDP"}}) {
		t.Errorf("ports %v, %v", got, err)
	}
}

func TestEachCorrectionNamesItsCause(t *testing.T) {
	d := mustDecide(t, mustLoad(t, nil), podInput(t, map[string]string{workload.LabelPriority: "best-effort"},
		map[string]string{workload.AnnotationEgressBandwidth: "2G", workload.AnnotationMinBandwidth: "500M", workload.AnnotationWeight: "11"}))
	text := strings.Join(d.Warn(), "\n")
	for _, want := range []string{
		workload.AnnotationEgressBandwidth + " asks for more than class best-effort allows; the pod gets 1G",
		workload.AnnotationMinBandwidth + " asks for a floor above that of class best-effort (10M), for which namespace shop has no label detnet.dev/floors-at-most; the pod gets 10M",
		workload.AnnotationWeight + " asks for more than class best-effort allows; the pod gets 10",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
