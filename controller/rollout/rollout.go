// Package rollout carries limits into the templates of workloads, for clusters
// whose CNI reads the annotations at pod creation only and where no agent
// enforces them. Each change replaces all pods of the workload, as the original
// controller did; it is off unless asked for, and no remedy against congestion
// that lasts less than the interval.
package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
	"github.com/detnet/detnet/controller/actuate"
	"github.com/detnet/detnet/controller/inventory"
	"github.com/detnet/detnet/workload"
)

// Rollout is the runnable. Its fields are set before Start and not after.
type Rollout struct {
	Snapshot func() *inventory.Snapshot
	Client   kubernetes.Interface
	Log      *slog.Logger
	// Every is the least time between two changes; 0 is off. It is asked anew
	// each time.
	Every func() time.Duration
}

// worthwhile is the share by which a template must be wrong before all pods are
// replaced for it.
const worthwhile = 0.1

// idle is how often Every is asked while it says off.
const idle = 10 * time.Second

// NeedLeaderElection is true: one replica at a time may write.
func (*Rollout) NeedLeaderElection() bool { return true }

// Start runs until ctx ends.
func (r *Rollout) Start(ctx context.Context) error {
	warned := false
	for ctx.Err() == nil {
		every := r.Every()
		timer := time.NewTimer(max(every, idle))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if every == 0 || r.Every() == 0 {
			warned = false
			continue
		}
		if !warned {
			r.Log.Warn("limits are carried into templates: each change replaces all pods of its workload", "every", every)
			warned = true
		}
		if err := r.Once(ctx); err != nil {
			r.Log.Error("templates not brought up to date", "err", err)
		}
	}
	return nil
}

// Once brings every template up to date.
func (r *Rollout) Once(ctx context.Context) error {
	var errs []error
	for _, t := range wanted(r.Snapshot()) {
		switch changed, err := r.apply(ctx, t); {
		case apierrors.IsNotFound(err): // its last pods are on their way out
		case err != nil:
			errs = append(errs, err)
		case changed:
			r.Log.Info("template changed", "kind", t.Kind, "namespace", t.Namespace, "name", t.Name, "new_limit", t.limit.String())
		}
	}
	return errors.Join(errs...)
}

// template is a workload and the limit its next pods should begin with.
type template struct {
	inventory.Workload
	limit bitrate.Rate
}

// wanted lists the workloads whose pods are under control. Of pods with
// different limits the lowest counts, as it does for the webhook when it admits
// another one.
func wanted(s *inventory.Snapshot) []template {
	var all []template
	for _, sender := range s.Senders {
		if sender.Mode != workload.Enforce || sender.Limit == 0 || sender.Workload == (inventory.Workload{}) {
			continue
		}
		i := slices.IndexFunc(all, func(t template) bool { return t.Workload == sender.Workload })
		if i < 0 {
			all = append(all, template{sender.Workload, sender.Limit})
			continue
		}
		all[i].limit = min(all[i].limit, sender.Limit)
	}
	return all
}

// apply changes the template if it is wrong by enough.
func (r *Rollout) apply(ctx context.Context, t template) (changed bool, err error) {
	now, err := r.templateAnnotations(ctx, t.Workload)
	if err != nil {
		return false, fmt.Errorf("read template of %s %s/%s: %w", t.Kind, t.Namespace, t.Name, err)
	}
	if current, err := bitrate.Parse(now[workload.EgressBandwidth]); err == nil && near(current, t.limit) {
		return false, nil
	}
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{workload.EgressBandwidth: t.limit.String()},
	}}}})
	if err != nil {
		return false, fmt.Errorf("encode template: %w", err)
	}
	if err := r.patch(ctx, t.Workload, body); err != nil {
		return false, fmt.Errorf("change template of %s %s/%s: %w", t.Kind, t.Namespace, t.Name, err)
	}
	return true, nil
}

func near(a, b bitrate.Rate) bool {
	return float64(max(a-b, b-a)) < worthwhile*float64(a)
}

// templateAnnotations of a kind that detnet does not know are an error.
func (r *Rollout) templateAnnotations(ctx context.Context, w inventory.Workload) (map[string]string, error) {
	apps := r.Client.AppsV1()
	switch w.Kind {
	case "Deployment":
		d, err := apps.Deployments(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return d.Spec.Template.Annotations, nil
	case "StatefulSet":
		s, err := apps.StatefulSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return s.Spec.Template.Annotations, nil
	case "DaemonSet":
		d, err := apps.DaemonSets(w.Namespace).Get(ctx, w.Name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		return d.Spec.Template.Annotations, nil
	}
	return nil, errKind
}

var errKind = errors.New("templates of this kind can't be changed: want Deployment, StatefulSet or DaemonSet")

func (r *Rollout) patch(ctx context.Context, w inventory.Workload, body []byte) error {
	apps, options := r.Client.AppsV1(), metav1.PatchOptions{FieldManager: actuate.FieldManager}
	var err error
	switch w.Kind {
	case "Deployment":
		_, err = apps.Deployments(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, options)
	case "StatefulSet":
		_, err = apps.StatefulSets(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, options)
	case "DaemonSet":
		_, err = apps.DaemonSets(w.Namespace).Patch(ctx, w.Name, types.MergePatchType, body, options)
	default:
		err = errKind
	}
	return err
}
