package marks

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/apitest"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/workload"
)

// What marks do to other taints, and who may write what of a node, is decided
// by the API server.
func TestMarksOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	nodes := client.CoreV1().Nodes()
	others := corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{others}}}
	if _, err := nodes.Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	known := inventory.New(client, "detnet", workload.Enforce)
	go func() { _ = known.Start(t.Context()) }()
	<-known.Synced()

	s := &status.Status{Leader: true, Mode: "enforce", Reasons: []status.Reason{pressed}}
	config := Config{TaintAfter: 10 * sec, Bandwidth: true}
	marker := &Marker{
		Snapshot: known.Snapshot, Status: func() *status.Status { return s }, Nodes: nodes,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Config: func() Config { return config },
	}
	now := time.Now()
	until := func(what string, congested bool, bandwidth string) {
		t.Helper()
		for deadline := time.Now().Add(30 * sec); ; time.Sleep(20 * time.Millisecond) {
			now = now.Add(interval)
			marker.once(t.Context(), now)
			got, err := nodes.Get(t.Context(), "n1", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := []string{"gpu:NoSchedule", "node.kubernetes.io/not-ready:NoSchedule"} // admission adds the second
			if congested {
				want = append(want, workload.TaintCongested+":PreferNoSchedule")
			}
			q := got.Status.Capacity[workload.BestEffortBandwidth]
			if slices.Equal(taints(got), want) && (q.String() == bandwidth || bandwidth == "" && q.IsZero() && len(got.Status.Capacity) == 0) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: taints %v, capacity %v", what, got.Spec.Taints, got.Status.Capacity)
			}
		}
	}
	until("in trouble", true, "95M")
	s.Reasons = []status.Reason{calm}
	until("well again", false, "95M")
	s.Reasons = []status.Reason{pressed}
	until("in trouble again", true, "95M")
	config = Config{}
	until("switched off", false, "")

	config = Config{TaintAfter: 10 * sec, Bandwidth: true}
	until("switched on", true, "95M")
	if err := Clear(t.Context(), nodes, "n1"); err != nil {
		t.Error(err)
	}
	if got, err := nodes.Get(t.Context(), "n1", metav1.GetOptions{}); err != nil || Of(got) != "" || len(taints(got)) != 2 {
		t.Errorf("after Clear: %v, %v, %v", got.Spec.Taints, got.Status.Capacity, err)
	}
}

func taints(node *corev1.Node) []string {
	var all []string
	for _, t := range node.Spec.Taints {
		all = append(all, t.Key+":"+string(t.Effect))
	}
	return all
}
