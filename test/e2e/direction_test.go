package e2e

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/stage"
)

// agents runs an agent of role probe on every node, for a controller that is
// this test.
const agents = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agents, namespace: default}
spec:
  selector: {matchLabels: {app: agents}}
  template:
    metadata: {labels: {app: agents}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: agent
        image: docker.io/detnet/detnet-agent:` + install.Tag + `
        imagePullPolicy: Never
        args: [--role=probe, --insecure, --tls-dir=, --reflector=:8620]
        env:
        - name: NODE_NAME
          valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
        readinessProbe:
          httpGet: {path: /readyz, port: 8080}
          periodSeconds: 1
`

// What is congested is overloaded twice over; the queue then holds 50 ms.
const (
	uplink = 20 * bitrate.Mbit
	queued = 128 << 10
)

// network is three nodes with an agent each; that of node1 is asked.
type network struct {
	*sandbox.Cluster
	nodes, agents map[string]string // addresses by node
}

// The agent names the segment that is congested, whichever it is.
func TestDirection(t *testing.T) {
	sandbox.Require(t)
	n := newNetwork(t)
	n.probe(t)
	calm := map[string]string{"node2": "none", "node3": "none"}
	for _, tt := range []struct {
		name     string
		overload []string
		want     map[string]string // by the node that is probed
	}{
		{"own egress", []string{"node1"}, map[string]string{"node2": "own-egress", "node3": "own-egress"}},
		{"far egress", []string{"node2"}, map[string]string{"node2": "far-egress", "node3": "none"}},
		{"elsewhere", []string{"node1", "node2"}, map[string]string{"node2": "elsewhere", "node3": "own-egress"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n.awaitSegments(t, calm)
			for _, node := range tt.overload {
				n.overload(t, node)
			}
			n.awaitSegments(t, tt.want)
		})
	}
}

func newNetwork(t *testing.T) *network {
	ctx := t.Context()
	world := stage.Up(t, "direction")
	cluster := world.Cluster
	if err := cluster.Apply(ctx, agents); err != nil {
		t.Fatal(err)
	}
	n := &network{cluster, map[string]string{}, map[string]string{}}
	stage.Eventually(t, "an agent on each node", func() error {
		pods, err := world.Client.CoreV1().Pods("default").List(ctx, metav1.ListOptions{LabelSelector: "app=agents"})
		if err != nil {
			return err
		}
		for _, p := range pods.Items {
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					n.agents[p.Spec.NodeName], n.nodes[p.Spec.NodeName] = p.Status.PodIP, p.Status.HostIP
				}
			}
		}
		if len(n.agents) < len(cluster.Nodes()) {
			return fmt.Errorf("%d of %d are ready", len(n.agents), len(cluster.Nodes()))
		}
		return nil
	})
	for _, node := range cluster.Nodes() {
		if err := cluster.ShapeUplink(ctx, node, uplink, queued); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// fromNode1 dials beside the agent that is asked, so that questions and answers
// cross no uplink.
func (n *network) fromNode1(ctx context.Context, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, "node1", "tcp", addr)
}

// probe has the agent of node1 probe those of the others until the test ends.
func (n *network) probe(t *testing.T) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(n.agents["node1"], "9443"),
		grpc.WithContextDialer(n.fromNode1), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := api.NewAgentClient(conn).Measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a := &api.Assignment{}
	for _, node := range []string{"node2", "node3"} {
		a.Sessions = append(a.Sessions, &api.Session{Id: node, Protocol: api.Protocol_PROTOCOL_STAMP,
			Host: n.agents[node], Port: 8620, MeanIntervalUs: uint32((10 * time.Millisecond).Microseconds())})
	}
	if err := stream.Send(a); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for err == nil {
			_, err = stream.Recv()
		}
	})
	t.Cleanup(func() { conn.Close(); reading.Wait() })
}

// awaitSegments waits until the agent's metrics show these.
func (n *network) awaitSegments(t *testing.T, want map[string]string) {
	t.Helper()
	stage.Eventually(t, fmt.Sprintf("the agent reports %v", want), func() error {
		got, err := n.segments(t.Context())
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("it reports %v", got)
		}
		return err
	})
}

func (n *network) segments(ctx context.Context) (map[string]string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return n.fromNode1(ctx, addr) }}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(n.agents["node1"], "8080")+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	found := map[string]string{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if labels, ok := strings.CutPrefix(lines.Text(), "detnet_probe_congested_segment"); ok {
			found[label(labels, "session")] = label(labels, "segment")
		}
	}
	return found, lines.Err()
}

// label reads one label of a series in Prometheus's text format.
func label(series, name string) string {
	_, rest, _ := strings.Cut(series, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// overload sends twice what the node's uplink takes, to node3, until the test
// ends.
func (n *network) overload(t *testing.T, node string) {
	t.Helper()
	conn, err := n.DialFrom(t.Context(), node, "udp", net.JoinHostPort(n.nodes["node3"], "9"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	sending.Go(func() {
		packet := make([]byte, 1200)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		last := time.Now()
		for ctx.Err() == nil {
			now := <-ticker.C
			for owed := float64(2*uplink.Bytes()) * now.Sub(last).Seconds(); owed > 0; owed -= float64(len(packet)) {
				_, _ = conn.Write(packet) // nobody listens
			}
			last = now
		}
	})
	t.Cleanup(func() { cancel(); sending.Wait(); conn.Close() })
}
