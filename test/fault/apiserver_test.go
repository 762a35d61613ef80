package fault

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/internal/apitest"
	"github.com/detnet/detnet/internal/await"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/signature"
)

const mbit = bitrate.Mbit

// throttled are pods of one workload that admission signed, with their UIDs.
type throttled struct {
	t      *testing.T
	client kubernetes.Interface
	uids   map[string]types.UID
}

var faultKey = signature.Key("0123456789abcdef0123456789abcdef")

func makeThrottled(t *testing.T, client kubernetes.Interface, n int) throttled {
	t.Helper()
	all := throttled{t, client, map[string]types.UID{}}
	for i := range n {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("upload-%d", i), Labels: map[string]string{workload.LabelClass: "best-effort", "app": "upload"},
			Annotations: map[string]string{workload.AnnotationInitialBandwidth: "100M", workload.AnnotationEgressBandwidth: "100M", workload.AnnotationMinBandwidth: "10M", workload.AnnotationMaxBandwidth: "1G", workload.AnnotationRank: "10"},
		}}
		pod.Annotations[workload.AnnotationSignature] = signature.Sign(faultKey, "default", pod.Labels, pod.Annotations)
		pod.Spec = corev1.PodSpec{NodeName: "worker-1", Containers: []corev1.Container{{Name: "main", Image: "none"}}}
		made, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		all.uids[pod.Name] = made.UID
	}
	return all
}

// cut is what a law would submit.
func (a throttled) cut(to bitrate.Rate) []actuate.Change {
	var all []actuate.Change
	for name, uid := range a.uids {
		all = append(all, actuate.Change{
			Limit: plan.Limit{Pod: plan.PodID{Namespace: "default", Name: name}, From: 100 * mbit, To: to}, UID: uid, Min: 10 * mbit, Max: 1000 * mbit,
		})
	}
	return all
}

// limits counts the pods by their limit.
func (a throttled) limits() map[string]int {
	a.t.Helper()
	list, err := a.client.CoreV1().Pods("default").List(a.t.Context(), metav1.ListOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	count := map[string]int{}
	for _, p := range list.Items {
		count[p.Annotations[workload.AnnotationEgressBandwidth]]++
	}
	return count
}

// actuator writes for as long as a leader leads; end is its loss of the lease.
func actuator(t *testing.T, client kubernetes.Interface, perSecond float64) (a *actuate.Actuator, end func()) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	a = actuate.New(actuate.Pods{Writer: write.New(client, nil, nil, log)}, actuate.Config{Budget: write.NewBudget(perSecond, max(1, int(perSecond))), Workers: 4}, log, nil)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { a.Run(ctx) })
	end = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(end)
	return a, end
}

// Every piece to and from the API server is a third of a second late, as with a
// disk of etcd's that is overloaded: what is known comes in, and what was decided
// last is written to all, each pod once.
func TestSlowAPIServer(t *testing.T) {
	env := apitest.Start(t)
	direct := kubernetes.NewForConfigOrDie(env.Config)
	pods := makeThrottled(t, direct, 5)
	slow := newLine(t, hostOf(t, env.Config))
	slow.late.Store(int64(300 * time.Millisecond))
	client := slow.through(t, env.Config)

	inv := inventory.New(client, "detnet", workload.Enforce)
	inv.SetKeys(signature.Keys{Current: faultKey})
	go func() { _ = inv.Start(t.Context()) }()
	await.Until(t, "the pods are known", func() bool { return len(inv.Snapshot().Senders) == 5 })

	a, _ := actuator(t, client, 20)
	for _, to := range []bitrate.Rate{80 * mbit, 60 * mbit, 40 * mbit} {
		a.Submit(pods.cut(to))
	}
	await.Until(t, "what was decided last is in force", func() bool { return pods.limits()["40M"] == 5 })
	await.Until(t, "and known to be", func() bool {
		for _, s := range inv.Snapshot().Senders {
			if s.Limit != 40*mbit {
				return false
			}
		}
		return true
	})
}

// The API server takes connections and answers nothing. What is in force stays, the
// writer does not hang for ever, and the newest decision is written once it answers.
func TestAPIServerThatHangs(t *testing.T) {
	env := apitest.Start(t)
	pods := makeThrottled(t, kubernetes.NewForConfigOrDie(env.Config), 3)
	hung := newLine(t, hostOf(t, env.Config))
	a, _ := actuator(t, hung.through(t, env.Config), 20)
	hung.hold()
	a.Submit(pods.cut(80 * mbit))
	await.Until(t, "somebody tries", func() bool { return hung.attempts.Load() > 0 })
	a.Submit(pods.cut(30 * mbit))
	if got := pods.limits(); got["100M"] != 3 {
		t.Fatalf("limits %v while nothing is answered, want them as they were", got)
	}
	hung.let()
	await.Until(t, "the newest decision is in force", func() bool { return pods.limits()["30M"] == 3 })
}

// A leader goes while it writes to many pods, and another one decides otherwise:
// what the first one began ends with it, and the second one's word stands.
func TestLeaderGoesWhileItWrites(t *testing.T) {
	env := apitest.Start(t)
	direct := kubernetes.NewForConfigOrDie(env.Config)
	pods := makeThrottled(t, direct, 40)
	slow := newLine(t, hostOf(t, env.Config))
	slow.late.Store(int64(50 * time.Millisecond))
	client := slow.through(t, env.Config)
	first, goes := actuator(t, client, 1) // forty seconds of writing
	first.Submit(pods.cut(80 * mbit))
	await.Until(t, "the first leader is in the middle of it", func() bool { return pods.limits()["80M"] > 3 })
	goes()
	begun := pods.limits()
	if begun["100M"] == 0 {
		t.Fatalf("limits %v: the first leader was done already", begun)
	}
	// What was on its way has arrived: a question behind it on the same connection is answered.
	// With a lease nobody leads sooner.
	if _, err := client.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	second, _ := actuator(t, direct, 200)
	second.Submit(pods.cut(20 * mbit))
	await.Until(t, "the second leader's word stands for all", func() bool { return pods.limits()["20M"] == 40 })
	first.Submit(pods.cut(80 * mbit)) // nobody works for it
	slow.late.Store(0)
	if got := pods.limits(); got["20M"] != 40 {
		t.Errorf("limits %v after the first leader's last packets, want 20M for all", got)
	}
}

// A node is drained while its pods are being cut: evictions go through, nobody
// waits for those that are gone, and none comes back.
func TestNodeIsDrainedWhileItsPodsAreCut(t *testing.T) {
	env := apitest.Start(t)
	client := kubernetes.NewForConfigOrDie(env.Config)
	pods := makeThrottled(t, client, 20)
	inv := inventory.New(client, "detnet", workload.Enforce)
	inv.SetKeys(signature.Keys{Current: faultKey})
	go func() { _ = inv.Start(t.Context()) }()
	await.Until(t, "the pods are known", func() bool { return len(inv.Snapshot().Senders) == 20 })
	a, _ := actuator(t, client, 20)
	a.Submit(pods.cut(50 * mbit))
	now := int64(0) // no kubelet ends the pods here
	for name := range pods.uids {
		if name == "upload-0" {
			continue
		}
		if err := client.PolicyV1().Evictions("default").Evict(t.Context(), &policyv1.Eviction{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, DeleteOptions: &metav1.DeleteOptions{GracePeriodSeconds: &now},
		}); err != nil {
			t.Fatalf("evict %s: %v", name, err)
		}
	}
	await.Until(t, "the one that stays is cut", func() bool { return pods.limits()["50M"] == 1 })
	a.Submit(pods.cut(30 * mbit))
	await.Until(t, "and cut again", func() bool { return pods.limits()["30M"] == 1 })
	await.Until(t, "nobody else is known", func() bool { return len(inv.Snapshot().Senders) == 1 })
	if got := pods.limits(); len(got) != 1 {
		t.Errorf("limits %v: pods came back", got)
	}
}
