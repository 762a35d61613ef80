package marks

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

// What marks do to other taints, and who may write what of a node, is decided
// by the API server.
func TestMarksOnARealAPIServer(t *testing.T) {
	cluster := apitest.Start(t).Config
	client := kubernetes.NewForConfigOrDie(cluster)
	nodes := client.CoreV1().Nodes()
	others := corev1.Taint{Key: "gpu", Value: "yes", Effect: corev1.TaintEffectNoSchedule}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{others}}}
	if _, err := nodes.Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	known := inventory.New(client, "detnet", workload.Enforce)
	known.SetKeys(signature.Keys{})
	go func() { _ = known.Start(t.Context()) }()
	<-known.Synced()

	s := &status.Status{Leader: true, Mode: "enforce", Reasons: []status.Reason{pressed}}
	config := Config{TaintAfter: 10 * sec, Bandwidth: true}
	marker := &Marker{
		Snapshot: known.Snapshot, Reasons: func() ([]status.Reason, bool) { return s.Reasons, true }, Nodes: nodes, To: writer(client),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Config: func() Config { return config },
	}
	stage := stage{t, marker, nodes, time.Now()}
	stage.until("in trouble", true, "95M")
	s.Reasons = []status.Reason{calm}
	stage.until("well again", false, "95M")
	s.Reasons = []status.Reason{pressed}
	stage.until("in trouble again", true, "95M")
	config = Config{}
	stage.until("switched off", false, "")

	config = Config{TaintAfter: 10 * sec, Bandwidth: true}
	stage.until("switched on", true, "95M")

	// Switched off together with the right to take the marks away: a failure to
	// tell of, not one to repeat at every look.
	nobody := rest.CopyConfig(cluster)
	nobody.Impersonate.UserName = "nobody"
	denied := kubernetes.NewForConfigOrDie(nobody)
	var told strings.Builder
	config, marker.To = Config{}, write.New(denied, nil, nil, slog.New(slog.NewTextHandler(&told, nil)))
	marker.Log = slog.New(slog.NewTextHandler(&told, nil))
	for range 20 {
		stage.now = stage.now.Add(interval)
		marker.once(t.Context(), stage.now)
	}
	if n := strings.Count(told.String(), "\n"); n != 1 || !strings.Contains(told.String(), "forbidden") {
		t.Errorf("%d lines of log, want one with the refusal's words:\n%s", n, &told)
	}
	// Nobody can be asked: all nodes wait, and one line says so.
	told.Reset()
	marker.Nodes = denied.CoreV1().Nodes()
	marker.To = writer(client)
	for range 20 {
		marker.once(t.Context(), stage.now)
	}
	if n := strings.Count(told.String(), "\n"); n != 1 {
		t.Errorf("%d lines of log, want one:\n%s", n, &told)
	}

	if err := Clear(t.Context(), nodes, writer(client), "n1"); err != nil {
		t.Error(err)
	}
	if got, err := nodes.Get(t.Context(), "n1", metav1.GetOptions{}); err != nil || Of(got) != "" || len(taints(got)) != 2 {
		t.Errorf("after Clear: %v, %v, %v", got.Spec.Taints, got.Status.Capacity, err)
	}
}

// A note goes to the node and comes back by the inventory, to whoever leads next; it is
// taken away when it is switched off. No more than a few nodes are written to in a round.
func TestNotesOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	nodes := client.CoreV1().Nodes()
	var reasons []status.Reason
	for i := range 2*noteMost + 1 {
		name := fmt.Sprint("n", i)
		if _, err := nodes.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{"other.example/note": "stays"}}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		r := settledAt(194)
		r.Bottleneck = plan.Uplink(name)
		reasons = append(reasons, r)
	}
	known := inventory.New(client, "detnet", workload.Enforce)
	known.SetKeys(signature.Keys{})
	go func() { _ = known.Start(t.Context()) }()
	<-known.Synced()
	config := Config{Remember: true}
	marker := &Marker{
		Snapshot: known.Snapshot, Reasons: func() ([]status.Reason, bool) { return reasons, true }, Nodes: nodes, To: writer(client),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Config: func() Config { return config },
	}
	now := time.Now()
	until := func(what string, noted int) {
		t.Helper()
		await.Success(t, what, func() error {
			found := 0
			for _, m := range known.Snapshot().Marks {
				if m.Found.Fresh(now) == 194*mbit {
					found++
				}
			}
			if found != noted {
				return fmt.Errorf("%d nodes have a note, want %d", found, noted)
			}
			return nil
		})
	}
	marker.once(t.Context(), now)
	now = now.Add(2 * time.Minute)
	marker.once(t.Context(), now)
	until("the first round", noteMost)
	marker.once(t.Context(), now)
	until("the second", 2*noteMost)
	marker.once(t.Context(), now)
	until("the third", len(reasons))
	got, err := nodes.Get(t.Context(), "n0", metav1.GetOptions{})
	if err != nil || got.Annotations["other.example/note"] != "stays" || Of(got) == "" {
		t.Errorf("%v, %v", got.Annotations, err)
	}
	if err := Clear(t.Context(), nodes, writer(client), "n0"); err != nil {
		t.Error(err)
	}
	until("cleared", len(reasons)-1)
	config = Config{}
	for range 4 {
		marker.once(t.Context(), now)
	}
	until("switched off", 0)
}

func writer(client kubernetes.Interface) *write.Writer {
	return write.New(client, nil, nil, slog.New(slog.DiscardHandler))
}

func taints(node *corev1.Node) []string {
	var all []string
	for _, t := range node.Spec.Taints {
		all = append(all, t.Key+":"+string(t.Effect))
	}
	return all
}

// stage is a marker at work on node n1.
type stage struct {
	t      *testing.T
	marker *Marker
	nodes  corev1client.NodeInterface
	now    time.Time
}

// until lets time pass until the node carries what is wanted.
func (s *stage) until(what string, congested bool, bandwidth string) {
	s.t.Helper()
	await.Success(s.t, what, func() error {
		s.now = s.now.Add(interval)
		s.marker.once(s.t.Context(), s.now)
		got, err := s.nodes.Get(s.t.Context(), "n1", metav1.GetOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		want := []string{"gpu:NoSchedule", "node.kubernetes.io/not-ready:NoSchedule"} // admission adds the second
		if congested {
			want = append(want, workload.TaintCongested+":PreferNoSchedule")
		}
		q := got.Status.Capacity[workload.BestEffortBandwidth]
		if slices.Equal(taints(got), want) && (q.String() == bandwidth || bandwidth == "" && q.IsZero() && len(got.Status.Capacity) == 0) {
			return nil
		}
		return fmt.Errorf("taints %v, capacity %v", got.Spec.Taints, got.Status.Capacity)
	})
}
