// Package stage is what the tests on a whole cluster begin with: three nodes,
// a client, the scene, and what to show when something fails.
package stage

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
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene"
)

// Factory is the namespace of the scene's workloads.
const Factory = "factory"

// Stage is the one cluster that the parts of a test share, in order.
type Stage struct {
	Cluster *sandbox.Cluster
	Config  *rest.Config
	Client  kubernetes.Interface
	Scene   *scene.Scene // after Deploy
}

// envIPv6 has every cluster of the tests have addresses of both families, IPv6 first.
const envIPv6 = "DETNET_TEST_IPV6"

// Up brings up a cluster for as long as t lasts, with detnet's images loaded.
func Up(t *testing.T, name string) *Stage {
	t.Helper()
	ctx := t.Context()
	images, err := install.BuildImages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := &Stage{}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	if s.Cluster, err = sandbox.Up(ctx, sandbox.Config{Name: name, Images: images, Log: log, IPv6First: os.Getenv(envIPv6) != ""}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	if s.Config, err = s.Cluster.RESTConfig(); err != nil {
		t.Fatal(err)
	}
	if s.Client, err = kubernetes.NewForConfig(s.Config); err != nil {
		t.Fatal(err)
	}
	return s
}

// Deploy sets the scene behind uplinks of a capacity, and waits until detnet
// measures it.
func (s *Stage) Deploy(t *testing.T, capacity bitrate.Rate) {
	t.Helper()
	var err error
	if s.Scene, err = scene.Deploy(t.Context(), s.Cluster, install.Tag, capacity); err != nil {
		s.Dump(t)
		t.Fatal(err)
	}
	t.Cleanup(s.Scene.Close)
	s.AwaitMeasured(t)
}

// AwaitMeasured waits until detnet measures the scene's services and senders.
func (s *Stage) AwaitMeasured(t *testing.T) {
	t.Helper()
	if err := install.AwaitMeasured(t.Context(), s.Cluster, 2, len(scene.Senders)); err != nil {
		s.Dump(t)
		t.Fatal(err)
	}
}

// Run plays one part, and shows what the cluster looked like if it failed.
func (s *Stage) Run(t *testing.T, name string, part func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				s.Dump(t)
			}
		}()
		part(t)
	})
}

// Dump writes what one would look at first.
func (s *Stage) Dump(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods", "-A", "-o", "wide"},
		{"get", "ciliumendpoints", "-A"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"logs", "-n", install.Namespace, "-l", "app.kubernetes.io/name=detnet", "--tail=40", "--prefix", "--max-log-requests=20"},
	} {
		out, err := s.Cluster.Kubectl(ctx, args...)
		t.Logf("kubectl %v: %v\n%s", args, err, out)
	}
}

// Pod returns the factory's one pod with the app label.
func (s *Stage) Pod(ctx context.Context, app string) (*corev1.Pod, error) {
	pods, err := s.Client.CoreV1().Pods(Factory).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) != 1 {
		return nil, fmt.Errorf("%d pods of %s", len(pods.Items), app)
	}
	return &pods.Items[0], nil
}

// MustPod is Pod where there is no way on without it.
func (s *Stage) MustPod(t *testing.T, app string) *corev1.Pod {
	t.Helper()
	p, err := s.Pod(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Eventually polls until check is content, seldom: a look at a cluster takes time from it.
func Eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	await.Success(t, what, func() error {
		err := check()
		if err != nil {
			time.Sleep(200 * time.Millisecond)
		}
		return err
	})
}
