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
	"k8s.io/client-go/kubernetes"

	"github.com/detnet/detnet/bitrate"
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
		if every != 0 && !warned {
			r.Log.Warn("limits are carried into templates: each change replaces all pods of its workload", "every", every)
		}
		warned = every != 0
		timer := time.NewTimer(max(every, idle))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if every == 0 || r.Every() == 0 {
			continue
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
	limit   bitrate.Rate
	initial bitrate.Rate // of the pods before detnet limited them; 0: not known
}

func (t template) String() string { return describe(t.Workload) }

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
			all = append(all, template{sender.Workload, sender.Limit, sender.Initial})
			continue
		}
		all[i].limit = min(all[i].limit, sender.Limit)
	}
	return all
}

// apply changes the template if it is wrong by enough. With the first limit it
// notes on the workload what the template had before.
func (r *Rollout) apply(ctx context.Context, t template) (changed bool, err error) {
	meta, now, err := get(ctx, r.Client, t.Workload)
	if err != nil {
		return false, fmt.Errorf("read template of %s: %w", t, err)
	}
	if current, err := bitrate.Parse(now[workload.EgressBandwidth]); err == nil && near(current, t.limit) {
		return false, nil
	}
	limits := map[string]string{workload.EgressBandwidth: t.limit.String()}
	body := map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": limits}}}}
	if meta[workload.TemplateBefore] == "" {
		before := map[string]*string{workload.EgressBandwidth: value(now, workload.EgressBandwidth)}
		if _, ok := now[workload.InitialBandwidth]; !ok && t.initial != 0 {
			// Else the next pods would take their first limit for the original one.
			limits[workload.InitialBandwidth] = t.initial.String()
			before[workload.InitialBandwidth] = nil
		}
		note, err := json.Marshal(before)
		if err != nil {
			return false, fmt.Errorf("note the template of %s: %w", t, err)
		}
		body["metadata"] = map[string]any{"annotations": map[string]string{workload.TemplateBefore: string(note)}}
	}
	if err := patch(ctx, r.Client, t.Workload, body); err != nil {
		return false, fmt.Errorf("change template of %s: %w", t, err)
	}
	return true, nil
}

func near(a, b bitrate.Rate) bool {
	return float64(max(a-b, b-a)) < worthwhile*float64(a)
}

func value(m map[string]string, key string) *string {
	if v, ok := m[key]; ok {
		return &v
	}
	return nil
}
