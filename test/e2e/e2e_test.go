// Package e2e plays detnet's life on three real nodes: installed by Helm, it
// stamps, protects, survives restarts, and goes without a trace.
package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene"
)

func TestMain(m *testing.M) {
	sandbox.Reexec()
	os.Exit(m.Run())
}

const (
	capacity = 100 * bitrate.Mbit
	factory  = "factory"
)

// world is the one cluster that the tests below share, in order.
type world struct {
	cluster *sandbox.Cluster
	scene   *scene.Scene
	client  kubernetes.Interface
	config  *rest.Config
}

func TestDetnet(t *testing.T) {
	sandbox.Require(t)
	w := setUp(t)
	w.run(t, "stamps what the label asks for", w.stamps)
	w.run(t, "admits bad annotations with a warning", w.badAnnotations)
	w.run(t, "leaves nothing behind on a dry run", w.dryRun)
	w.run(t, "measures as it is asked to", w.measures)
	w.run(t, "protects critical traffic", w.protects)
	w.run(t, "goes on after the leader is gone", w.leaderGone)
	w.run(t, "keeps limits while the agents restart", w.agentsRestart)
	w.run(t, "keeps limits while the API server is away", w.apiServerAway)
	w.run(t, "carries limits into templates", w.rollsOut)
	w.run(t, "writes nothing in observe mode", w.observe)
	w.run(t, "uninstalls without a trace", w.uninstall)
}

// run plays one part, and shows what the cluster looked like if it failed.
func (w *world) run(t *testing.T, name string, part func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				w.dump(t)
			}
		}()
		part(t)
	})
}

func setUp(t *testing.T) *world {
	ctx := t.Context()
	images, err := install.BuildImages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	cluster, err := sandbox.Up(ctx, sandbox.Config{Name: "e2e", Images: images, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{cluster: cluster}
	if w.config, err = cluster.RESTConfig(); err != nil {
		t.Fatal(err)
	}
	if w.client, err = kubernetes.NewForConfig(w.config); err != nil {
		t.Fatal(err)
	}
	if err := install.Detnet(ctx, cluster, map[string]string{"controller.config.nodes.taintAfter": "10s"}); err != nil {
		w.dump(t)
		t.Fatal(err)
	}
	if w.scene, err = scene.Deploy(ctx, cluster, install.Tag, capacity); err != nil {
		w.dump(t)
		t.Fatal(err)
	}
	t.Cleanup(w.scene.Close)
	w.awaitMeasured(t)
	return w
}

func (w *world) awaitMeasured(t *testing.T) {
	t.Helper()
	if err := install.AwaitMeasured(t.Context(), w.cluster, 2, len(scene.Senders)); err != nil {
		w.dump(t)
		t.Fatal(err)
	}
}

// dump writes what one would look at first.
func (w *world) dump(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"logs", "-n", install.Namespace, "-l", "app.kubernetes.io/name=detnet", "--tail=40", "--prefix", "--max-log-requests=20"},
	} {
		out, err := w.cluster.Kubectl(ctx, args...)
		t.Logf("kubectl %v: %v\n%s", args, err, out)
	}
}

// eventually polls until check is content. The limit is there to end a broken
// run, not to judge speed.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// pod returns the factory's one pod with the app label.
func (w *world) pod(ctx context.Context, app string) (*corev1.Pod, error) {
	pods, err := w.client.CoreV1().Pods(factory).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("%d pods of %s", len(pods.Items), app)
	}
	return &pods.Items[0], nil
}

func (w *world) mustPod(t *testing.T, app string) *corev1.Pod {
	t.Helper()
	p, err := w.pod(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
