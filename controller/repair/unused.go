package repair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Unused deletes the CiliumNetworkPolicies that the webhook made for workloads
// that are gone. A policy that selects no pod is marked with the time, and
// deleted workload.UnusedFor later in the very version that was marked: a pod
// that is admitted in between changes the version, and keeps its policy.
type Unused struct {
	Client kubernetes.Interface
	Now    func() time.Time
	Log    *slog.Logger

	deleted prometheus.Counter
}

// unusedInterval between rounds, each of which asks for a pod of each policy.
const unusedInterval = 5 * time.Minute

// Register makes the metrics known. Call it before Start.
func (u *Unused) Register(reg prometheus.Registerer) {
	u.deleted = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "detnet_network_policies_deleted_total",
		Help: "CiliumNetworkPolicies deleted because no pod had needed them for a while.",
	})
	reg.MustRegister(u.deleted)
}

// NeedLeaderElection is true: one replica at a time may write.
func (*Unused) NeedLeaderElection() bool { return true }

// Start looks after the policies until ctx ends.
func (u *Unused) Start(ctx context.Context) error {
	ticker := time.NewTicker(unusedInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := u.Once(ctx); err != nil && ctx.Err() == nil {
				u.Log.WarnContext(ctx, "unused network policies not cleared", "error", err)
			}
		}
	}
}

// Once marks, unmarks and deletes. What fails is tried again in the next round.
func (u *Unused) Once(ctx context.Context) error {
	list, err := ciliumPolicies(ctx, u.Client)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range list {
		if err := u.look(ctx, p); err != nil {
			errs = append(errs, fmt.Errorf("CiliumNetworkPolicy %s/%s: %w", p.Namespace, p.Name, err))
		}
	}
	return errors.Join(errs...)
}

// look does what is due for one policy.
func (u *Unused) look(ctx context.Context, p ciliumPolicy) error {
	selector, ok := p.pods()
	if !ok {
		return nil // selects by what pods don't tell: nobody can say that it is unused
	}
	used, err := u.anyPod(ctx, p.Namespace, selector)
	if err != nil {
		return err
	}
	now := u.Now().UTC()
	text := p.Annotations[workload.UnusedSince]
	since, err := time.Parse(time.RFC3339, text)
	marked := err == nil
	switch {
	case used && text != workload.NeverUnused:
		return u.mark(ctx, p, workload.NeverUnused)
	case used, marked && now.Sub(since) < workload.UnusedFor:
		return nil
	case !marked:
		return u.mark(ctx, p, now.Format(time.RFC3339))
	}
	if err := p.remove(ctx, u.Client); err != nil {
		return err
	}
	u.deleted.Inc()
	u.Log.InfoContext(ctx, "network policy deleted: no pod needs it", "policy", p.Namespace+"/"+p.Name, "since", text)
	return nil
}

// anyPod reports whether a pod that has not finished is selected.
func (u *Unused) anyPod(ctx context.Context, namespace string, selector labels.Selector) (bool, error) {
	list, err := u.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: selector.String(), FieldSelector: "status.phase!=Succeeded,status.phase!=Failed", Limit: 1,
	})
	if err != nil {
		return false, fmt.Errorf("look for its pods: %w", err)
	}
	return len(list.Items) > 0, nil
}

// mark writes the annotation on the version that was read.
func (u *Unused) mark(ctx context.Context, p ciliumPolicy, text string) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": p.ResourceVersion, "annotations": map[string]string{workload.UnusedSince: text},
	}})
	if err != nil {
		return fmt.Errorf("encode the mark: %w", err)
	}
	err = u.Client.Discovery().RESTClient().Patch(types.MergePatchType).AbsPath(p.path()).
		Param("fieldManager", write.FieldManager).Body(body).Do(ctx).Error()
	return expected(err, "mark it")
}
