package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/test/stage"
	"github.com/detnet/detnet/workload"
)

// startLoad overloads the uplink by half and ends that with the test.
func (w *world) startLoad(t *testing.T) time.Time {
	t.Helper()
	loads, err := scene.NamedLoads("udp", capacity, 3*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Scene.StartLoads(t.Context(), loads); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// Not a failure: the load is bounded, and on a flooded host its sender
		// may be hard to reach.
		if err := w.Scene.StopLoads(context.WithoutCancel(t.Context())); err != nil {
			t.Log(err)
		}
	})
	return time.Now()
}

// awaitProtected waits for two seconds without violations under load.
func (w *world) awaitProtected(t *testing.T, since time.Time) {
	t.Helper()
	stage.Eventually(t, "two clean seconds under load", func() error {
		apps, err := w.Scene.Recorded()
		if err != nil {
			return err
		}
		// The last second's packets may still be under way.
		if _, ok := record.CleanAfter(apps, since, time.Now().Add(-time.Second)); !ok {
			return fmt.Errorf("not clean since %v", since.Format(time.TimeOnly))
		}
		return nil
	})
}

// throttled returns the sum of the senders' limits, or an error if together
// they could still overload the uplink.
func (w *world) throttled() error {
	var sum bitrate.Rate
	for _, name := range scene.Senders {
		limit := w.Scene.Limit(name)
		if limit == 0 {
			return fmt.Errorf("%s has no limit", name)
		}
		sum += limit
	}
	if sum > capacity {
		return fmt.Errorf("limits add up to %v, the uplink has %v", sum, capacity)
	}
	return nil
}

func (w *world) protects(t *testing.T) {
	since := w.startLoad(t)
	stage.Eventually(t, "limit the senders to the uplink", w.throttled)
	w.awaitProtected(t, since)
	changes, restarts := w.Scene.Changes(since)
	if restarts != 0 {
		t.Errorf("%d restarts", restarts)
	}
	for _, c := range changes {
		if c.To < 10*bitrate.Mbit {
			t.Errorf("%s was put below its floor: %v", c.Pod, c.To)
		}
	}
	stage.Eventually(t, "tell the scheduler that the uplink is full", func() error {
		node, err := w.Client.CoreV1().Nodes().Get(t.Context(), scene.Node, metav1.GetOptions{})
		if err == nil && !slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return taint.Key == workload.TaintCongested }) {
			err = fmt.Errorf("taints %v", node.Spec.Taints)
		}
		return err
	})
}

func (w *world) leaderGone(t *testing.T) {
	ctx := t.Context()
	w.startLoad(t)
	stage.Eventually(t, "limit the senders to the uplink", w.throttled)
	before, err := install.Status(ctx, w.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Now()
	if err := w.Client.CoreV1().Pods(install.Namespace).Delete(ctx, before.Replica, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	stage.Eventually(t, "another replica leads", func() error {
		s, err := install.Status(ctx, w.Cluster)
		if err == nil && s.Replica == before.Replica {
			return fmt.Errorf("%s still leads", s.Replica)
		}
		return err
	})
	w.AwaitMeasured(t)
	w.awaitProtected(t, time.Now())
	changes, _ := w.Scene.Changes(since)
	for _, c := range changes {
		if c.To > capacity {
			t.Errorf("the new leader forgot the limit of %s: %v → %v", c.Pod, c.From, c.To)
		}
	}
}

func (w *world) agentsRestart(t *testing.T) {
	ctx := t.Context()
	w.startLoad(t)
	stage.Eventually(t, "limit the senders to the uplink", w.throttled)
	policy := metav1.DeletePropagationBackground
	for _, component := range []string{"agent-node", "agent-probe"} {
		if err := w.Client.CoreV1().Pods(install.Namespace).DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: &policy},
			metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=" + component}); err != nil {
			t.Fatal(err)
		}
	}
	// While nobody measures, nothing may be given away; what the uplink carries may have been tried, by 30 %
	// at most, just before.
	limits := map[string]bitrate.Rate{}
	for _, name := range scene.Senders {
		limits[name] = w.Scene.Limit(name)
	}
	if sum := sumOf(limits); sum == 0 || sum >= capacity*3/2 {
		t.Errorf("limits add up to %v, the uplink has %v", sum, capacity)
	}
	w.AwaitMeasured(t)
	w.awaitProtected(t, time.Now())
}

func (w *world) apiServerAway(t *testing.T) {
	ctx := t.Context()
	w.startLoad(t)
	stage.Eventually(t, "limit the senders to the uplink", w.throttled)
	w.awaitProtected(t, time.Now())
	if err := w.Cluster.StopAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	away := time.Now()
	w.awaitProtected(t, away)
	if err := w.Cluster.StartAPIServer(ctx); err != nil {
		t.Fatal(err)
	}
	stage.Eventually(t, "the API server is back", func() error {
		_, err := w.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
	w.AwaitMeasured(t)
	stage.Eventually(t, "limits are in force", w.throttled)
	w.awaitProtected(t, time.Now())
}

func (w *world) observe(t *testing.T) {
	ctx := t.Context()
	if err := install.Detnet(ctx, w.Cluster, map[string]string{"controller.mode": "observe"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Scene.Recreate(ctx); err != nil {
		t.Fatal(err)
	}
	// New pods inherit the limits of those they replace: lift them.
	if err := w.Scene.SetLimits(ctx, bitrate.Gbit); err != nil {
		t.Fatal(err)
	}
	w.AwaitMeasured(t)
	since := time.Now()
	w.startLoad(t)
	stage.Eventually(t, "decide to cut", func() error {
		s, err := install.Status(ctx, w.Cluster)
		if err != nil {
			return err
		}
		for _, d := range s.Decisions {
			if d.Action == "cut" {
				return nil
			}
		}
		return fmt.Errorf("no cut among %d decisions", len(s.Decisions))
	})
	if changes, _ := w.Scene.Changes(since); len(changes) > 0 {
		t.Errorf("observe mode wrote %v", changes)
	}
}

func (w *world) uninstall(t *testing.T) {
	ctx := t.Context()
	if err := install.Uninstall(ctx, w.Cluster); err != nil {
		t.Fatal(err)
	}
	hooks, err := w.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil || len(hooks.Items) > 0 {
		t.Errorf("webhook configurations left: %v, %v", hooks.Items, err)
	}
	if err := w.restored(ctx); err != nil {
		t.Error(err)
	}
	stage.Eventually(t, "no qdisc of ours is left on the nodes", func() error {
		for _, node := range w.Cluster.Nodes() {
			links, err := w.Cluster.Exec(ctx, node, "ip", "-o", "link", "show", "type", "ifb")
			if err != nil {
				return err
			}
			if strings.TrimSpace(links) != "" {
				return fmt.Errorf("%s: %s", node, links)
			}
		}
		return nil
	})
	p, err := w.Client.CoreV1().Pods("default").Create(ctx, simplePod("after", "best-effort", nil), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatalf("pods can't be created any more: %v", err)
	}
	if err == nil && p.Annotations[workload.AnnotationEgressBandwidth] != "" {
		t.Errorf("still stamped: %v", p.Annotations)
	}
}
