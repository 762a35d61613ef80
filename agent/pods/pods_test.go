package pods

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/cache"

	"github.com/detnet/detnet/workload"
)

func newWatch(t *testing.T) *Watch {
	t.Helper()
	w, err := New(fake.NewClientset(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func pod(uid string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p-" + uid, UID: types.UID("uid-" + uid), Annotations: map[string]string{
			workload.EgressBandwidth: "10M", "other": "x"}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}, {IP: "bad"}}},
	}
	if change != nil {
		change(p)
	}
	return p
}

func TestFollows(t *testing.T) {
	w := newWatch(t)
	put := func(p *corev1.Pod) {
		slim, err := strip(p)
		if err != nil {
			t.Fatal(err)
		}
		w.put(slim)
	}
	put(pod("a", nil))
	want := []Pod{{Namespace: "ns", Name: "p-a", UID: "uid-a", Egress: "10M",
		IPs: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")}}}
	if diff := cmp.Diff(want, w.List(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	select {
	case <-w.Changed():
	default:
		t.Error("nobody was told")
	}
	put(pod("a", func(p *corev1.Pod) { delete(p.Annotations, workload.EgressBandwidth) }))
	if got := w.List(); len(got) != 1 || got[0].Egress != "" {
		t.Errorf("annotation removed: %+v", got)
	}
	for name, gone := range map[string]func(*corev1.Pod){
		"succeeded":    func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded },
		"failed":       func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed },
		"host network": func(p *corev1.Pod) { p.Spec.HostNetwork = true },
	} {
		put(pod("a", nil))
		put(pod("a", gone))
		if got := w.List(); len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	put(pod("a", nil))
	w.remove(cache.DeletedFinalStateUnknown{Obj: pod("a", nil)})
	if got := w.List(); len(got) != 0 {
		t.Errorf("deleted: %+v", got)
	}
}
