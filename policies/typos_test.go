package policies

import (
	"strings"
	"testing"

	"github.com/detnet/detnet/workload"
)

// Who misspells a key or a value is told which, and what was probably meant.
func TestTyposAreTold(t *testing.T) {
	e := mustLoad(t, Set{"site.rego": `package detnet.site

labels.team := input.pod.metadata.labels["detnet.dev/team"]
`})
	for _, tt := range []struct{ labels, annotations, nsLabels, nsAnnotations, says string }{
		{"detnet.dev/priority=critcal", "", "", "", "label detnet.dev/priority=critcal is no class: did you mean critical?"},
		{"priority=best-efort", "", "", "", "label priority=best-efort is no class: did you mean best-effort?"},
		{"detnet.dev/prority=critical", "", "", "", "label detnet.dev/prority is ignored: detnet knows no such label: did you mean detnet.dev/priority?"},
		{"detnet.de/priority=critical", "", "", "", "did you mean detnet.dev/priority?"},
		{"", "detnet.dev/max-latncy=1ms", "", "", "annotation detnet.dev/max-latncy is ignored: detnet knows no such annotation: did you mean detnet.dev/max-latency?"},
		{"", "detnet.dev/priority=critical", "", "", "annotation detnet.dev/priority is ignored: it is a label, not an annotation"},
		{"detnet.dev/max-jitter=1ms", "", "", "", "label detnet.dev/max-jitter is ignored: it is an annotation, not a label"},
		{"", "detnet.dev/wieght=2", "", "", "did you mean detnet.dev/weight?"},
		{"", "", "detnet.dev/allow-critcal=true", "", "label detnet.dev/allow-critcal of namespace shop is ignored: detnet knows no such label: did you mean detnet.dev/allow-critical?"},
		{"", "", "detnet.dev/allow-critical=yes", "", "label detnet.dev/allow-critical=yes of namespace shop allows nothing: only true does"},
		{"", "", "", "detnet.dev/mod=off", "did you mean detnet.dev/mode?"},
		{"", "DETNET.dev/max-jitter=1ms", "", "", "annotation DETNET.dev/max-jitter is ignored: detnet knows no such annotation: did you mean detnet.dev/max-jitter, in small letters?"},
		// What is no typing error.
		{"detnet.dev/team=a", "", "", "", ""},
		{"priority=high", "detnet.dev/max-jitter=1ms", "detnet.dev/priority=high", "detnet.dev/mode=observe", ""},
		{"priority=p1", "example.com/max-latncy=1", "", "detnet.dev/max-loss=1%", ""},
	} {
		in := podInput(t, pairs(tt.labels), pairs(tt.annotations))
		in.Namespace.Labels, in.Namespace.Annotations = pairs(tt.nsLabels), pairs(tt.nsAnnotations)
		d := mustDecide(t, e, in)
		text := strings.Join(d.Warn(), "\n")
		if !strings.Contains(text, tt.says) || tt.says == "" && text != "" {
			t.Errorf("%v: it says %q, want %q", tt, text, tt.says)
		}
	}
}

func pairs(text string) map[string]string {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return nil
	}
	return map[string]string{key: value}
}

// A pod with a megabyte of keys is looked at in no more time than its reading
// takes, and is told little.
func TestManyKeysAreLittleWork(t *testing.T) {
	annotations := map[string]string{}
	for i := range 20_000 {
		annotations["detnet.dev/x"+strings.Repeat("y", i%40)+string(rune('a'+i%26))+strings.Repeat("z", i/1000)] = "1"
	}
	d := mustDecide(t, mustLoad(t, nil), podInput(t, map[string]string{workload.LabelPriority: "best-effort"}, annotations))
	if n := len(d.Problems); n > maxTypos {
		t.Errorf("%d problems", n)
	}
}
