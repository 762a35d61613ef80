package inventory

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

func inMode(name, mode string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{workload.AnnotationMode: mode}}}
}

// key signs the stamps of the tests.
var key = signature.Key(bytes.Repeat([]byte{7}, signature.KeyLength))

// keyed is an inventory that believes key.
func keyed(mode workload.ControlMode) *Inventory {
	inv := New(nil, "detnet", mode)
	inv.SetKeys(signature.Keys{Current: key})
	return inv
}

// sign makes a pod's stamps admission's.
func sign(pod *corev1.Pod) *corev1.Pod {
	pod.Annotations = maps.Clone(pod.Annotations)
	pod.Annotations[workload.AnnotationSignature] = signature.Sign(key, pod.Namespace, pod.Labels, pod.Annotations)
	return pod
}

func signed(class string, annotations map[string]string) *corev1.Pod {
	return sign(running(class, annotations))
}

func TestSnapshotChangesOnlyWhenSomethingDoes(t *testing.T) {
	inv := keyed(workload.Enforce)
	inv.setPod("factory/pod", signed("best-effort", stamped()))
	first := inv.Snapshot()
	if len(first.Senders) != 1 {
		t.Fatalf("snapshot = %+v, want one sender", first)
	}
	heartbeat := signed("best-effort", stamped())
	heartbeat.ResourceVersion = "2"
	inv.setPod("factory/pod", heartbeat)
	inv.setNode("worker-1", &corev1.Node{})
	if inv.Snapshot() != first {
		t.Error("an event that changes nothing made a new snapshot")
	}
	inv.setPod("factory/pod", signed("best-effort", stamped(workload.AnnotationEgressBandwidth, "50M")))
	if s := inv.Snapshot(); s == first || s.Senders[0].Limit.Mbit() != 50 {
		t.Errorf("a new limit was missed: %+v", s.Senders)
	}
	inv.setPod("factory/pod", nil)
	if s := inv.Snapshot(); len(s.Senders) != 0 {
		t.Errorf("a deleted pod is still there: %+v", s.Senders)
	}
	if len(first.Senders) != 1 {
		t.Error("an old snapshot changed under its reader")
	}
}

// What a namespace is granted above the floors of its classes is for all its pods
// together, and follows its label.
func TestGrantedFloorsAreShared(t *testing.T) {
	inv := keyed(workload.Enforce)
	put := func(name, floor string) {
		pod := running("best-effort", stamped(workload.AnnotationMinBandwidth, floor, workload.AnnotationClassMinBandwidth, "10M"))
		if floor == "10M" {
			delete(pod.Annotations, workload.AnnotationClassMinBandwidth)
		}
		pod.Name = name
		inv.setPod("factory/"+name, sign(pod))
	}
	grant := func(rate string) {
		ns := inMode("factory", "")
		if rate != "" {
			ns.Labels = map[string]string{workload.LabelFloorsAtMost: rate}
		}
		inv.setNamespace("factory", ns)
	}
	expect := func(when string, problems int, floors ...float64) {
		t.Helper()
		s := inv.Snapshot()
		var got []float64
		for _, sender := range s.Senders {
			got = append(got, sender.Min.Mbit())
		}
		if !slices.Equal(got, floors) || len(s.Problems) != problems {
			t.Errorf("%s: floors %v, problems %+v; want %v and %d problems", when, got, s.Problems, floors, problems)
		}
	}
	put("a", "50M")
	put("plain", "10M")
	expect("nothing is granted", 1, 10, 10)
	grant("40M")
	expect("one pod within the grant", 0, 50, 10)
	before := inv.Snapshot()
	put("b", "90M")
	expect("two share the grant", 1, 23, 36, 10)
	if before.Senders[0].Min.Mbit() != 50 {
		t.Error("an old snapshot changed under its reader")
	}
	grant("120M")
	expect("a larger grant", 0, 50, 90, 10)
	grant("40Mbit")
	expect("an unreadable grant", 1, 10, 10, 10)
	grant("80M")
	inv.setPod("factory/b", nil)
	expect("the other has gone", 0, 50, 10)
	grant("")
	inv.setPod("factory/a", nil)
	expect("nobody asks any more", 0, 10)
	inv.setNamespace("factory", nil)
	expect("the namespace is deleted", 0, 10)
}

func TestNamespaceMode(t *testing.T) {
	inv := keyed(workload.Enforce)
	inv.setPod("factory/pod", signed("best-effort", stamped()))
	mode := func() workload.ControlMode {
		if s := inv.Snapshot(); len(s.Senders) == 1 {
			return s.Senders[0].Mode
		}
		return workload.Off
	}
	for _, step := range []struct {
		cluster workload.ControlMode
		ns      string
		want    workload.ControlMode
	}{
		{workload.Enforce, "", workload.Enforce},
		{workload.Enforce, "observe", workload.Observe},
		{workload.Enforce, "off", workload.Off},
		{workload.Observe, "enforce", workload.Observe},
		{workload.Off, "enforce", workload.Off},
		{workload.Enforce, "nonsense", workload.Observe},
	} {
		inv.SetMode(step.cluster)
		inv.setNamespace("factory", inMode("factory", step.ns))
		if got := mode(); got != step.want {
			t.Errorf("cluster %s, namespace %q: mode %s, want %s", step.cluster, step.ns, got, step.want)
		}
	}
	if problems := inv.Snapshot().Problems; len(problems) != 1 || problems[0].Object != "namespace factory" {
		t.Errorf("problems = %+v, want one about the namespace", problems)
	}
}
