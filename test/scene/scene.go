// Package scene is the world in which detnet is shown and judged: two
// critical services and two best-effort senders behind one shaped uplink of a
// real cluster, an instrument that measures the services, and a sink that
// counts what the senders get through. The demo, the end-to-end tests and the
// benchmarks all play in it.
package scene

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/agent/api"
	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/test/traffic/load"
	"github.com/detnet/detnet/workload"
)

//go:embed manifests
var manifests embed.FS

const (
	namespace = "factory"
	lab       = "lab"
	labPods   = 4
)

// Node runs the critical services and the senders: its uplink is the
// bottleneck.
const Node = "node1"

// queueBytes is the uplink's queue: 1 MB, 40 ms at 200 Mbit/s, as in many
// switches and NICs without active queue management.
const queueBytes = 1_000_000

var critical = []target{
	{"robot-control", api.Protocol_PROTOCOL_UDP, 5201, time.Millisecond},
	{"safety-scanner", api.Protocol_PROTOCOL_TCP, 5202, 2 * time.Millisecond},
}

// Senders are the best-effort workloads.
var Senders = []string{"erp-dashboard", "telemetry-upload"}

// Hog is the actor that burns CPU on Node.
const Hog = "hog"

// Scene is a stage with its actors in place.
type Scene struct {
	cluster    *sandbox.Cluster
	client     kubernetes.Interface
	http       *http.Client // to the lab
	beside     *http.Client // to pods of Node, not over the uplink that the load fills
	tag        string
	instrument *instrument
	control    *instrument // on Node: what it measures crosses no uplink
	limits     *limits
	stopWatch  context.CancelFunc
	addresses  map[string]string // pod IP by app label
	sink, hog  string            // pod IPs
}

// Deploy shapes the uplinks to capacity, creates the lab and the factory, and
// begins to measure. The images must be in the cluster under tag.
func Deploy(ctx context.Context, cluster *sandbox.Cluster, tag string, capacity bitrate.Rate) (*Scene, error) {
	config, err := cluster.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client of the sandbox's API server: %w", err)
	}
	s := &Scene{
		cluster: cluster, client: client, tag: tag,
		http:   newClient(cluster.Dial),
		beside: newClient(fromNode(cluster)),
	}
	for _, node := range cluster.Nodes() {
		if err := cluster.ShapeUplink(ctx, node, capacity, queueBytes); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"lab.yaml", "factory.yaml"} {
		if err := s.apply(ctx, name); err != nil {
			return nil, err
		}
	}
	pods, err := s.awaitPods(ctx, lab, labPods)
	if err != nil {
		return nil, err
	}
	s.sink = pods["sink"]
	if s.instrument, err = newInstrument(net.JoinHostPort(pods["instrument"], "9443"), cluster.Dial); err != nil {
		return nil, err
	}
	if s.control, err = newInstrument(net.JoinHostPort(pods["beside"], "9443"), fromNode(cluster)); err != nil {
		return nil, err
	}
	watching, stop := context.WithCancel(ctx)
	s.stopWatch, s.limits = stop, watchLimits(watching, client)
	return s, s.settle(ctx)
}

// fromNode dials from Node itself.
func fromNode(cluster *sandbox.Cluster) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return cluster.DialFrom(ctx, Node, network, addr)
	}
}

// newClient makes a client of the actors' control ports. It says whether an
// actor could not be reached or did not answer.
func newClient(dial dialer) *http.Client {
	connect := func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		return conn, nil
	}
	return &http.Client{Transport: &http.Transport{DialContext: connect, DisableKeepAlives: true}, Timeout: 5 * time.Second}
}

// Close stops measuring; the cluster stays as it is.
func (s *Scene) Close() {
	s.stopWatch()
	s.instrument.close()
	s.control.close()
}

// Recreate replaces the factory's pods, so that they are admitted anew, and
// goes on measuring.
func (s *Scene) Recreate(ctx context.Context) error {
	s.instrument.pause()
	s.control.pause()
	policy := metav1.DeletePropagationBackground
	if err := s.client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{PropagationPolicy: &policy}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("delete the factory's pods: %w", err)
	}
	return s.settle(ctx)
}

func (s *Scene) settle(ctx context.Context) error {
	addresses, err := s.awaitPods(ctx, namespace, len(critical)+len(Senders))
	if err != nil {
		return err
	}
	s.addresses = addresses
	pods, err := s.awaitPods(ctx, lab, labPods)
	if err != nil {
		return err
	}
	s.hog = pods[Hog]
	return errors.Join(s.instrument.measure(ctx, critical, addresses), s.control.measure(ctx, critical, addresses))
}

func (s *Scene) apply(ctx context.Context, name string) error {
	text, err := render(name, s.tag)
	if err != nil {
		return err
	}
	if err := s.cluster.Apply(ctx, text); err != nil {
		return fmt.Errorf("apply %s: %w", name, err)
	}
	return nil
}

// render is a manifest with images of that tag.
func render(name, tag string) (string, error) {
	t, err := template.ParseFS(manifests, "manifests/"+name)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	err = t.Execute(&text, map[string]any{"Tag": tag, "Senders": Senders})
	return text.String(), err
}

// awaitPods waits until n pods of a namespace are ready and no other is left,
// and returns their addresses by app label.
func (s *Scene) awaitPods(ctx context.Context, namespace string, n int) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		pods, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list the pods of %s: %w", namespace, err)
		}
		ready := map[string]string{}
		for _, p := range pods.Items {
			if isReady(&p) {
				ready[p.Labels["app"]] = p.Status.PodIP
			}
		}
		if len(ready) == n && len(pods.Items) == n {
			return ready, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for %d ready pods in %s: only %v of %d are: %w",
				n, namespace, slices.Sorted(maps.Keys(ready)), len(pods.Items), ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func isReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && p.Status.PodIP != "" && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// Received returns the payload bytes that each sender has got through so far.
func (s *Scene) Received(ctx context.Context) (map[string]uint64, error) {
	var counters struct{ Bytes map[string]uint64 }
	if err := call(ctx, s.http, http.MethodGet, s.sink, "/received", nil, &counters); err != nil {
		return nil, fmt.Errorf("read the sink's counters: %w", err)
	}
	received := map[string]uint64{}
	for _, name := range Senders {
		received[name] = counters.Bytes[s.addresses[name]]
	}
	return received, nil
}

// StartLoads tells each sender what to send; To is filled in here. The hog
// begins last: the others would hear late of theirs.
func (s *Scene) StartLoads(ctx context.Context, loads map[string]load.Load) error {
	g, inner := errgroup.WithContext(ctx)
	for name, l := range loads {
		if name != Hog {
			g.Go(func() error { return s.startLoad(inner, name, l) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if l, ok := loads[Hog]; ok {
		return s.startLoad(ctx, Hog, l)
	}
	return nil
}

func (s *Scene) startLoad(ctx context.Context, name string, l load.Load) error {
	l.To = net.JoinHostPort(s.sink, "5001")
	if err := call(ctx, s.beside, http.MethodPost, s.address(name), "/load", l, nil); err != nil {
		return fmt.Errorf("start the load of %s: %w", name, err)
	}
	return nil
}

// StopLoads makes every sender stop.
func (s *Scene) StopLoads(ctx context.Context) error {
	for _, name := range Senders {
		if err := call(ctx, s.beside, http.MethodDelete, s.address(name), "/load", nil, nil); err != nil {
			return fmt.Errorf("stop the load of %s: %w", name, err)
		}
	}
	return nil
}

func (s *Scene) address(name string) string {
	if name == Hog {
		return s.hog
	}
	return s.addresses[name]
}

// SetLimits writes one egress limit to every sender's pod.
func (s *Scene) SetLimits(ctx context.Context, each bitrate.Rate) error {
	for _, name := range Senders {
		if err := s.SetLimit(ctx, name, each); err != nil {
			return err
		}
	}
	return nil
}

// SetLimit writes an egress limit to a sender's pod, as an administrator would
// who knew what to write.
func (s *Scene) SetLimit(ctx context.Context, sender string, limit bitrate.Rate) error {
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, workload.AnnotationEgressBandwidth, limit)
	pods, err := s.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + sender})
	if err != nil {
		return fmt.Errorf("find the pod of %s: %w", sender, err)
	}
	for _, p := range pods.Items {
		if _, err := s.client.CoreV1().Pods(namespace).Patch(ctx, p.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("limit %s to %v: %w", sender, limit, err)
		}
	}
	return nil
}

// SetCapacity changes the capacity of the bottleneck.
func (s *Scene) SetCapacity(ctx context.Context, capacity bitrate.Rate) error {
	return s.cluster.ShapeUplink(ctx, Node, capacity, queueBytes)
}

// attempts at a control request: on a flooded host a connection may fail, and
// every request may be repeated.
const attempts = 6

// call makes a control request to a pod.
func call(ctx context.Context, client *http.Client, method, ip, path string, body, into any) (err error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for range attempts {
		if err = callOnce(ctx, client, method, "http://"+net.JoinHostPort(ip, "8080")+path, encoded, into); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

func callOnce(ctx context.Context, client *http.Client, method, url string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

// Recorded returns what was measured so far, over the network and beside each
// service.
func (s *Scene) Recorded() ([]record.App, error) {
	apps, err := s.instrument.recorded(critical)
	if err != nil {
		return nil, err
	}
	beside, err := s.control.recorded(critical)
	if err != nil {
		return nil, fmt.Errorf("on %s itself: %w", Node, err)
	}
	for i := range apps {
		apps[i].Beside = beside[i].Packets
	}
	return apps, nil
}

// Forget drops what was measured so far. The next packets are judged by
// themselves, and there are fewer to go through.
func (s *Scene) Forget() {
	s.instrument.forget()
	s.control.forget()
}

// Limit returns a sender's present egress limit, 0 for none.
func (s *Scene) Limit(sender string) bitrate.Rate { return s.limits.current(sender) }

// Changes returns the changes of limits after t, and the container restarts
// seen since the scene began.
func (s *Scene) Changes(t time.Time) ([]record.LimitChange, int) { return s.limits.since(t) }
