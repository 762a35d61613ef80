package inventory

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/workload"
)

// What is said of a node's uplink counts where it can be read; else it is a problem of
// the node, for as long as it stands there.
func TestWhatIsSaidOfUplinks(t *testing.T) {
	inv := New(nil, "detnet", workload.Enforce)
	put := func(annotations map[string]string) *Snapshot {
		inv.setNode("worker-1", slimNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Annotations: annotations}}))
		return inv.Snapshot()
	}
	s := put(map[string]string{workload.AnnotationUplinkRate: "1G", workload.AnnotationUplinkFound: "194M 2026-01-01T00:00:00Z", "other.example/x": "y"})
	if m := s.Marks["worker-1"]; m.Rate != bitrate.Gbit || m.Found.String() != "194M 2026-01-01T00:00:00Z" || len(s.Problems) != 0 {
		t.Errorf("%+v, %v", m, s.Problems)
	}
	s = put(map[string]string{workload.AnnotationUplinkRate: "fast", workload.AnnotationUplinkFound: "lots", workload.BestEffortBandwidth: "-1"})
	if m := s.Marks["worker-1"]; m != (Marks{}) || len(s.Problems) != 3 {
		t.Errorf("%+v, %v", m, s.Problems)
	}
	for _, p := range s.Problems {
		if p.Object != "node worker-1" || !strings.HasPrefix(p.Text, "annotation detnet.dev/") {
			t.Errorf("%+v", p)
		}
	}
	if s = put(nil); len(s.Marks) != 0 || len(s.Problems) != 0 {
		t.Errorf("%+v, %v", s.Marks, s.Problems)
	}
	inv.setNode("worker-1", nil)
	if s = inv.Snapshot(); len(s.Problems) != 0 {
		t.Errorf("a node that is gone has %v", s.Problems)
	}
}
