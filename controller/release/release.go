// Package release gives limits back where detnet does not enforce any more: in a
// cluster or a namespace that went from enforce to observe or off. Pods get the
// limit that they were admitted with, within the budget of writes, as "detnet
// restore" would give them.
package release

import (
	"context"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Release is the runnable. Its fields are set before Start and not after.
type Release struct {
	Snapshot func() *inventory.Snapshot
	Mode     func(namespace string) workload.ControlMode
	To       *write.Writer
	Events   write.Events
	Log      *slog.Logger

	begun map[string]int // pods given their limits back, by namespace, of those not done
}

// interval between two looks.
const interval = 2 * time.Second

// Start gives limits back until ctx ends.
func (r *Release) Start(ctx context.Context) error {
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

// Once gives back what is due, and says where that begins and ends.
func (r *Release) Once(ctx context.Context) {
	due := map[string][]*inventory.Sender{}
	for _, s := range r.Snapshot().GiveBack {
		due[s.Pod.Namespace] = append(due[s.Pod.Namespace], s)
	}
	if r.begun == nil {
		r.begun = map[string]int{}
	}
	for namespace, senders := range due {
		if _, known := r.begun[namespace]; !known {
			r.begun[namespace] = 0
			r.Log.Info("limits are given back: detnet does not enforce here any more", "namespace", namespace, "mode", r.Mode(namespace), "pods", len(senders))
		}
	}
	for namespace, senders := range due {
		for _, s := range senders {
			if ctx.Err() != nil || r.Mode(namespace) == workload.Enforce {
				break // somebody has thought again
			}
			if r.give(ctx, s) {
				r.begun[namespace]++
			}
		}
	}
	for namespace, n := range r.begun {
		if len(due[namespace]) > 0 || n == 0 && r.Mode(namespace) != workload.Enforce {
			continue
		}
		delete(r.begun, namespace)
		if n > 0 {
			r.Log.Info("limits were given back", "namespace", namespace, "mode", r.Mode(namespace), "pods", n)
		}
	}
}

// give reports whether the pod got its limit back. What is refused is told by the
// writer.
func (r *Release) give(ctx context.Context, s *inventory.Sender) bool {
	to := map[string]string{workload.AnnotationEgressBandwidth: s.Restore, workload.AnnotationLimitDecision: ""}
	if s.Static {
		to[workload.AnnotationInitialBandwidth] = "" // nothing of detnet stays on it
	}
	if s.Restore == workload.NoLimit {
		to[workload.AnnotationEgressBandwidth] = ""
	}
	t := write.Target{Kind: "Pod", Namespace: s.Pod.Namespace, Name: s.Pod.Name, UID: s.UID}
	if err := r.To.Do(ctx, write.Change{Target: t, Annotations: to}); err != nil {
		return false
	}
	if r.Events != nil {
		r.Events.Eventf(t.Reference(), nil, corev1.EventTypeNormal, "LimitGivenBack", "restore",
			"its limit went from %s back to %s: the mode here is %s", s.Limit, s.Restore, r.Mode(s.Pod.Namespace))
	}
	return true
}
