package sandbox_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/sandbox/image"
	"github.com/detnet/detnet/test/sandbox/instance"
)

const clusterName = "sandbox-test"

func TestMain(m *testing.M) {
	sandbox.Reexec()
	os.Exit(m.Run())
}

// One cluster serves all checks: the order is that of a life.
func TestClusterLife(t *testing.T) {
	sandbox.Require(t)
	before := hostState(t)
	s := up(t, sandbox.Config{Name: clusterName})
	c := s.Cluster

	s.connects(t)
	t.Run("Cilium's kinds are validated", s.ciliumKindsWork)
	t.Run("a node can't write to the host's disks", s.hostIsProtected)
	t.Run("helm reaches the cluster", func(t *testing.T) {
		if _, err := c.Helm(t.Context(), "list"); err != nil {
			t.Error(err)
		}
	})
	t.Run("a second client attaches", func(t *testing.T) {
		other, err := sandbox.Open(clusterName)
		if err != nil {
			t.Fatal(err)
		}
		if name := strings.TrimSpace(run(t, other, "node2", "hostname")); name != "node2" {
			t.Errorf("inside node2 the host name is %q", name)
		}
	})
	t.Run("a node restarts with its pods, disk and uplink", s.nodeRestarts)
	t.Run("the API server restarts with its objects", s.apiServerRestarts)

	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	awaitHostState(t, before)
	if left := leftovers(t); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

// With both families everybody has an address of each, and reaches the others at
// both; what Kubernetes has one of is IPv6.
func TestClusterOfBothFamilies(t *testing.T) {
	sandbox.Require(t)
	s := up(t, sandbox.Config{Name: clusterName + "-6", Nodes: 2, IPv6First: true})
	for _, pod := range s.awaitPods(t, 0) {
		if ips := pod.Status.PodIPs; len(ips) != 2 || !strings.Contains(ips[0].IP, ":") || !strings.Contains(ips[1].IP, ".") || ips[0].IP != pod.Status.PodIP {
			t.Errorf("%s has %v", pod.Name, ips)
		}
	}
	s.connects(t)
	t.Run("a node restarts with its pods, disk and uplink", s.nodeRestarts)
}

// connects checks who reaches whom.
func (s *suite) connects(t *testing.T) {
	t.Run("pods on different nodes talk", s.podsTalk)
	t.Run("a Service is reached from every node", s.serviceWorks)
	t.Run("logs are read through the API server", s.logsWork)
	t.Run("a pod reaches the API server with its own account", s.inClusterWorks)
	t.Run("the host dials a pod", s.dialWorks)
	t.Run("an uplink is shaped and counted", s.uplinkIsShaped)
}

type suite struct {
	*sandbox.Cluster
	client kubernetes.Interface
}

// up brings a cluster up for as long as t lasts, with a pod on each node.
func up(t *testing.T, cfg sandbox.Config) *suite {
	t.Helper()
	cfg.Images, cfg.Log = []string{podImage(t)}, slog.New(slog.NewTextHandler(t.Output(), nil))
	c, err := sandbox.Up(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	config, err := c.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	s := &suite{Cluster: c, client: kubernetes.NewForConfigOrDie(config)}
	if err := c.Apply(t.Context(), readFile(t, "testdata/workload.yaml")); err != nil {
		t.Fatal(err)
	}
	s.awaitPods(t, 0)
	return s
}

// awaitPods waits until every node runs its ready pod that has restarted at
// least so many times, and returns the pods.
func (s *suite) awaitPods(t *testing.T, restarts int32) []corev1.Pod {
	t.Helper()
	return s.awaitPodsWhere(t, func(corev1.Pod) int32 { return restarts })
}

func (s *suite) awaitPodsWhere(t *testing.T, restarts func(corev1.Pod) int32) []corev1.Pod {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	ready := func(p corev1.Pod) bool {
		st := p.Status.ContainerStatuses
		return len(st) == 1 && st[0].Ready && st[0].RestartCount >= restarts(p)
	}
	for {
		pods, err := s.client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=echo"})
		if err == nil && len(pods.Items) == len(s.Nodes()) && !slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return !ready(p) }) {
			return pods.Items
		}
		select {
		case <-ctx.Done():
			out, _ := s.Kubectl(t.Context(), "describe", "pods")
			t.Fatalf("pods are not ready: %v\n%s", err, out)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *suite) inPod(t *testing.T, pod corev1.Pod, args ...string) string {
	t.Helper()
	out, err := s.Kubectl(t.Context(), append([]string{"exec", pod.Name, "--", "/pod"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *suite) podsTalk(t *testing.T) {
	pods := s.awaitPods(t, 0)
	for _, from := range pods {
		for _, to := range pods {
			for _, at := range to.Status.PodIPs {
				if got := s.inPod(t, from, "get", "http://"+net.JoinHostPort(at.IP, "8080")); got != to.Name {
					t.Errorf("%s on %s asked %s on %s at %s and heard %q", from.Name, from.Spec.NodeName, to.Name, to.Spec.NodeName, at.IP, got)
				}
			}
		}
	}
}

func (s *suite) serviceWorks(t *testing.T) {
	service, err := s.client.CoreV1().Services("default").Get(t.Context(), "echo", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range s.awaitPods(t, 0) {
		if got := s.inPod(t, pod, "get", "http://"+net.JoinHostPort(service.Spec.ClusterIP, "80")); !strings.HasPrefix(got, "echo-") {
			t.Errorf("from %s the Service answered %q", pod.Spec.NodeName, got)
		}
	}
}

func (s *suite) logsWork(t *testing.T) {
	for _, pod := range s.awaitPods(t, 0) {
		out, err := s.Kubectl(t.Context(), "logs", pod.Name)
		if err != nil || !strings.Contains(out, "serving as "+pod.Name) {
			t.Errorf("the log of %s: %q, %v", pod.Name, out, err)
		}
	}
}

func (s *suite) inClusterWorks(t *testing.T) {
	for _, pod := range s.awaitPods(t, 0) {
		if got := s.inPod(t, pod, "api", "/version"); !strings.Contains(got, "gitVersion") {
			t.Errorf("on %s the API server answered %q", pod.Spec.NodeName, got)
		}
	}
}

func (s *suite) dialWorks(t *testing.T) {
	client := http.Client{Transport: &http.Transport{DialContext: s.Dial}}
	for _, pod := range s.awaitPods(t, 0) {
		response, err := client.Get("http://" + net.JoinHostPort(pod.Status.PodIP, "8080"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || string(body) != pod.Name {
			t.Errorf("%s answered %q, %v", pod.Name, body, err)
		}
	}
}

func (s *suite) uplinkIsShaped(t *testing.T) {
	if err := s.ShapeUplink(t.Context(), "node1", 100*bitrate.Mbit, 500_000); err != nil {
		t.Fatal(err)
	}
	// Who takes all queues off the node's own interface, as Cilium does, changes nothing.
	run(t, s.Cluster, "node1", "tc", "qdisc", "replace", "dev", instance.UplinkName, "root", "noqueue")
	s.podsTalk(t)
	stats, err := s.UplinkStats(t.Context(), "node1")
	if stats.Rate != 100*bitrate.Mbit || stats.Queue != 500_000 {
		t.Errorf("the uplink has %v and a queue of %d bytes", stats.Rate, stats.Queue)
	}
	if err != nil || stats.Packets < 10 || stats.Bytes < 10*54 { // two TCP connections to other nodes, and two from there
		t.Errorf("after pods talked the uplink counted %+v, %v", stats, err)
	}
	if err := s.UnshapeUplink(t.Context(), "node1"); err != nil {
		t.Error(err)
	}
	if _, err := s.UplinkStats(t.Context(), "node1"); err == nil {
		t.Error("an unshaped uplink has counters")
	}
	for _, bad := range []struct {
		rate  bitrate.Rate
		queue int
	}{{0, 1}, {bitrate.Mbit, 0}, {bitrate.Mbit, -1}, {-bitrate.Mbit, 1}} {
		if err := s.ShapeUplink(t.Context(), "node1", bad.rate, bad.queue); err == nil {
			t.Errorf("rate %d and queue %d are accepted", bad.rate, bad.queue)
		}
	}
	if err := s.ShapeUplink(t.Context(), "node9", bitrate.Mbit, 1); err == nil {
		t.Error("a node that isn't there is accepted")
	}
}

func (s *suite) ciliumKindsWork(t *testing.T) {
	if err := s.ApplyCiliumCRDs(t.Context()); err != nil {
		t.Fatal(err)
	}
	policy := func(cidr string) string {
		return fmt.Sprintf(`{apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: {name: p, namespace: default},
spec: {endpointSelector: {}, egress: [{toCIDR: [%q]}]}}`, cidr)
	}
	if err := s.Apply(t.Context(), policy("10.0.0.0/8")); err != nil {
		t.Error(err)
	}
	if err := s.Apply(t.Context(), policy("here and there")); err == nil {
		t.Error("a policy with a CIDR that is none is accepted")
	}
}

func (s *suite) hostIsProtected(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"/usr/sandbox-test", "/root/sandbox-test"} {
		if _, err := s.Exec(t.Context(), "node1", "touch", path); err == nil {
			t.Errorf("node1 could write %s", path)
			_ = os.Remove(path)
		}
	}
	for _, path := range []string{"/etc/sandbox-test", "/opt/sandbox-test", "/var/lib/sandbox-test", "/tmp/sandbox-test"} {
		run(t, s.Cluster, "node1", "touch", path)
		if _, err := os.Stat(path); err == nil {
			t.Errorf("node1's %s is the host's", path)
			_ = os.Remove(path)
		}
	}
	if _, err := s.Exec(t.Context(), "node1", "ls", dir); err == nil {
		t.Error("node1 sees the host's /tmp")
	}
}

func (s *suite) nodeRestarts(t *testing.T) {
	if err := s.ShapeUplink(t.Context(), "node2", 50*bitrate.Mbit, 250_000); err != nil {
		t.Fatal(err)
	}
	run(t, s.Cluster, "node2", "touch", "/var/lib/kept", "/run/lost")
	if err := s.RestartNode(t.Context(), "node2"); err != nil {
		t.Fatal(err)
	}
	s.awaitPodsWhere(t, func(p corev1.Pod) int32 {
		if p.Spec.NodeName == "node2" {
			return 1
		}
		return 0
	})
	s.podsTalk(t)
	run(t, s.Cluster, "node2", "test", "-e", "/var/lib/kept", "-a", "!", "-e", "/run/lost")
	if stats, err := s.UplinkStats(t.Context(), "node2"); err != nil || stats.Rate != 50*bitrate.Mbit {
		t.Errorf("after the restart the uplink has %v, %v", stats.Rate, err)
	}
}

func (s *suite) apiServerRestarts(t *testing.T) {
	if err := s.StopAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), "get", "nodes", "--request-timeout=2s"); err == nil {
		t.Error("the API server still answers")
	}
	if err := s.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitPods(t, 0)
}

func run(t *testing.T, c *sandbox.Cluster, node, program string, args ...string) string {
	t.Helper()
	out, err := c.Exec(t.Context(), node, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// podImage builds the program that the tests run in pods.
func podImage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary, archive := filepath.Join(dir, "pod"), filepath.Join(dir, "pod.tar")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./testdata/pod")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pod, err := image.New("detnet.local/pod:1", binary, runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	if err := image.Write(archive, pod); err != nil {
		t.Fatal(err)
	}
	return archive
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
