package cilium

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/test/install"
	"github.com/detnet/detnet/test/sandbox"
	"github.com/detnet/detnet/test/sandbox/assets"
	"github.com/detnet/detnet/test/sandbox/instance"
	"github.com/detnet/detnet/test/scene"
	"github.com/detnet/detnet/test/scene/record"
	"github.com/detnet/detnet/test/stage"
	"github.com/detnet/detnet/test/traffic/load"
	"github.com/detnet/detnet/workload"
)

func TestMain(m *testing.M) {
	sandbox.Reexec()
	os.Exit(m.Run())
}

const (
	capacity = 100 * bitrate.Mbit
	offered  = 75 * bitrate.Mbit // by each sender
)

// strict is a policy under which Cilium refuses what critical pods don't declare.
const strict = `policy.files={"site.yaml": "classes: {critical: {networkPolicies: strict}}"}`

// world is the one cluster that the tests below share, in order.
type world struct {
	*stage.Stage
	cilium *Agents
}

func TestDetnetOnCilium(t *testing.T) {
	if os.Getenv("DETNET_TEST_CILIUM") == "" {
		t.Skip("builds Cilium from source: set DETNET_TEST_CILIUM, or run make test-cilium")
	}
	sandbox.Require(t)
	w := setUp(t)
	w.Run(t, "Cilium carries the pods without a route to each", w.layout)
	w.Run(t, "reports what pods send", w.usage)
	w.Run(t, "measures by the family of IP that is asked for", w.MeasuresByFamily)
	w.controllers(t, 0) // nobody else writes limits, nor puts back what the test changes
	w.Run(t, "Cilium follows the limit of a live pod", w.limits)
	w.Run(t, "Cilium knows the priority of critical pods", w.priority)
	w.controllers(t, 2)
	w.Run(t, "Cilium takes the policies of workloads", w.policies)
	w.Run(t, "has nothing to complain about", w.doctor)
	w.Run(t, "closes the loop", w.loop)
}

func setUp(t *testing.T) *world {
	release, err := assets.CiliumRelease(cmp.Or(os.Getenv("DETNET_TEST_CILIUM_RELEASE"), "1.19"))
	if err != nil {
		t.Fatalf("DETNET_TEST_CILIUM_RELEASE: %v", err)
	}
	w := &world{Stage: stage.Up(t, "cilium")}
	settings := native(w.Cluster)
	if os.Getenv("DETNET_TEST_CILIUM_TUNNEL") != "" {
		settings = Tunnel(w.Cluster)
	}
	if w.cilium, err = Start(t.Context(), w.Cluster, release, settings, slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cilium.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := install.Chart(t.Context(), w.Cluster, nil); err != nil {
		w.Dump(t)
		t.Fatal(err)
	}
	w.Deploy(t, bitrate.Gbit)
	return w
}

// layout makes sure that the test is about Cilium's default at all.
func (w *world) layout(t *testing.T) {
	for _, app := range scene.Senders {
		p := w.MustPod(t, app)
		route, err := w.Cluster.Exec(t.Context(), scene.Node, "ip", "route", "get", p.Status.PodIP)
		if err != nil || !strings.Contains(route, "dev cilium_host") {
			t.Errorf("%s is reached by %q, %v; want cilium_host", p.Name, route, err)
		}
	}
}

// usage wants the rates that pods offer in the controller's hands.
func (w *world) usage(t *testing.T) {
	w.startLoad(t, time.Minute)
	stage.Eventually(t, "the controller knows the senders' rates", func() error {
		s, err := install.Status(t.Context(), w.Cluster)
		if err != nil {
			return err
		}
		for _, x := range s.Senders {
			if !x.Known || !near(x.UsageBps, offered) {
				return fmt.Errorf("%s: %v, known: %v; want about %v", x.Pod, x.UsageBps, x.Known, offered)
			}
		}
		return nil
	})
}

// limits wants traffic to follow the annotation, up and down, and the pods to
// live on.
func (w *world) limits(t *testing.T) {
	before := w.uids(t)
	w.startLoad(t, 5*time.Minute)
	for _, step := range []struct{ limit, want bitrate.Rate }{
		{50 * bitrate.Mbit, 50 * bitrate.Mbit},
		{10 * bitrate.Mbit, 10 * bitrate.Mbit},
		{bitrate.Gbit, offered}, // no limit that is felt
	} {
		if err := w.Scene.SetLimits(t.Context(), step.limit); err != nil {
			t.Fatal(err)
		}
		w.awaitGoodput(t, fmt.Sprintf("each sender gets %v under a limit of %v", step.want, step.limit),
			func(_ string, got bitrate.Rate) bool { return near(got, step.want) })
	}
	if after := w.uids(t); after != before {
		t.Errorf("pods were replaced or restarted: %s, then %s", before, after)
	}
}

// controllers sees to it that so many replicas of the controller run.
func (w *world) controllers(t *testing.T, n int) {
	t.Helper()
	ctx := t.Context()
	if _, err := w.Cluster.Kubectl(ctx, "-n", install.Namespace, "scale", "deployment/detnet-controller", fmt.Sprintf("--replicas=%d", n)); err != nil {
		t.Fatal(err)
	}
	stage.Eventually(t, fmt.Sprintf("%d controllers run", n), func() error {
		pods, err := w.Client.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=controller"})
		if err == nil && len(pods.Items) != n {
			err = fmt.Errorf("there are %d", len(pods.Items))
		}
		return err
	})
}

// priority wants Cilium to know what critical pods come first by, and to follow
// a change on a live pod.
func (w *world) priority(t *testing.T) {
	sender := scene.Senders[0]
	w.awaitPriority(t, "robot-control", "guaranteed", 6)
	w.awaitPriority(t, sender, "besteffort", 5)
	for _, step := range []struct {
		annotation string
		want       int
	}{{"burstable", 8}, {"besteffort", 5}} {
		if _, err := w.Cluster.Kubectl(t.Context(), "-n", stage.Factory, "annotate", "--overwrite", "pod", w.MustPod(t, sender).Name,
			workload.AnnotationCiliumPriority+"="+step.annotation); err != nil {
			t.Fatal(err)
		}
		w.awaitPriority(t, sender, step.annotation, step.want)
	}
}

// awaitPriority looks into the map from which Cilium's programs take what they
// set as a packet's priority: there it is one more, 0 standing for none.
func (w *world) awaitPriority(t *testing.T, app, annotation string, want int) {
	t.Helper()
	ctx, p := t.Context(), w.MustPod(t, app)
	if got := p.Annotations[workload.AnnotationCiliumPriority]; got != annotation {
		t.Errorf("%s is stamped %q, want %q", app, got, annotation)
	}
	id, err := w.Cluster.Kubectl(ctx, "-n", stage.Factory, "get", "ciliumendpoint", p.Name, "-o", "jsonpath={.status.id}")
	if err != nil {
		t.Fatal(err)
	}
	stage.Eventually(t, "Cilium knows the priority of "+app, func() error {
		table, err := w.cilium.Debug(ctx, scene.Node, "bpf", "bandwidth", "list")
		if err == nil && priorityOf(table, id) != strconv.Itoa(want+1) {
			err = fmt.Errorf("endpoint %s has not %d in\n%s", id, want+1, table)
		}
		return err
	})
}

// policies wants Cilium to take the policy that the webhook makes of a critical
// workload, and to refuse what a strict one does not allow.
func (w *world) policies(t *testing.T) {
	ctx := t.Context()
	stage.Eventually(t, "a port that nobody has is refused by the pod itself", func() error {
		if err := w.dial(t, "safety-scanner", 5999); !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("dialled: %w", err)
		}
		return nil
	})
	if err := install.Chart(ctx, w.Cluster, nil, "--set-json", strict); err != nil {
		t.Fatal(err)
	}
	stage.Eventually(t, "no webhook answers by the old policy", func() error {
		pods, err := w.Client.CoreV1().Pods(install.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=webhook"})
		if err == nil && slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }) {
			err = errors.New("one is still ending")
		}
		return err
	})
	if err := w.Scene.Recreate(ctx); err != nil {
		t.Fatal(err)
	}
	w.AwaitMeasured(t) // the new pods' interfaces have been found
	stage.Eventually(t, "Cilium drops what the policy does not allow", func() error {
		if err := w.dial(t, "safety-scanner", 5999); err == nil || errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("dialled: %w", err)
		}
		return w.dial(t, "safety-scanner", 5202)
	})
}

// dial connects to a pod's port from another node, and closes at once.
func (w *world) dial(t *testing.T, app string, port int) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	conn, err := w.Cluster.DialFrom(ctx, "node2", "tcp", net.JoinHostPort(w.MustPod(t, app).Status.PodIP, strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return conn.Close()
}

// unpaced is what doctor finds where the kernel has no sch_fq.
const unpaced = "PROBLEM  uplinks pace what limits hold back: Cilium's limits drop instead of spacing out"

// doctor runs "detnet doctor" inside the cluster. It is to find that Cilium has no fq
// where it has none, and nothing else.
func (w *world) doctor(t *testing.T) {
	queue, err := w.Cluster.Exec(t.Context(), scene.Node, "tc", "qdisc", "show", "dev", instance.UplinkName)
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.Cluster.Helm(t.Context(), "test", "detnet", "--namespace", install.Namespace, "--logs", "--timeout", "1m")
	report := fmt.Sprint(out, err) // helm shows the log of a test that failed in its error
	_, report, _ = strings.Cut(report, "POD LOGS")
	var problems []string
	for line := range strings.Lines(report) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "PROBLEM") {
			problems = append(problems, line)
		}
	}
	switch paced := strings.Contains(queue, "qdisc fq "); {
	case paced && err == nil:
	case !paced && len(problems) == 1 && strings.HasPrefix(problems[0], unpaced):
	default:
		t.Errorf("with the queues %q: %v\n%s", queue, err, report)
	}
}

// loop has the controller find out that the uplink is full and limit those who
// fill it, and Cilium hold them to it. How soon is logged and not judged, and what that
// does for delay is no matter here: without sch_fq in the kernel Cilium drops, and late.
func (w *world) loop(t *testing.T) {
	ctx := t.Context()
	before := w.uids(t)
	if err := w.Scene.SetCapacity(ctx, capacity); err != nil {
		t.Fatal(err)
	}
	if err := install.Chart(ctx, w.Cluster, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.startLoad(t, 5*time.Minute)
	stage.Eventually(t, "the senders' limits fit the uplink", func() error {
		var sum bitrate.Rate
		for _, app := range scene.Senders {
			sum += w.Scene.Limit(app)
		}
		if sum > capacity {
			return fmt.Errorf("they add up to %v of %v", sum, capacity)
		}
		return nil
	})
	changes, _ := w.Scene.Changes(began)
	cut, known := record.FirstEffectiveCut(changes, began, func(string) bitrate.Rate { return offered })
	t.Logf("first cut below what is offered %v after the load was asked for (known: %t); changes %+v", cut, known, changes)
	w.awaitGoodput(t, "the senders get no more than their limits, which is less than they offer", func(app string, got bitrate.Rate) bool {
		return got < offered*9/10 && got < w.Scene.Limit(app)*12/10
	})
	if after := w.uids(t); after != before {
		t.Errorf("pods were replaced or restarted: %s, then %s", before, after)
	}
}

func (w *world) startLoad(t *testing.T, d time.Duration) {
	t.Helper()
	each := load.Load{Kind: load.UDP, Rate: offered, For: d}
	if err := w.Scene.StartLoads(t.Context(), map[string]load.Load{scene.Senders[0]: each, scene.Senders[1]: each}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Scene.StopLoads(context.WithoutCancel(t.Context())); err != nil {
			t.Log(err)
		}
	})
}

// awaitGoodput polls what arrives of each sender until all are right.
func (w *world) awaitGoodput(t *testing.T, what string, right func(sender string, got bitrate.Rate) bool) {
	t.Helper()
	ctx := t.Context()
	stage.Eventually(t, what, func() error {
		begun := time.Now()
		first, err := w.Scene.Received(ctx)
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
		second, err := w.Scene.Received(ctx)
		if err != nil {
			return err
		}
		var wrong []error
		for _, app := range scene.Senders {
			if got := scene.Goodput(second[app]-first[app], time.Since(begun)); !right(app, got) {
				wrong = append(wrong, fmt.Errorf("%s gets %v", app, got))
			}
		}
		return errors.Join(wrong...)
	})
}

// near allows for headers and for windows that are not quite as long as said.
func near(got, want bitrate.Rate) bool { return got > want*8/10 && got < want*12/10 }

// priorityOf finds an endpoint's egress priority in "bpf bandwidth list".
func priorityOf(table, endpoint string) string {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == endpoint && f[1] == "Egress" {
			return f[2]
		}
	}
	return ""
}

// uids tells the factory's pods from others, and from themselves restarted.
func (w *world) uids(t *testing.T) string {
	t.Helper()
	pods, err := w.Client.CoreV1().Pods(stage.Factory).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, p := range pods.Items {
		fmt.Fprintf(&all, "%s=%s+%d ", p.Name, p.UID, p.Status.ContainerStatuses[0].RestartCount)
	}
	return all.String()
}
