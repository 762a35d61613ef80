package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/stage"
)

var agentSets = []string{"detnet-agent-node", "detnet-agent-probe"}

// upgrades goes from an install where controllers show the certificate of all agents to one
// where they have a key of their own, and back, under load: agents and controllers of both
// run, and meanwhile nothing is given away.
func (w *world) upgrades(t *testing.T) {
	w.shareKey(t)
	w.AwaitMeasured(t)
	w.startLoad(t)
	stage.Eventually(t, "limit the senders to the uplink", w.throttled)
	w.awaitProtected(t, time.Now())

	ownKey := func(t *testing.T) {
		t.Helper()
		if err := install.Chart(t.Context(), w.Cluster, values, "--set", "agent.enforce=tc", "--force-conflicts"); err != nil {
			t.Fatal(err)
		}
	}
	for _, way := range []struct {
		name string
		move func(*testing.T)
	}{{"the upgrade", ownKey}, {"the way back", w.shareKey}} {
		since := time.Now()
		limits := map[string]bitrate.Rate{}
		for _, name := range scene.Senders {
			limits[name] = w.Scene.Limit(name)
		}
		_, before := w.Scene.Changes(since)
		way.move(t)
		w.AwaitMeasured(t)
		w.awaitProtected(t, time.Now())
		changes, restarts := w.Scene.Changes(since)
		if restarts != before {
			t.Errorf("%s: %d restarts", way.name, restarts-before)
		}
		for _, c := range changes {
			limits[c.Pod] = c.To
			// A new leader tries what the uplink carries, by 30 % at most; half more is wanted.
			if sum := sumOf(limits); sum >= capacity*3/2 {
				t.Errorf("%s: the limits add up to %v after that of %s was changed from %v to %v, of all changes %v", way.name, sum, c.Pod, c.From, c.To, changes)
			}
		}
	}
	ownKey(t) // for the tests to come
}

func sumOf(limits map[string]bitrate.Rate) (sum bitrate.Rate) {
	for _, limit := range limits {
		sum += limit
	}
	return sum
}

// shareKey has the install be as before the controller had a key of its own
// (docs/decisions/0037): no ConfigMap is mounted, nobody is told apart.
func (w *world) shareKey(t *testing.T) {
	t.Helper()
	ctx, apps, core := t.Context(), w.Client.AppsV1(), w.Client.CoreV1()
	again := func(what string, change func() error) { // its controller writes the status meanwhile
		t.Helper()
		if err := retry.RetryOnConflict(retry.DefaultBackoff, change); err != nil {
			t.Fatalf("change %s: %v", what, err)
		}
	}
	again("the controller", func() error {
		controller, err := apps.Deployments(install.Namespace).Get(ctx, "detnet-controller", metav1.GetOptions{})
		if err != nil {
			return err
		}
		withArgs(&controller.Spec.Template.Spec, func(arg string) (string, bool) {
			name, _, _ := strings.Cut(arg, "=")
			if name == "--controller-tls-secret" {
				return name + "=", true
			}
			return arg, true
		})
		_, err = apps.Deployments(install.Namespace).Update(ctx, controller, metav1.UpdateOptions{})
		return err
	})
	for _, name := range agentSets {
		again(name, func() error {
			set, err := apps.DaemonSets(install.Namespace).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			pod := &set.Spec.Template.Spec
			withArgs(pod, func(arg string) (string, bool) { return arg, !strings.HasPrefix(arg, "--controller-ca-file=") })
			pod.Volumes = slices.DeleteFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "controller-ca" })
			for i := range pod.Containers {
				c := &pod.Containers[i]
				c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "controller-ca" })
			}
			_, err = apps.DaemonSets(install.Namespace).Update(ctx, set, metav1.UpdateOptions{})
			return err
		})
	}
	for _, object := range []string{"deployment/detnet-controller", "daemonset/" + agentSets[0], "daemonset/" + agentSets[1]} {
		if out, err := w.Cluster.Kubectl(ctx, "rollout", "status", "--timeout=5m", "--namespace", install.Namespace, object); err != nil {
			t.Fatal(fmt.Errorf("%w: %s", err, out))
		}
	}
	empty := []byte(`{"data":null}`)
	if _, err := core.Secrets(install.Namespace).Patch(ctx, "detnet-controller-tls", types.MergePatchType, empty, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ConfigMaps(install.Namespace).Patch(ctx, "detnet-controller-tls", types.MergePatchType, empty, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// withArgs keeps and changes the arguments of a pod's containers.
func withArgs(pod *corev1.PodSpec, of func(string) (string, bool)) {
	for i := range pod.Containers {
		var kept []string
		for _, arg := range pod.Containers[i].Args {
			if to, keep := of(arg); keep {
				kept = append(kept, to)
			}
		}
		pod.Containers[i].Args = kept
	}
}
