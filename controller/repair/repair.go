// Package repair mends what admission leaves behind. Pods that were created
// while the webhook was away: it asks the webhook what it would have stamped and
// puts on the live pod what can be, labels and annotations; what only a new pod
// can get, such as a priority class, is said in an Event. And Cilium policies of
// workloads that are gone: they are deleted.
package repair

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/hook"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Events records Kubernetes Events (events.k8s.io).
type Events interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// Repair is the runnable. Its fields are set before Start and not after.
type Repair struct {
	Snapshot func() *inventory.Snapshot
	Client   kubernetes.Interface
	Events   Events
	Log      *slog.Logger
	Webhook  string // name of the MutatingWebhookConfiguration

	repaired *prometheus.CounterVec
	failed   map[types.UID]string // what was last said of a pod
}

// interval between rounds. A pod is at most so long without its limit once the
// webhook is back.
const interval = 15 * time.Second

// Register makes the metrics known. Call it before Start.
func (r *Repair) Register(reg prometheus.Registerer) {
	r.repaired = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "detnet_repairs_total",
		Help: "Pods that were created without passing the webhook and got their labels and annotations later, by whether all could be mended.",
	}, []string{"complete"})
	reg.MustRegister(r.repaired)
}

// NeedLeaderElection is true: one replica at a time may write.
func (*Repair) NeedLeaderElection() bool { return true }

// Start mends pods until ctx ends.
func (r *Repair) Start(ctx context.Context) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			r.Once(ctx)
		}
	}
}

// Once mends every pod that it can. What fails is logged when it is new.
func (r *Repair) Once(ctx context.Context) {
	failed := map[types.UID]string{}
	for _, p := range r.Snapshot().Problems {
		if p.Unstamped == "" || p.Mode != workload.Enforce {
			continue
		}
		if err := r.mend(ctx, p); err != nil {
			failed[p.Unstamped] = err.Error()
			if r.failed[p.Unstamped] != err.Error() {
				r.Log.Warn("pod not mended", "object", p.Object, "err", err)
			}
		}
	}
	r.failed = failed
}

func (r *Repair) mend(ctx context.Context, p inventory.Problem) error {
	namespace, name, _ := strings.Cut(strings.TrimPrefix(p.Object, "pod "), "/")
	webhook := hook.Hook{Client: r.Client, Name: r.Webhook}
	entry, err := webhook.Find(ctx)
	if err != nil {
		return err
	}
	if ok, err := hook.Concerns(entry, namespace); err != nil || !ok {
		return orExempt(err)
	}
	pod, err := r.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || (err == nil && pod.UID != p.Unstamped) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read pod: %w", err)
	}
	e, err := webhook.Reach(ctx, entry)
	if err != nil {
		return err
	}
	defer e.Close()
	stamped, err := review(ctx, e, pod)
	if err != nil {
		return err
	}
	return r.stamp(ctx, pod, stamped)
}

func orExempt(err error) error {
	if err == nil {
		return errExempt
	}
	return err
}

// stamp puts on the live pod the labels and annotations that it lacks.
func (r *Repair) stamp(ctx context.Context, pod, stamped *corev1.Pod) error {
	labels, annotations := added(pod.Labels, stamped.Labels), added(pod.Annotations, stamped.Annotations)
	if len(labels)+len(annotations) == 0 {
		return nil // by the policy of today it gets nothing
	}
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": pod.UID, "labels": labels, "annotations": annotations}})
	if err != nil {
		return fmt.Errorf("encode stamps: %w", err)
	}
	_, err = r.Client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: write.FieldManager})
	if write.Gone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("stamp pod: %w", err)
	}
	complete := pod.Spec.PriorityClassName == stamped.Spec.PriorityClassName
	note := "labels and annotations that the webhook missed were added"
	if !complete {
		note += fmt.Sprintf("; priority class %s can only be given to a new pod: recreate it, as with kubectl rollout restart", stamped.Spec.PriorityClassName)
	}
	r.repaired.WithLabelValues(fmt.Sprint(complete)).Inc()
	r.Log.Info("pod mended", "pod", pod.Namespace+"/"+pod.Name, "complete", complete)
	r.Events.Eventf(pod, nil, corev1.EventTypeNormal, "Repaired", "stamp", "%s", note)
	return nil
}

// added lists what after has and before has not, or has otherwise.
func added(before, after map[string]string) map[string]string {
	out := map[string]string{}
	for key, value := range after {
		if have, ok := before[key]; !ok || have != value {
			out[key] = value
		}
	}
	return out
}
