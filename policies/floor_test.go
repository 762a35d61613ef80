package policies

import (
	"strings"
	"testing"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// The class's floor is everybody's. More of it is what a label of the namespace grants,
// which tenants can't write, and never more than the class lets a pod ask for.
func TestFloorsAboveTheClassAreGranted(t *testing.T) {
	e := mustLoad(t, Set{"site.rego": "package detnet.site\n\nbandwidth.min := \"40M\" if input.namespace.labels.team == \"ours\"\n"})
	const most = workload.LabelFloorsAtMost
	for name, tt := range map[string]struct {
		asked       string
		namespace   map[string]string
		annotations map[string]string // of the namespace
		floor       bitrate.Rate
		class       bitrate.Rate
		told        string // in the only warning
	}{
		"no more than the class's":     {"10M", nil, nil, 10, 0, ""},
		"less":                         {"5M", nil, nil, 5, 0, ""},
		"more, without a grant":        {"50M", nil, nil, 10, 0, "namespace shop has no label " + most + "; the pod gets 10M"},
		"more, within the grant":       {"50M", map[string]string{most: "40M"}, nil, 50, 10, ""},
		"more than the grant":          {"60M", map[string]string{most: "40M"}, nil, 50, 10, "has the label " + most + "=40M; the pod gets 50M"},
		"more than the class lets ask": {"500M", map[string]string{most: "1G"}, nil, 100, 10, "asks for more than class best-effort allows; the pod gets 100M"},
		"an unreadable grant":          {"5M", map[string]string{most: "40Mbit"}, nil, 5, 0, "label " + most + "=40Mbit grants nothing: "},
		"the namespace's default":      {"", nil, map[string]string{workload.AnnotationMinBandwidth: "50M"}, 10, 0, "the pod gets 10M"},
		"its default, granted":         {"", map[string]string{most: "40M"}, map[string]string{workload.AnnotationMinBandwidth: "50M"}, 50, 10, ""},
		"the site's own floor":         {"", map[string]string{"team": "ours"}, nil, 40, 0, ""},
		"above the site's own":         {"50M", map[string]string{"team": "ours"}, nil, 40, 0, "above that of class best-effort (40M)"},
	} {
		t.Run(name, func(t *testing.T) {
			asks := map[string]string{workload.AnnotationClassMinBandwidth: "1k"} // nobody's to say
			if tt.asked != "" {
				asks[workload.AnnotationMinBandwidth] = tt.asked
			}
			in := podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, asks)
			in.Namespace.Labels, in.Namespace.Annotations = tt.namespace, tt.annotations
			d := mustDecide(t, e, in)
			if b := d.Bandwidth; b.Min != tt.floor*bitrate.Mbit || b.ClassMin != tt.class*bitrate.Mbit {
				t.Errorf("floor %v of class %v, want %v and %v", b.Min, b.ClassMin, tt.floor*bitrate.Mbit, tt.class*bitrate.Mbit)
			}
			warnings := d.Warn()
			if tt.told == "" && len(warnings) > 0 || tt.told != "" && (len(warnings) != 1 || !strings.Contains(warnings[0], tt.told)) {
				t.Errorf("warnings %q, want one with %q", warnings, tt.told)
			}
			if got := d.Stamps()[workload.AnnotationClassMinBandwidth]; tt.class == 0 && got != "" || tt.class != 0 && got != (tt.class*bitrate.Mbit).String() {
				t.Errorf("stamped as the class's floor: %q", got)
			}
			// What was stamped and comes again is decided the same.
			in.Pod["metadata"].(map[string]any)["annotations"] = map[string]any{}
			for key, value := range d.Stamps() {
				in.Pod["metadata"].(map[string]any)["annotations"].(map[string]any)[key] = value
			}
			if again := mustDecide(t, e, in); again.Bandwidth != d.Bandwidth {
				t.Errorf("the second pass: %+v, the first %+v", again.Bandwidth, d.Bandwidth)
			}
		})
	}
}
