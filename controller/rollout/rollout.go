// Package rollout carries limits into the templates of workloads, for clusters
// whose CNI reads the annotations at pod creation only and where no agent
// enforces them. Each change replaces all pods of the workload, as the original
// controller did; it is off unless asked for, and no remedy against congestion
// that lasts less than the interval. Switched off, it gives the templates back
// what they had.
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
	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
)

// Inventory says who runs where, and how far detnet may go there.
type Inventory interface {
	Snapshot() *inventory.Snapshot
	Synced() <-chan struct{}
	Mode(namespace string) workload.ControlMode
}

// Rollout is the runnable. Its fields are set before Start and not after.
type Rollout struct {
	Inventory Inventory
	Client    kubernetes.Interface // to read; To writes
	To        *write.Writer
	Events    write.Events
	Log       *slog.Logger
	// Every is the least time between two changes; 0 is off. It is asked anew
	// each time.
	Every func() time.Duration

	last   time.Time // templates were last brought up to date, or this began
	on     bool      // at the last look
	clean  bool      // switched off, and no template is changed any more
	again  time.Time // no sooner are the changed ones looked for again
	warned string
	wrote  map[inventory.Workload]string  // limits in templates, of this leader
	told   map[inventory.Workload]telling // left to whoever else states the limit
}

// worthwhile is the share by which a template must be wrong before all pods are
// replaced for it.
const worthwhile = 0.1

// interval between two looks at what Every says, and the pause after templates
// could not all be given back.
const (
	interval = 10 * time.Second
	pause    = time.Minute
)

// Start runs until ctx ends.
func (r *Rollout) Start(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-r.Inventory.Synced(): // before that the modes of namespaces are not known
	}
	r.on, r.clean = false, false // another may have led meanwhile
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		r.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// look does what is due at a time.
func (r *Rollout) look(ctx context.Context, now time.Time) {
	every, was := r.Every(), r.on
	r.on = every != 0
	switch {
	case !r.on:
		if !r.clean && !now.Before(r.again) {
			r.clean = r.giveBack(ctx, was)
			r.again = now.Add(pause)
		}
	case !was: // the interval is that between leaders, too
		r.Log.Warn("limits are carried into templates: each change replaces all pods of its workload", "every", every)
		r.last, r.clean, r.again, r.warned = now, false, time.Time{}, ""
		r.wrote, r.told = nil, nil // it may have been given back meanwhile
	case now.Sub(r.last) >= every:
		r.last = now
		if err := r.Once(ctx); err != nil {
			r.Log.Error("templates not brought up to date", "err", err)
		}
	}
}

// giveBack undoes what was changed, where detnet may write, and reports whether
// that is all. Without the right to look there was nothing to change, unless this
// has been on.
func (r *Rollout) giveBack(ctx context.Context, was bool) bool {
	changed, err := Find(ctx, r.Client, "")
	if apierrors.IsForbidden(err) && !was && r.warned == "" {
		r.Log.Debug("changed templates not looked for: no right to", "err", err)
		return true
	}
	errs := []error{err}
	for _, c := range changed {
		if mode := r.Inventory.Mode(c.Namespace); mode != workload.Enforce {
			errs = append(errs, fmt.Errorf("%s keeps the limit %s: the mode of its namespace is %s", c, c.From, mode))
			continue
		}
		switch err := c.Undo(ctx, r.To); {
		case apierrors.IsNotFound(err):
		case err != nil:
			errs = append(errs, err)
		default:
			r.Log.Info("template given back", "kind", c.Kind, "namespace", c.Namespace, "name", c.Name, "old_limit", c.From, "new_limit", c.To)
		}
	}
	if err := errors.Join(errs...); err != nil {
		if err.Error() != r.warned {
			r.Log.Warn("templates keep limits although rolloutEvery is off; \"detnet restore\" gives back what they had", "err", err)
		}
		r.warned = err.Error()
		return false
	}
	return true
}

// Once brings every template up to date.
func (r *Rollout) Once(ctx context.Context) error {
	var errs []error
	for _, t := range wanted(r.Inventory.Snapshot()) {
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
	stamped bool         // admission gives new pods initial
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
			all = append(all, template{sender.Workload, sender.Limit, sender.Initial, !sender.Static})
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
	noted := meta.Annotations[workload.AnnotationTemplateBefore]
	if r.reverted(t.Workload, meta, now) {
		return false, nil
	}
	own, err := bitrate.ParseLimit(now[workload.AnnotationEgressBandwidth])
	if err == nil && near(own, t.limit) {
		return false, nil
	}
	if noted == "" && now[workload.AnnotationEgressBandwidth] == "" && t.stamped && near(t.initial, t.limit) {
		return false, nil // new pods begin with it as it is
	}
	most, _ := bitrate.ParseLimit(now[workload.AnnotationMaxBandwidth]) // none, if it can't be read
	limits := map[string]string{workload.AnnotationEgressBandwidth: t.limit.String()}
	before := map[string]*string{}
	if noted != "" {
		if err := json.Unmarshal([]byte(noted), &before); err != nil {
			return false, fmt.Errorf("%s: annotation %s: %w", t, workload.AnnotationTemplateBefore, err)
		}
	} else {
		before = map[string]*string{workload.AnnotationEgressBandwidth: value(now, workload.AnnotationEgressBandwidth)}
		if _, ok := now[workload.AnnotationInitialBandwidth]; !ok && t.initial != 0 {
			// Else the next pods would take their first limit for the original one.
			limits[workload.AnnotationInitialBandwidth] = t.initial.String()
			before[workload.AnnotationInitialBandwidth] = nil
			if t.initial == own && (most == 0 || own < most) {
				// And the template's own limit for detnet's: it stays the ceiling.
				limits[workload.AnnotationMaxBandwidth] = own.String()
				before[workload.AnnotationMaxBandwidth] = value(now, workload.AnnotationMaxBandwidth)
			}
		}
	}
	wrote := t.limit.String()
	before[given] = &wrote
	note, err := json.Marshal(before)
	if err != nil {
		return false, fmt.Errorf("note the template of %s: %w", t, err)
	}
	err = r.To.Do(ctx, write.Change{
		Target:      target(t.Workload, meta.UID),
		Annotations: map[string]string{workload.AnnotationTemplateBefore: string(note)},
		Merge:       inTemplate(limits),
	})
	if err != nil {
		return false, fmt.Errorf("change template: %w", err)
	}
	if r.wrote == nil {
		r.wrote = map[inventory.Workload]string{}
	}
	r.wrote[t.Workload] = wrote
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
