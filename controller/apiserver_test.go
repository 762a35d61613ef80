package controller_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/agents"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/law"
	"github.com/detnet/detnet/controller/promql"
	"github.com/detnet/detnet/controller/status"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

const capacity = 200 * bitrate.Mbit

// TestProtectsOnARealAPIServer runs the whole controller against a real API
// server. Node and agents are stand-ins: the round trip is long while the
// limits in force add up to more than the uplink carries.
func TestProtectsOnARealAPIServer(t *testing.T) {
	client := kubernetes.NewForConfigOrDie(apitest.Start(t).Config)
	c := cluster{t, client}
	c.node("worker-1")
	c.node("worker-2")
	var load atomic.Bool
	c.agent("probe-1", "agent-probe", "worker-1", "127.0.0.1", startAgent(t, &standIn{client: client, node: "worker-1", role: api.Role_ROLE_PROBE, load: &load}))
	c.agent("node-2", "agent-node", "worker-2", "127.0.0.2", startAgent(t, &standIn{client: client, node: "worker-2", role: api.Role_ROLE_NODE, load: &load}))
	c.pod("robot-control", "worker-2", workload.ClassCritical, map[string]string{
		workload.AnnotationMaxJitter: "1ms", workload.AnnotationProbe: "udp:5201", workload.AnnotationRank: "100",
	})
	for _, name := range []string{"telemetry-upload", "erp-dashboard"} {
		c.pod(name, "worker-2", "best-effort", map[string]string{
			workload.AnnotationInitialBandwidth: "500M", workload.AnnotationEgressBandwidth: "500M",
			workload.AnnotationMinBandwidth: "10M", workload.AnnotationMaxBandwidth: "1G",
		})
	}

	loop, stop := startLoop(t, client)
	well := func() bool {
		s := loop.Status()
		return len(s.Apps) == 1 && s.Apps[0].State == status.OK
	}
	c.eventually("the robot is measured", well)
	load.Store(true)
	c.eventually("the limits fit through the uplink and the robot is well", func() bool {
		total := c.limit("telemetry-upload") + c.limit("erp-dashboard")
		return total < capacity && well()
	})
	stop()

	// A new leader starts from the limits in force, not from the initial ones.
	before := c.limit("telemetry-upload")
	loop, stop = startLoop(t, client)
	c.eventually("the next leader sees", well)
	if after := c.limit("telemetry-upload"); after > 2*before || after == 0 {
		t.Errorf("limit went from %v to %v with the leader", before, after)
	}
	stop()
}

func startLoop(t *testing.T, client kubernetes.Interface) (*controller.Loop, func()) {
	t.Helper()
	chosen, err := law.New(law.Adaptive, law.DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	return startLoopWith(t, client, chosen, promql.DefaultConfig())
}

func startLoopWith(t *testing.T, client kubernetes.Interface, chosen law.Law, prom promql.Config) (*controller.Loop, func()) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	known := inventory.New(client, "detnet", workload.Enforce)
	known.SetKeys(signature.Keys{Current: stampKey})
	reg := prometheus.NewPedanticRegistry()
	loop := &controller.Loop{
		Inventory:    known,
		Measurements: agents.New(insecure.NewCredentials(), log),
		Queries:      promql.New(prom, log, reg),
		Limits:       actuate.New(actuate.Pods{Writer: write.New(client, nil, nil, slog.New(slog.DiscardHandler))}, actuate.DefaultConfig(), log, reg),
		Events:       noEvents{},
		Log:          log,
		Replica:      t.Name(),
	}
	loop.Metrics = controller.NewMetrics(reg, loop.Status)
	loop.Set(controller.Settings{Law: chosen, Mode: workload.Enforce, Vantages: 2})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = known.Start(ctx) })
	running.Go(func() { _ = loop.Start(ctx) })
	stop := sync.OnceFunc(func() {
		if _, err := (prometheus.Gatherers{loop.Metrics.Gatherer(reg)}).Gather(); err != nil {
			t.Errorf("gather metrics: %v", err)
		}
		cancel()
		running.Wait()
	})
	t.Cleanup(stop)
	return loop, stop
}

type noEvents struct{}

func (noEvents) Eventf(_, _ runtime.Object, _, _, _, _ string, _ ...any) {}

// standIn is an agent that knows the limits and makes up the rest.
type standIn struct {
	api.UnimplementedAgentServer
	client kubernetes.Interface
	node   string
	role   api.Role
	load   *atomic.Bool // whether pods send all they may
}

func startAgent(t *testing.T, a *standIn) (port int32) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if a.role == api.Role_ROLE_NODE { // another address, as another pod has
		listener.Close()
		if listener, err = net.Listen("tcp", "127.0.0.2:0"); err != nil {
			t.Fatal(err)
		}
	}
	server := grpc.NewServer()
	api.RegisterAgentServer(server, a)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func (a *standIn) Measure(stream grpc.BidiStreamingServer[api.Assignment, api.Report]) error {
	assigned := make(chan *api.Assignment)
	go func() {
		defer close(assigned)
		for {
			next, err := stream.Recv()
			if err != nil {
				return
			}
			assigned <- next
		}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	current := &api.Assignment{}
	for {
		select {
		case next, ok := <-assigned:
			if !ok {
				return nil
			}
			current = next
		case <-tick.C:
			report, err := a.report(stream.Context(), current)
			if err != nil {
				return err
			}
			if err := stream.Send(report); err != nil {
				return err
			}
		}
	}
}

func (a *standIn) report(ctx context.Context, assigned *api.Assignment) (*api.Report, error) {
	pods, err := a.client.CoreV1().Pods("factory").List(ctx, metav1.ListOptions{LabelSelector: workload.LabelClass + "=best-effort"})
	if err != nil {
		return nil, err
	}
	r := &api.Report{Node: a.node, Role: a.role}
	var total bitrate.Rate
	for _, pod := range pods.Items {
		limit, err := bitrate.Parse(pod.Annotations[workload.AnnotationEgressBandwidth])
		if err != nil {
			return nil, err
		}
		if !a.load.Load() {
			limit = bitrate.Mbit
		}
		total += limit
		if a.role == api.Role_ROLE_NODE {
			r.Pods = append(r.Pods, &api.PodRate{
				Namespace: pod.Namespace, Name: pod.Name, Uid: string(pod.UID), WindowNs: 1e8, TxBps: uint64(min(limit, capacity*2/3)),
			})
		}
	}
	rtt := 300 * time.Microsecond
	if total > capacity {
		rtt = 20 * time.Millisecond
	}
	for _, s := range assigned.GetSessions() {
		sr := &api.SessionReport{Id: s.Id}
		for i := range 5 {
			sr.AgeNs = append(sr.AgeNs, int64(80-20*i)*1e6)
			sr.RttNs = append(sr.RttNs, int64(rtt)+int64(i)*1e4)
		}
		r.Sessions = append(r.Sessions, sr)
	}
	return r, nil
}

// stampKey signs what the cluster's webhook would have stamped.
var stampKey = signature.Key("0123456789abcdef0123456789abcdef")

// cluster makes what a kubelet and a webhook would.
type cluster struct {
	t *testing.T
	kubernetes.Interface
}

func (c cluster) node(name string) {
	c.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.CoreV1().Nodes().Create(c.t.Context(), node, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) agent(name, component, node, ip string, port int32) {
	c.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "detnet", Labels: map[string]string{
		"app.kubernetes.io/name": "detnet", "app.kubernetes.io/component": component,
	}}}
	pod.Spec.Containers = []corev1.Container{{Name: "agent", Image: "none", Ports: []corev1.ContainerPort{{Name: "grpc", ContainerPort: port}}}}
	c.start(pod, node, ip)
}

func (c cluster) pod(name, node, class string, annotations map[string]string) {
	c.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: name, Namespace: "factory", Labels: map[string]string{workload.LabelClass: class}, Annotations: annotations,
	}}
	pod.Annotations[workload.AnnotationSignature] = signature.Sign(stampKey, pod.Namespace, pod.Labels, pod.Annotations)
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	c.start(pod, node, "10.0.2.1")
}

func (c cluster) start(pod *corev1.Pod, node, ip string) {
	c.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: pod.Namespace}}
	_, _ = c.CoreV1().Namespaces().Create(c.t.Context(), ns, metav1.CreateOptions{}) // may exist
	pod.Spec.NodeName = node
	created, err := c.CoreV1().Pods(pod.Namespace).Create(c.t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	created.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}
	if _, err := c.CoreV1().Pods(pod.Namespace).UpdateStatus(c.t.Context(), created, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) limit(name string) bitrate.Rate {
	c.t.Helper()
	pod, err := c.CoreV1().Pods("factory").Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	limit, err := bitrate.Parse(pod.Annotations[workload.AnnotationEgressBandwidth])
	if err != nil {
		c.t.Fatal(err)
	}
	return limit
}

func (c cluster) eventually(what string, is func() bool) {
	c.t.Helper()
	await.Until(c.t, what, is)
}
